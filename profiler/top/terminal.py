# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and signals of a terminal, and the promise to leave it as it was.

Rules
 1. Line editing and echo are off between `resume` and `suspend` only; the first settings are put
    back on every way out: quit, exception, SIGTERM, SIGHUP, and before the process stops.
 2. Signal handlers set flags. Everything happens in `wait`, which a byte in the wake-up pipe ends,
    so no drawing is ever interrupted in its middle.
 3. The keyboard signals stay with the terminal driver: Ctrl-C and Ctrl-Z work even while we draw.
"""

import os
import select
import signal
import socket
import termios
import tty
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

_KEYS = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
    b"\x1b[F": "end",
    b"\x1bOF": "end",
    b"\x1b[4~": "end",
    b"\t": "tab",
    b"\x04": "q",
}
_HANDLED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGWINCH,
)
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def keys(data: bytes) -> list[str]:
    """Keys out of what a terminal sent: characters, `up`, `page-down`, `tab`, …

    Sequences that no key of ours sends are skipped whole.
    """
    found = []
    while data:
        length = _length(data)
        key, data = data[:length], data[length:]
        if key in _KEYS:
            found.append(_KEYS[key])
        elif len(key) == 1 and 0x20 <= key[0] < 0x7F:
            found.append(chr(key[0]))
    return found


def _length(data: bytes) -> int:
    """Bytes of the first key: one, or a whole escape sequence."""
    if data[:1] != b"\x1b" or len(data) == 1:
        return 1
    if data[1:2] == b"O":
        return 3
    if data[1:2] != b"[":
        return 2
    for at, byte in enumerate(data[2:], 2):
        if 0x40 <= byte <= 0x7E:
            return at + 1
    return len(data)


class Terminal:
    """The keyboard, a context manager. `ended_by`: the signal that asked us to end, or 0."""

    def __init__(self, fd: int) -> None:
        """`fd` is the terminal's; without a terminal behind it there are signals but no keys."""
        self._fd = fd
        self._settings: list[Any] | None = None
        self._is_terminal = os.isatty(fd)
        self._handlers: dict[signal.Signals, Any] = {}
        self._pending: list[int] = []
        self._wake, self._wakened = socket.socketpair()
        self._old_wakeup = -1
        self.ended_by = 0
        self.stop_wanted = False

    def __enter__(self) -> Self:
        self._wake.setblocking(False)
        self._wakened.setblocking(False)
        self._old_wakeup = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in _HANDLED:
            self._handlers[number] = signal.signal(number, self._note)
        self.resume()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.suspend()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        self._wake.close()
        self._wakened.close()

    def resume(self) -> None:
        """Take keys one by one, without echo."""
        if self._is_terminal:
            self._settings = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)

    def suspend(self) -> None:
        """Put the settings back."""
        if self._settings is not None:
            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._settings)
            self._settings = None

    def stop(self) -> None:
        """Stop this process, as Ctrl-Z would have; returns when it is continued."""
        self.stop_wanted = False
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)

    def wait(self, seconds: float) -> list[str]:
        """Keys pressed within that time; returns at the first one, and at every signal."""
        wakened = self._wakened.fileno()
        sources = [wakened, *([self._fd] if self._is_terminal else [])]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if wakened in ready:
            with suppress(BlockingIOError):
                self._wakened.recv(4096)
        self._look_at_signals()
        return self._read() if self._fd in ready else []

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._pending.append(number)

    def _look_at_signals(self) -> None:
        while self._pending:
            number = self._pending.pop(0)
            if number == signal.SIGTSTP:
                self.stop_wanted = True
            elif number in _ENDING:
                self.ended_by = self.ended_by or number

    def _read(self) -> list[str]:
        try:
            data = os.read(self._fd, 4096)
        except OSError:  # the terminal is gone
            data = b""
        if not data:
            self._is_terminal = False
            self.ended_by = self.ended_by or signal.SIGHUP
        return keys(data)
