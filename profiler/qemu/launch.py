# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs QEMU as if it had been started directly: same terminal, same signals, same exit status.

Rules
 1. QEMU stays in our session and process group, with our standard streams: Ctrl-C, Ctrl-Z and a
    monitor on the terminal work as without us.
 2. A signal that the terminal sent went to the whole group: QEMU has it already. One that somebody
    sent to us by kill is meant for QEMU and passed on. We end when QEMU ends, not before.
 3. QEMU starts with the signal mask we were started with, and with Python's changes undone.
 4. We never wait for QEMU without also looking at signals: one that is stopped stops nothing here.

Signals are blocked and fetched with sigtimedwait, because only that tells who sent them. It takes
that no other thread is there to get them, and libraries start threads when they are imported
(numpy's linear algebra does): import those within `signals_blocked`. Where a thread was started
before, a handler notes its signals, and they are passed on whoever sent them, a little later.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from profiler.qemu.probe import cannot_start

SI_KERNEL = 0x80
_PASSED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_LATEST_LOOK = 0.25  # seconds until a signal that another thread got is passed on
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True)
class Exit:
    """How QEMU ended: with an exit status, or by a signal."""

    status: int | None
    signal: int | None

    @property
    def code(self) -> int:
        """The exit status to end with, as shells have it: 128 + N for signal N."""
        return self.status if self.status is not None else 128 + (self.signal or 0)

    def to_json(self) -> dict[str, int | None]:
        """The same as a dictionary."""
        return {"status": self.status, "signal": self.signal}


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Threads that start meanwhile never take a signal from the main thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGCHLD))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Child:
    """A process that was started here. A context manager: signals are blocked while it is open."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str]) -> None:
        self._words = list(words)
        self._environ = dict(environ)
        self._waited_for = {
            number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN
        } | {signal.SIGCHLD}
        self._mask: set[signal.Signals] = set()
        self._handlers: dict[int, Any] = {}
        self._noted: list[int] = []
        self.pid = 0

    def __enter__(self) -> "Child":
        """Start it. Raises UserError."""
        # A set of numbers: the mask may hold real-time signals that the enumeration lacks.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._waited_for)
        self._mask = set(before)  # type: ignore[arg-type]
        for number in self._waited_for:
            self._handlers[number] = signal.signal(number, self._note)
        # Ignored, as a careless parent may leave it, it would take the exit status away from us.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            self.pid = os.posix_spawnp(
                self._words[0],
                self._words,
                self._environ,
                setsigmask=self._mask,
                setsigdef=_PYTHON_IGNORES,
            )
        except OSError as error:
            self._restore()
            raise cannot_start(self._words[0], error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def run(self, tick: Callable[[], float]) -> Exit:
        """Wait for its end, passing signals on; calls `tick` again after the seconds it returns."""
        due = 0.0
        while (ended := self._ended()) is None:
            now = time.monotonic()
            if now >= due:
                due = now + tick()
                continue
            info = signal.sigtimedwait(self._waited_for, min(_LATEST_LOOK, max(0.0, due - now)))
            if info is not None and info.si_signo != signal.SIGCHLD and info.si_code != SI_KERNEL:
                self._pass_on(info.si_signo)
            while self._noted:
                self._pass_on(self._noted.pop(0))
        return ended

    def _ended(self) -> Exit | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        return Exit(code, None) if code >= 0 else Exit(None, -code)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._noted.append(number)

    def _pass_on(self, number: int) -> None:
        with suppress(OSError):
            os.kill(self.pid, number)

    def _restore(self) -> None:
        """The mask as before; what came for QEMU while it ended is nobody's any more."""
        while signal.sigtimedwait(self._waited_for, 0):
            pass
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
