# SPDX-License-Identifier: GPL-2.0-or-later
"""A client's socket in the monitor's thread: reading, answering, and its limits.

Rules
 1. Memory is bounded: requests by the session, answers by not reading on while the client does
    not read, events by dropping a client that left more than MAX_UNSENT unread.
 2. Reply and events come in the order in which the main thread gave them.
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, cast

from vmm.monitor.dispatcher import Dispatcher
from vmm.monitor.thread import MonitorThread

MAX_UNSENT = 4 << 20  # bytes; the largest answer (query-qmp-schema) has about 0.1 MiB
LOSE_AFTER_S = 1.0  # how long a closing monitor waits for a client to read its last bytes

log = logging.getLogger("vmm.monitor")


class Connection(asyncio.Protocol):
    """What QMP and HMP clients have in common. Monitor's thread unless said otherwise."""

    def __init__(
        self,
        thread: MonitorThread,
        main_loop: asyncio.AbstractEventLoop,
        dispatcher: Dispatcher,
        on_lost: "Callable[[Connection], None]",
    ) -> None:
        self._thread = thread
        self._main_loop = main_loop
        self._dispatcher = dispatcher
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._blocked = False
        self.lost = asyncio.Event()
        self.refused = False
        """Hang up at once: there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast(asyncio.Transport, transport)
        if self.refused:
            self._transport.close()
            return
        self.write(self.greeting())

    def data_received(self, data: bytes) -> None:
        """Take bytes, carry out what they ask."""
        self.feed(data)
        self.pump()

    def pause_writing(self) -> None:
        """The client does not read: ask nothing more of it."""
        self._blocked = True
        self._balance()

    def resume_writing(self) -> None:
        """It read: go on."""
        self._blocked = False
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """It left."""
        self._transport = None
        self.in_main(self._dispatcher.forget, self)
        self.lost.set()
        self._on_lost(self)

    def write(self, data: bytes) -> None:
        """Send; drop a client that does not read."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            log.warning("a monitor client that does not read was dropped")
            self._transport.abort()
            return
        self._transport.write(data)

    def pump(self) -> None:
        """Carry out what can be carried out by now."""
        while not self._blocked and self._transport is not None and self.take():
            pass
        self._balance()

    def _balance(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._blocked or not self.wants_bytes:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def submit(self, job: Callable[[], Awaitable[bytes]]) -> None:
        """Have the main loop run a command."""
        self.in_main(self._dispatcher.submit, self, job)

    def in_main(self, fn: Callable[..., object], *args: Any) -> None:
        """Call something in the main thread, if it still has a loop."""
        try:
            self._main_loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            log.debug("the main loop has ended")

    def answer(self, reply: bytes) -> None:
        """[main thread] Send the answer to the oldest request."""
        self._thread.soon(self._answered, reply)

    def post(self, data: bytes) -> None:
        """[main thread] Send something nobody asked for."""
        self._thread.soon(self.write, data)

    def _answered(self, reply: bytes) -> None:
        self.write(reply)
        self.finished()
        self.pump()

    async def close(self) -> None:
        """Hang up; what was sent arrives if the client reads it soon."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            await asyncio.wait_for(self.lost.wait(), LOSE_AFTER_S)
        except TimeoutError:
            self._transport.abort()

    @abstractmethod
    def greeting(self) -> bytes:
        """What the client is told first."""

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Take bytes."""

    @abstractmethod
    def take(self) -> bool:
        """Carry out one request; False if there is none now."""

    @abstractmethod
    def finished(self) -> None:
        """The oldest request was answered."""

    @property
    @abstractmethod
    def wants_bytes(self) -> bool:
        """Whether to read on."""
