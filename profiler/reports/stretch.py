# SPDX-License-Identifier: GPL-2.0-or-later
"""The events of a file around the stretch in which threads waited longest.

`timeline` finds the exact stretch and draws it; it takes a snapshot with events, so that is what a
stretch is. It gets a length more on each side, in which the exact stretch may lie.
"""

from dataclasses import dataclass, replace

import numpy as np

from profiler.model import EVENT_DTYPE, EventLog, Snapshot
from profiler.traces.batch import Batch
from profiler.traces.source import EventFile

MOST_EVENTS = 1 << 19
"""Events that are kept, those with the longest wait and hold: 3.5 million a second."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """A snapshot of the whole file with the events of the stretch only.

    `left_out`: short events that were too many. `holes`: spans of ticks, as far as they
    touch it, in which events were dropped while recording.
    """

    snapshot: Snapshot
    left_out: int
    holes: tuple[tuple[int, int], ...]


def worst_stretch(
    file: EventFile,
    snapshot: Snapshot,
    around: tuple[int, int],
    length: int,
    most: int = MOST_EVENTS,
) -> Stretch:
    """The events around a span of ticks and a length on each side of it, at most so many."""
    start, end = max(0, around[0] - length), around[1] + length
    found, left_out = _collect(file, start, end, most)
    logs = {}
    for thread in snapshot.events:
        mine = found.take(found.thread == thread)
        logs[thread] = EventLog(thread, _records(mine), written=len(mine), lost=0)
    spans = zip(file.holes.starts.tolist(), file.holes.ends.tolist(), strict=True)
    holes = tuple(span for span in spans if span[0] < end and span[1] > start)
    return Stretch(replace(snapshot, events=logs), left_out, holes)


def _collect(file: EventFile, start: int, end: int, most: int) -> tuple[Batch, int]:
    """Events that touch a span in the order of the lock, and how many short ones are not here."""
    parts: list[Batch] = []
    count = left_out = 0
    for part in file.between(start, end):
        parts.append(part)
        count += len(part)
        if count > 2 * most:
            parts, before = [_longest(parts, most)], count
            count = len(parts[0])
            left_out += before - count
    found = _longest(parts, most)
    return found.ordered(), left_out + count - len(found)


def _longest(parts: list[Batch], most: int) -> Batch:
    """All of them, or those with the longest wait and hold."""
    batch = Batch.joined(parts)
    if len(batch) <= most:
        return batch
    length = np.minimum(batch.wait, 1 << 62) + np.minimum(batch.hold, 1 << 62)
    return batch.take(np.sort(np.argpartition(length, len(batch) - most)[len(batch) - most :]))


def _records(batch: Batch) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """A thread's events as its ring would have them."""
    records = np.zeros(len(batch), EVENT_DTYPE)
    for name in EVENT_DTYPE.names or ():
        records[name] = getattr(batch, name)
    return records
