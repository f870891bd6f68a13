# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording for a report: the whole of it, or the window that the guest marked."""

import os
from dataclasses import dataclass
from pathlib import Path

from profiler.errors import RecordingError
from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.traces.format import MAGIC


@dataclass(frozen=True)
class Source:
    """A snapshot with its events. `marked`: it is the guest's own window, not the whole time."""

    snapshot: Snapshot
    marked: bool


def _read(path: str | Path | int) -> Snapshot:
    with Recording.open(path) as recording:
        return recording.snapshot(events=True)


def _refuse_events(name: str | Path) -> None:
    """Say what a file of events is good for. Anything else is the reader's business."""
    try:
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            is_one = stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return
    if is_one:
        raise RecordingError(
            f"{name}: a file of `bqlscope record`, which `bqlscope convert` reads; a report or a "
            "difference needs the recording itself"
        )


def read_source(name: str | Path) -> Source:
    """The recording of a file or a process, with its window if the guest marked one.

    The window are the copies `FILE.begin` and `FILE.end`, used if both exist and fit the
    recording. Raises RecordingError.
    """
    _refuse_events(name)
    whole = _read(name)
    path = whole.process.path
    begin, end = (path.with_name(f"{path.name}.{mark}") for mark in ("begin", "end"))
    if whole.process.alive or not (begin.exists() and end.exists()):
        return Source(whole, False)
    try:
        window = _read(end).since(_read(begin))
    except (RecordingError, ValueError):
        return Source(whole, False)
    same = window.process.pid == whole.process.pid and window.clock.start == whole.clock.start
    return Source(window, True) if same and window.elapsed > 0 else Source(whole, False)
