# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs QEMU as if it had been started directly: same terminal, same signals, same exit status.

Rules
 1. QEMU stays in our session and process group, with our standard streams: Ctrl-C, Ctrl-Z and a
    monitor on the terminal work as without us.
 2. A signal that the terminal sent went to the whole group: QEMU has it already. One that somebody
    sent to us by kill is meant for QEMU and passed on. We end when QEMU ends, not before.
 3. QEMU starts with the signal mask we were started with, and with Python's changes undone.
 4. We never wait for QEMU without also looking at signals: one that is stopped stops nothing here.

Signals are blocked and fetched with sigtimedwait, because only that tells who sent them.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

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


class Child:
    """A process that was started here. A context manager: signals are blocked while it is open."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str]) -> None:
        self._words = list(words)
        self._environ = dict(environ)
        self._waited_for = {
            number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN
        } | {signal.SIGCHLD}
        self._mask: set[signal.Signals] = set()
        self._child_handler: object = signal.SIG_DFL
        self.pid = 0

    def __enter__(self) -> "Child":
        """Start it. Raises UserError."""
        # Ignored, as a careless parent may leave it, it would take the exit status away from us.
        self._child_handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # A set of numbers: the mask may hold real-time signals that the enumeration lacks.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._waited_for)
        self._mask = set(before)  # type: ignore[arg-type]
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
            info = signal.sigtimedwait(self._waited_for, max(0.0, due - now))
            if info is not None:
                self._pass_on(info)
        return ended

    def _ended(self) -> Exit | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        return Exit(code, None) if code >= 0 else Exit(None, -code)

    def _pass_on(self, info: signal.struct_siginfo) -> None:
        if info.si_signo != signal.SIGCHLD and info.si_code != SI_KERNEL:
            with suppress(OSError):
                os.kill(self.pid, info.si_signo)

    def _restore(self) -> None:
        """The mask as before; what came for QEMU while it ended is nobody's any more."""
        while signal.sigtimedwait(self._waited_for, 0):
            pass
        signal.signal(signal.SIGCHLD, self._child_handler)  # type: ignore[arg-type]
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
