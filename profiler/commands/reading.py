# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings and files of events for commands; a long file shows how far it has been read.

One line on standard error, once it takes two seconds.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.traces.source import event_file

QUIET_SECONDS = 2.0
TERMINAL_SECONDS, LOG_SECONDS = 0.25, 10.0
"""Between two lines where they are rewritten, and where each stays."""

MAX_WIDTH = 80
TIME = (
    "all figures are of the time that `bqlscope record` recorded; sleeps, failed trylocks, disks"
    " and exits are not in such a file"
)


class Reading:
    """Told how much of a file has been read, 0 to 1; `clock` gives seconds."""

    def __init__(self, name: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._name = name
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._began = clock()
        self._next = self._began + QUIET_SECONDS
        self._written = False

    def __call__(self, part: float) -> None:
        """Write the line if it is time to."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (TERMINAL_SECONDS if self._terminal else LOG_SECONDS)
        passed = now - self._began
        left = passed / part - passed if part > 0 else 0.0
        end = f": {part:.0%}, about {left:.0f} s left"
        line = f"reading {self._name}"[: MAX_WIDTH - 1 - len(end)] + end
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()
        self._written = True

    def clear(self) -> None:
        """Take the line off a terminal."""
        if self._terminal and self._written:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


@contextmanager
def reading(name: str) -> Iterator[Reading]:
    """Progress on standard error while a file is read."""
    shown = Reading(name, sys.stderr, time.monotonic)
    try:
        yield shown
    finally:
        shown.clear()


def read_figures(name: str) -> tuple[Snapshot, list[str]]:
    """The figures of a recording, a process or a file of events, and what to know about them.

    Raises RecordingError.
    """
    file = event_file(name)
    if file is None:
        with Recording.open(name) as recording:
            return recording.snapshot(), []
    path = Path(name)
    with file, reading(path.name) as shown:
        snapshot = file.snapshot(lambda _: shown(file.done))
        return snapshot, [f"{path.name}: {note}." for note in (TIME, *file.notes)]
