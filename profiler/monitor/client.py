# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection to a QMP monitor that listens while its user thinks.

The `qemu.qmp` library runs in a thread of its own, so that events are told as they come; the user's
thread asks and waits. Failures are `profiler.qemu.qmp`'s errors, one line with the way out.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from qemu.qmp import EventListener, ExecuteError, Message, QMPClient, Runstate

from profiler.monitor.syntax import QmpCommand
from profiler.qemu.qmp import (
    LARGEST_ANSWER,
    QmpClosedError,
    QmpError,
    QmpTimeoutError,
    no_greeting,
    open_monitor,
)

CONNECT_TIMEOUT = 5.0
_T = TypeVar("_T")


class _Tell(EventListener):
    """Tells events instead of keeping them."""

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._on_event = on_event

    async def put(self, event: Message) -> None:
        """An event came."""
        self._on_event(dict(event))


class MonitorClient:
    """A connection. A context manager.

    `on_event` gets each event, `on_closed` is called once when the other side hangs up; both in the
    client's thread.
    """

    def __init__(
        self,
        address: str,
        on_event: Callable[[dict[str, Any]], None],
        on_closed: Callable[[], None],
    ) -> None:
        """Connect and negotiate. Raises QmpError."""
        self.address = address
        self._on_closed = on_closed
        sock = open_monitor(address, CONNECT_TIMEOUT)
        sock.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = QMPClient(readbuflen=LARGEST_ANSWER)
        self._client.register_listener(_Tell(on_event))
        self.closed = threading.Event()
        """Set once the other side hung up."""
        try:
            self._run(self._client.connect(sock), CONNECT_TIMEOUT)
        except BaseException as error:
            sock.close()
            self.close()
            if isinstance(error, Exception):
                raise no_greeting(address, error, CONNECT_TIMEOUT) from error
            raise
        asyncio.run_coroutine_threadsafe(self._watch(), self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def greeting(self) -> dict[str, Any]:
        """What the monitor said of itself, QAPI's VersionInfo."""
        greeting = self._client.greeting
        return dict(greeting.QMP.version) if greeting is not None else {}

    def execute(self, command: QmpCommand, timeout: float | None = None) -> dict[str, Any]:
        """The reply, `return` or `error`, after at most `timeout` seconds. Raises QmpError."""
        work = self._client.execute(command.name, command.arguments or None, oob=command.oob)
        try:
            return {"return": self._run(work, timeout)}
        except ExecuteError as error:
            found = error.error.error
            return {"error": {"class": found.class_, "desc": found.desc}}
        except TimeoutError as error:
            raise QmpTimeoutError(
                f"no answer to {command.name} in {timeout:g} s: the main loop is stuck, or the"
                " process is stopped"
            ) from error
        except Exception as error:
            if self._client.runstate is Runstate.RUNNING:
                raise QmpError(f"the answer to {command.name} makes no sense: {error}") from error
            raise QmpClosedError(f"the monitor {self.address} was closed") from error

    async def _watch(self) -> None:
        """Notice when the other side hangs up."""
        while self._client.runstate is Runstate.RUNNING:
            await self._client.runstate_changed()
        self.closed.set()
        self._on_closed()

    def _run(self, work: Coroutine[Any, Any, _T], timeout: float | None) -> _T:
        async def limited() -> _T:
            return await asyncio.wait_for(work, timeout)

        future = asyncio.run_coroutine_threadsafe(limited(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Hang up. May be called again; never raises."""
        if self._loop.is_closed():
            return
        with suppress(Exception):
            self._run(self._client.disconnect(), CONNECT_TIMEOUT)
        with suppress(Exception):
            self._run(self._finish(), CONNECT_TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
