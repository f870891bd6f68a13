# SPDX-License-Identifier: GPL-2.0-or-later
"""What one client is to see: its dirty tiles, its requests, the one job that is made for it.

Everything it gets goes through ``push``: first pseudo-rectangles (size, cursor, lights), then a
job. Nothing begins while a job runs, a fence is open or the socket is full; whatever changes
meanwhile is only marked, so a slow client gets fewer updates, not older ones.
"""

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from vmm.display.encodings import ClientEncoder
from vmm.display.encodings import cursor as cursors
from vmm.display.pixels import PixelFormat
from vmm.display.rfb import server_messages as messages
from vmm.display.rfb.events import (
    ClientFence,
    EnableContinuousUpdates,
    SetDesktopSize,
    UpdateRequest,
)
from vmm.display.rfb.numbers import Fence, Pseudo, SizeReason, SizeStatus
from vmm.display.vnc.fences import Fences
from vmm.display.vnc.info import ClientStatistics
from vmm.display.vnc.jobs import Job, JobResult, JobSink
from vmm.display.vnc.ports import InputRouter
from vmm.display.vnc.rectangles import Rect, Tiles, rectangles, tile_grid, tiles_of
from vmm.display.vnc.screen import ScreenWatch, ServerScreen
from vmm.display.vnc.scroll import ScrollTracker
from vmm.display.vnc.wishes import Wishes

_SIZE = Pseudo.EXTENDED_DESKTOP_SIZE.name


class Outlet(Protocol):
    """The way to the client: a Connection."""

    @property
    def has_room(self) -> bool:
        """Whether another update may be made."""

    def set_room(self, frame_bytes: int) -> None:
        """How many bytes may wait."""

    def send(self, data: bytes) -> None:
        """Send server messages."""

    def close(self, reason: str) -> None:
        """End the connection."""


