# SPDX-License-Identifier: GPL-2.0-or-later
"""All VNC displays of a machine: they share the screen's copy and the worker."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from vmm._native import lib
from vmm.bql import Bql
from vmm.display.vnc.options import EncodeIn, VncOptions
from vmm.display.vnc.ports import Console, InputRouter, LoopOwner
from vmm.display.vnc.screen import ScreenWatch
from vmm.display.vnc.server import VncServer
from vmm.display.vnc.worker import EncodeWorker, InlineEncoder
from vmm.events import Event, EventBus


class VncDisplays:
    """The displays of one console. Made and closed in the main thread, BQL held.

    Args:
        options: one for each display, in order.
        console: what they show.
        router: where their input goes.
        main_loop: in which their sockets live.
        bql: the big lock; its recorder, if any, learns of the worker.
        events: who is told of clients.
        encode: where updates are encoded.

    Raises:
        VmmError: a display cannot be had; then there is none.
    """

    def __init__(
        self,
        options: tuple[VncOptions, ...],
        console: Console,
        router: InputRouter,
        main_loop: LoopOwner,
        bql: Bql,
        events: EventBus,
        encode: EncodeIn = EncodeIn.WORKER,
    ) -> None:
        loop = main_loop.asyncio
        self._bql, self._loop = bql, loop
        self.watch = ScreenWatch(console, loop)
        self.jobs: EncodeWorker | InlineEncoder = (
            EncodeWorker(loop, bql.recorder) if encode is EncodeIn.WORKER else InlineEncoder()
        )
        self.servers: list[VncServer] = []
        self._leave_leds: Callable[[], None] = lambda: None
        self._leave_events = events.subscribe(self._follow_run_state)
        try:
            for each in options:
                server = VncServer(each, self.watch, router, loop, events, self.jobs)
                server.start()
                self.servers.append(server)
        except BaseException:
            self.close()
            raise
        self._leave_leds = router.on_leds(self._leds_set)

    def close(self) -> None:
        """Close the displays, then end the worker."""
        self._leave_leds()
        self._leave_events()
        for server in self.servers:
            server.close()
        self.servers.clear()
        self.watch.close()
        if not self._loop.is_running():
            # asyncio closes an aborted socket in its next iteration: let there be one.
            self._loop.run_until_complete(_iterate())
        with self._bql.blocked(lib.BQLREC_BLOCKED_JOIN):
            self.jobs.close()

    def notes(self) -> list[str]:
        """Where the displays listen, a line each for the person who starts the machine."""
        lines = []
        for server in self.servers:
            for each in server.addresses:
                kind = "VNC over WebSocket" if each.websocket else "VNC"
                lines.append(f"{kind}: {each} ({server.auth_words})")
        return lines

    def statistics(self) -> dict[str, Any]:
        """What the clients that are connected now got: a list of counters, in nanoseconds."""
        now = time.monotonic_ns()
        clients = [client for server in self.servers for client in server.clients()]
        return {
            "clients": [
                {**asdict(client.statistics), "connected_ns": now - client.since_ns}
                for client in clients
                if client.since_ns is not None
            ]
        }

    def find(self, display_id: str | None) -> VncServer | None:
        """A display by id; None: the first one."""
        wanted = (each for each in self.servers if display_id in (None, each.id))
        return next(wanted, None)

    def _follow_run_state(self, event: Event) -> None:
        """A stopped machine says so in the title, as the windows of QEMU do."""
        if event.name not in ("STOP", "RESUME"):
            return
        stopped = " [Stopped]" if event.name == "STOP" else ""
        self.watch.title = self.watch.console.name + stopped
        for server in self.servers:
            server.title_changed()

    def _leds_set(self, _leds: object) -> None:
        """From whatever thread the guest's keyboard is in."""
        self._loop.call_soon_threadsafe(self._leds_changed)

    def _leds_changed(self) -> None:
        for server in self.servers:
            server.leds_changed()


async def _iterate() -> None:
    for _ in range(2):
        await asyncio.sleep(0)
