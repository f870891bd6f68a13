# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report or a difference is of: a recording, the guest's window of it, a file of events."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from profiler.errors import RecordingError
from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.reports.stretch import Stretch, worst_stretch
from profiler.reports.timeline import LENGTH
from profiler.traces.batch import Batch
from profiler.traces.source import EventFile, event_file
from profiler.traces.waiting import Waiting

PIECES = 16
"""So many pieces of time make up the length of the timeline."""

_BEYOND = 1 << 62
"""No clock comes this far."""

Shown = Callable[[float], None]
"""Told how much of a long file has been read, 0 to 1."""


@dataclass(frozen=True)
class Events:
    """What a file of `bqlscope record` is beyond its figures.

    `reason`: why it ended, as in `capture.Totals`, None if it has no end. `dropped`: acquisitions
    that are not in it, which happened in `holes` stretches of together `hole_ns` nanoseconds.
    `notes`: what to know about the file. `worst`: the stretch for the timeline, None if nobody
    waited.
    """

    reason: str | None
    dropped: int
    holes: int
    hole_ns: float
    notes: tuple[str, ...]
    worst: Stretch | None


@dataclass(frozen=True)
class Source:
    """A snapshot. `marked`: it is the guest's own window, not the whole time.

    `events` is None for a recording; its snapshot then has the events of its rings.
    """

    snapshot: Snapshot
    marked: bool
    events: Events | None = None


def read_source(name: str | Path, shown: Shown = lambda _: None) -> Source:
    """A recording, a process by its id, or a file of events. Raises RecordingError."""
    file = event_file(name)
    if file is None:
        return read_recording(name)
    with file:
        return _read_events(file, shown)


def read_recording(name: str | Path) -> Source:
    """The recording of a file or a process, with its window if the guest marked one.

    The window are the copies `FILE.begin` and `FILE.end`, used if both exist and fit the
    recording. Raises RecordingError.
    """
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


def _read(path: str | Path | int) -> Snapshot:
    with Recording.open(path) as recording:
        return recording.snapshot(events=True)


def _read_events(file: EventFile, shown: Shown) -> Source:
    """Look through a file once for the figures, and again at its worst stretch."""
    path, clock = file.process.path, file.clock
    length = min(round(LENGTH / clock.ns_per_tick), _BEYOND)
    if max(file.began, file.ended) >= _BEYOND:
        raise RecordingError(f"{path}: damaged: it begins or ends at an impossible time")
    waiting = Waiting(file.began, length // PIECES)

    def watch(batch: Batch) -> None:
        waiting.add(batch)
        shown(file.done)

    snapshot = file.snapshot(watch)
    if snapshot.taken >= _BEYOND:
        raise RecordingError(f"{path}: damaged: its last event is at an impossible time")
    around = waiting.worst(max(1, min(length, snapshot.elapsed)))
    worst = worst_stretch(file, snapshot, around, length) if around else None
    spans = zip(file.holes.starts.tolist(), file.holes.ends.tolist(), strict=True)
    in_holes = min(sum(last - first for first, last in spans), snapshot.elapsed)
    notes = tuple(file.notes)
    events = Events(
        file.reason, file.dropped, len(file.holes.starts), clock.ns(in_holes), notes, worst
    )
    return Source(snapshot, False, events)