class ClientUpdates:
    """Updates of one client, from ClientInit on. Main thread, BQL held."""

    def __init__(
        self, outlet: Outlet, jobs: JobSink, watch: ScreenWatch, router: InputRouter, lossy: bool
    ) -> None:
        self.wishes = Wishes()
        self.statistics = ClientStatistics()
        self.since_ns = time.monotonic_ns()
        self.size = (watch.screen.width, watch.screen.height)
        """The client's framebuffer in pixels, which is not the screen's until it was told."""
        self._outlet, self._jobs, self._watch, self._router = outlet, jobs, watch, router
        self._lossy = lossy
        self._encoder = ClientEncoder()
        self._dirty = tile_grid(*self.size, dirty=True)
        self._requested: Rect | None = None
        self._continuous: Rect | None = None
        self._job: Job | None = None
        self._scroll = ScrollTracker()
        self._fresh = True
        self._fences = Fences()
        self._pending: dict[str, Callable[[], bytes]] = {}
        self._size_status = SizeStatus.OK
        self._set_room()

    @property
    def relative_pointer(self) -> bool:
        """Whether the client sends movements: it can, and the guest's mouse is a PS/2 mouse."""
        return Pseudo.POINTER_MOTION_CHANGE in self.wishes.pseudo

    # What the client says.

    def set_encodings(self, encodings: tuple[int, ...]) -> None:
        """Take over capabilities, and announce what is new to the client of ours."""
        before = self.wishes.pseudo
        self.wishes = self.wishes.with_encodings(encodings)
        new = self.wishes.pseudo - before
        if Pseudo.FENCE in new:
            self._outlet.send(messages.fence(Fence.REQUEST, b""))
        if Pseudo.CONTINUOUS_UPDATES in new:
            self._outlet.send(messages.end_of_continuous_updates())
        announcements: dict[Pseudo, Callable[[], bytes]] = {
            Pseudo.EXTENDED_DESKTOP_SIZE: self._size_rectangle,
            Pseudo.QEMU_EXTENDED_KEY: lambda: messages.extended_key(*self.size),
            Pseudo.POINTER_MOTION_CHANGE: lambda: messages.pointer_motion(False, *self.size),
            Pseudo.QEMU_LED_STATE: self._led_rectangle,
            Pseudo.DESKTOP_NAME: self._name_rectangle,
        }
        for pseudo, build in announcements.items():
            if pseudo in new:
                self._pending[pseudo.name] = build
        if (
            new & {Pseudo.CURSOR, Pseudo.CURSOR_WITH_ALPHA}
            and self._watch.console.cursor is not None
        ):
            self._pending[Pseudo.CURSOR.name] = self._cursor_rectangle
        self.push()

    def set_format(self, wanted: PixelFormat) -> None:
        """Pixels of updates that begin from now on have this format."""
        self.wishes = self.wishes.with_format(wanted)
        if not wanted.true_colour:
            self._outlet.send(messages.colour_map(wanted.colour_map()))
        self._set_room()

    def request(self, event: UpdateRequest) -> None:
        """The client is ready for an update of an area."""
        area = Rect(event.x, event.y, event.width, event.height)
        if not event.incremental:
            self._dirty[tiles_of(area)] = True
            self._fresh = True
        self._requested = area if self._requested is None else self._requested.union(area)
        self.push()

    def continuous(self, event: EnableContinuousUpdates) -> None:
        """Updates without requests: on for an area, or off, which is acknowledged."""
        if event.enable:
            self._continuous = Rect(event.x, event.y, event.width, event.height)
            self.push()
        else:
            self._continuous = None
            self._outlet.send(messages.end_of_continuous_updates())

    def fence(self, event: ClientFence) -> None:
        """A fence; the answer to the one that announced ours needs nothing."""
        if event.flags & Fence.REQUEST:
            self._outlet.send(self._fences.question(event, self._job is not None))

    def message_done(self) -> None:
        """A message that is no fence has taken effect."""
        answer = self._fences.message_done(self._job is not None)
        if answer:
            self._outlet.send(answer)
            self.push()

    def desktop_size(self, event: SetDesktopSize) -> None:
        """Ask the guest for another size; it decides, later."""
        if Pseudo.EXTENDED_DESKTOP_SIZE not in self.wishes.pseudo:
            return  # it would not understand the answer
        self._size_status = SizeStatus.INVALID_LAYOUT
        if event.screens == 1:
            try:
                self._watch.console.request_size(event.width, event.height)
                self._size_status = SizeStatus.FORWARDED
            except ValueError:
                pass
        self._pending["answer"] = self._size_answer
        self.push()

    # What the machine says.

    def mark(self, tiles: Tiles) -> int:
        """Tiles changed; send what can be sent. Returns the rectangles that are under way."""
        self._dirty |= tiles
        return self.push()

    def screen_replaced(self) -> None:
        """The screen has another size: tell the client before its next pixels."""
        screen = self._watch.screen
        self._dirty = tile_grid(screen.width, screen.height, dirty=True)
        self._fresh = True
        if self.wishes.resizable:
            self._pending = {_SIZE: self._size_rectangle, **self._pending}
        self.push()

    def cursor_defined(self) -> None:
        """The guest's pointer looks different."""
        if self.wishes.draws_cursor:
            self._pending[Pseudo.CURSOR.name] = self._cursor_rectangle
            self.push()

    def leds_changed(self) -> None:
        """The guest's keyboard lights changed."""
        if Pseudo.QEMU_LED_STATE in self.wishes.pseudo:
            self._pending[Pseudo.QEMU_LED_STATE.name] = self._led_rectangle
            self.push()

    def title_changed(self) -> None:
        """The desktop is called something else."""
        if Pseudo.DESKTOP_NAME in self.wishes.pseudo:
            self._pending[Pseudo.DESKTOP_NAME.name] = self._name_rectangle
            self.push()

    def cancel(self) -> None:
        """The client has gone: a running job ends after its current rectangle."""
        self._pending.clear()
        if self._job is not None:
            self._job.cancelled = True

    # Sending.

    def push(self) -> int:
        """Send what waits, if that can be now. Returns the number of pixel rectangles."""
        if self._job is not None or self._fences.block_updates or not self._outlet.has_room:
            return 0
        if self._pending:
            pending, self._pending = self._pending, {}
            parts = [each() for each in pending.values()]
            self._outlet.send(messages.framebuffer_update(parts, len(parts)))
        return self._push_job()

    def _push_job(self) -> int:
        area = self._continuous
        if self._requested is not None:
            area = self._requested if area is None else area.union(self._requested)
        if area is None:
            return 0
        where = tiles_of(area)
        if not self._dirty[where].any():
            return 0
        wanted = tile_grid(self._watch.screen.width, self._watch.screen.height)
        wanted[where] = self._dirty[where]
        self._dirty[where] = False
        screen = self._watch.screen
        width, height = min(self.size[0], screen.width), min(self.size[1], screen.height)
        parts = rectangles(wanted, width, height)
        if not parts:  # all of it is beyond the framebuffer of a client that cannot resize
            return 0
        self._requested = None
        self._job = self._make_job(screen, parts)
        self._jobs.submit(self._job)
        return len(parts)

    def _make_job(self, screen: ServerScreen, parts: list[Rect]) -> Job:
        settings = self.wishes.settings(self._lossy)
        job = Job(screen, parts, self._encoder, settings, self._job_done)
        if self.wishes.copies and self.size == (screen.width, screen.height):
            job.scroll = self._scroll
            job.fresh, self._fresh = self._fresh, False
            job.complete = not self._dirty.any()
        else:
            self._fresh = True  # what is sent meanwhile, the tracker does not see
        return job

    def _job_done(self, result: JobResult) -> None:
        self._job = None  # of a client that has gone the outlet is closed, and takes nothing
        if result.error is not None:
            self._outlet.close(result.error)
            return
        self._outlet.send(result.data + self._fences.update_done())
        before = self.statistics
        self.statistics = ClientStatistics(
            before.updates + 1,
            before.rectangles + result.rectangles,
            before.bytes + len(result.data),
            before.encode_ns + result.nanoseconds,
        )
        self._watch.catch_up()
        self.push()

    def _set_room(self) -> None:
        width, height = self.size
        self._outlet.set_room(width * height * self.wishes.format.bytes_per_pixel)

    # Pseudo-rectangles, made when they are sent.

    def _size_rectangle(self) -> bytes:
        self.size = (self._watch.screen.width, self._watch.screen.height)
        self._set_room()
        if Pseudo.EXTENDED_DESKTOP_SIZE in self.wishes.pseudo:
            return messages.extended_desktop_size(*self.size, SizeReason.SERVER)
        return messages.desktop_size(*self.size)

    def _size_answer(self) -> bytes:
        reason = SizeReason.THIS_CLIENT
        return messages.extended_desktop_size(*self.size, reason, self._size_status)

    def _cursor_rectangle(self) -> bytes:
        cursor = self._watch.console.cursor
        if cursor is None:
            shape, hot = np.zeros((0, 0), np.uint32), (0, 0)
        else:
            shape, hot = cursor.argb, (cursor.hot_x, cursor.hot_y)
        if Pseudo.CURSOR_WITH_ALPHA in self.wishes.pseudo:
            rect = cursors.encode_with_alpha(shape, *hot)
        else:
            rect = cursors.encode(shape, *hot, self.wishes.format)
        return rect.header() + rect.payload

    def _name_rectangle(self) -> bytes:
        return messages.desktop_name(self._watch.title)

    def _led_rectangle(self) -> bytes:
        leds = self._router.leds
        return messages.led_state(leds.scroll, leds.num, leds.caps)
