# SPDX-License-Identifier: GPL-2.0-or-later
"""The server's own copy of the screen, and the timer that keeps it up to date.

The guest draws while anybody looks, and its dirty log speaks of pages. So rows that may have
changed are copied once, compared with the copy that clients have seen, and only tiles that differ
go on (QEMU: ``vnc_refresh_server_surface``).
"""

import asyncio
import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vmm.display.vnc.ports import Console
from vmm.display.vnc.rectangles import TILE, Rect, Tiles, tile_grid

REFRESH_BASE_SECONDS = 0.03
REFRESH_STEP_SECONDS = 0.05
REFRESH_MAX_SECONDS = 3.0
_ROWS_AT_ONCE = 32
"""So that what is copied is still in the cache when it is compared."""


class ServerScreen:
    """A copy of one size. ``lock``: who reads pixels or writes them holds it."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.lock = threading.Lock()
        self.turn = threading.Event()
        """Not set while a refresh wants the lock: the next job lets it go first."""
        self.turn.set()
        # Rows are padded to whole tiles, so that tiles are a reshape away.
        self._pixels = np.zeros((height, -(-width // TILE) * TILE), np.uint32)

    def area(self, rect: Rect) -> NDArray[np.uint32]:
        """A view of an area within the screen. Under the lock."""
        return self._pixels[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]

    def whole(self) -> NDArray[np.uint32]:
        """A view of all of it. Under the lock."""
        return self._pixels[:, : self.width]

    def update_locked(self, pixels: NDArray[np.uint32], rows: NDArray[np.bool_]) -> Tiles:
        """Take over the rows that are dirty; returns the tiles that really changed."""
        grid = tile_grid(self.width, self.height)
        by_row = np.zeros((grid.shape[0] * TILE, grid.shape[1]), np.bool_)
        index = np.flatnonzero(rows)
        for start in range(0, len(index), _ROWS_AT_ONCE):
            self._update_rows(pixels, index[start : start + _ROWS_AT_ONCE], by_row)
        by_band = by_row.reshape(grid.shape[0], TILE, grid.shape[1])
        changed: Tiles = np.logical_or.reduce(by_band, axis=1)
        return changed

    def _update_rows(
        self, pixels: NDArray[np.uint32], index: NDArray[np.intp], by_row: NDArray[np.bool_]
    ) -> None:
        # One look at the guest's memory: it may change between a comparison and a copy.
        fresh = np.zeros((len(index), self._pixels.shape[1]), np.uint32)
        np.bitwise_and(pixels[index], np.uint32(0xFFFFFF), out=fresh[:, : self.width])
        differs = fresh != self._pixels[index]
        # Sixteen bytes that are 0 or 1, seen as two words: far quicker than any() over sixteen.
        words = differs.view(np.uint64).reshape(len(index), by_row.shape[1], 2)
        tiles = (words[:, :, 0] | words[:, :, 1]) != 0
        if tiles.any():
            self._pixels[index] = fresh
            by_row[index] = tiles


class Viewer(Protocol):
    """A display that shows the screen. Called in the main loop, BQL held."""

    def is_active(self) -> bool:
        """Whether it has a client that sees the screen."""

    def tiles_changed(self, tiles: Tiles) -> int:
        """Mark tiles and send what can be sent; returns the number of rectangles under way."""

    def screen_replaced(self) -> None:
        """The screen has another size, all of it is new."""

    def cursor_defined(self) -> None:
        """The guest's pointer changed."""


class ScreenWatch:
    """Refreshes the copy while somebody looks. One for a console: it alone asks for dirty rows.

    The interval is QEMU's: 30 ms while things change and are sent, else 50 ms longer each time, up
    to 3 s. Without an active viewer nothing runs.
    """

    def __init__(self, console: Console, loop: asyncio.AbstractEventLoop) -> None:
        self.console = console
        self.title = console.name
        """What clients call the desktop."""
        self.interval = REFRESH_BASE_SECONDS
        """Seconds to the next refresh."""
        self.refreshes = 0
        self.lock_misses = 0
        """How often a refresh found the worker encoding and came back later."""
        surface = console.surface
        self.screen = ServerScreen(surface.width, surface.height)
        self._loop = loop
        self._viewers: list[Viewer] = []
        self._timer: asyncio.TimerHandle | None = None
        console.add_listener(self)

    def add(self, viewer: Viewer) -> None:
        """Tell a display of changes."""
        self._viewers.append(viewer)

    def remove(self, viewer: Viewer) -> None:
        """Tell it no more. Nothing happens if it was not told."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)

    def close(self) -> None:
        """Stop."""
        self.console.remove_listener(self)
        self._stop_timer()

    def poke(self) -> None:
        """Something is likely to change soon (input, a new client): refresh at the base rate."""
        if self._timer is not None and self.interval <= REFRESH_BASE_SECONDS:
            return
        self.interval = REFRESH_BASE_SECONDS
        self._schedule()

    def refresh(self) -> None:
        """Bring the copy up to date and send. Never waits: a busy worker means later."""
        self._follow_size()
        screen = self.screen
        if not screen.lock.acquire(blocking=False):
            self.lock_misses += 1
            screen.turn.clear()
            self.interval = REFRESH_BASE_SECONDS
            return
        try:
            rows = self.console.dirty_rows()
            tiles = screen.update_locked(self.console.surface.pixels, rows)
        finally:
            screen.lock.release()
            screen.turn.set()
        self.refreshes += 1
        dirty = bool(tiles.any())
        rectangles = sum(viewer.tiles_changed(tiles) for viewer in tuple(self._viewers))
        if dirty and rectangles:
            self.interval = max(self.interval / 2, REFRESH_BASE_SECONDS)
        else:
            self.interval = min(self.interval + REFRESH_STEP_SECONDS, REFRESH_MAX_SECONDS)

    def catch_up(self) -> None:
        """A job has ended: refresh, if that was in vain because of it."""
        if not self.screen.turn.is_set():
            self.refresh()

    def surface_switched(self) -> None:
        """From the console: a mode change."""
        self._follow_size()
        self.poke()

    def cursor_defined(self) -> None:
        """From the console."""
        for viewer in tuple(self._viewers):
            viewer.cursor_defined()

    def _follow_size(self) -> None:
        surface, screen = self.console.surface, self.screen
        if (surface.width, surface.height) == (screen.width, screen.height):
            return
        fresh = ServerScreen(surface.width, surface.height)
        with fresh.lock:  # nobody else has it yet
            fresh.update_locked(surface.pixels, self.console.dirty_rows())
        self.screen = fresh
        screen.turn.set()
        for viewer in tuple(self._viewers):
            viewer.screen_replaced()

    def _tick(self) -> None:
        self._timer = None
        if not any(viewer.is_active() for viewer in self._viewers):
            return
        self.refresh()
        self._schedule()

    def _schedule(self) -> None:
        self._stop_timer()
        if any(viewer.is_active() for viewer in self._viewers):
            self._timer = self._loop.call_later(self.interval, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
