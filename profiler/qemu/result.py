# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recorded QEMU left behind: its recording, and the window that the guest marked, if any."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler.errors import RecordingError
from profiler.model import Snapshot
from profiler.qemu.regions import regions_path
from profiler.reader import Recording

_MARKS = (".begin", ".end")


@dataclass(frozen=True)
class Left:
    """`snapshot` is the whole recording or, with `window`, what happened between its marks."""

    path: Path
    snapshot: Snapshot
    window: bool

    def window_json(self) -> dict[str, int] | None:
        """Both ends of the window on CLOCK_MONOTONIC, in nanoseconds."""
        if not self.window:
            return None
        clock = self.snapshot.clock
        return {
            "start_ns": clock.monotonic_ns(self.snapshot.start),
            "end_ns": clock.monotonic_ns(self.snapshot.taken),
        }


def read_left(path: Path, window: bool) -> Left:
    """The recording at `path`, and its window if wanted and complete. Raises RecordingError."""
    whole = _snapshot(path)
    if window:
        with suppress(RecordingError, ValueError):
            begin, end = (_snapshot(_copy(path, mark)) for mark in _MARKS)
            between = end.since(begin)
            if _identity(between) == _identity(whole):
                return Left(path, between, True)
    return Left(path, whole, False)


def remove_old_window(path: Path) -> None:
    """Remove the window copies that an earlier run left beside a recording that is made anew.

    What is not a recording stays. Raises OSError.
    """
    for copy in (_copy(path, mark) for mark in _MARKS):
        with suppress(RecordingError):
            Recording.open(copy).close()
            copy.unlink()


def discard(path: Path) -> None:
    """Remove a recording with everything that belongs to it. Raises OSError."""
    for file in (path, *(_copy(path, mark) for mark in _MARKS), regions_path(path)):
        file.unlink(missing_ok=True)


def _copy(path: Path, mark: str) -> Path:
    return path.with_name(path.name + mark)


def _snapshot(path: Path) -> Snapshot:
    with Recording.open(path) as recording:
        return recording.snapshot(events=False)


def _identity(snapshot: Snapshot) -> Any:
    process = snapshot.process
    return process.pid, process.start_time, snapshot.clock.start
