# SPDX-License-Identifier: GPL-2.0-or-later
"""Being asked to stop, as a question instead of an exception.

A measurement that must put something back at its end cannot be torn out of a monitor command by
KeyboardInterrupt. Within `StopRequest`, Ctrl-C and SIGTERM only leave a note, and end a wait early.
Commands have time limits, so that whoever looks at the note does so soon.
"""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """A context manager, for the main thread. Signals that were ignored before stay ignored."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup_before = -1
        self._pipe = (-1, -1)

    def __enter__(self) -> "StopRequest":
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        for end in self._pipe:
            os.close(end)

    def wait(self, seconds: float) -> bool:
        """Sleep; returns early, and True, once somebody asked to stop."""
        if self.signal is None:
            select.select([self._pipe[0]], [], [], max(0.0, seconds))
        return self.signal is not None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)
