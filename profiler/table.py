# SPDX-License-Identifier: GPL-2.0-or-later
"""All of a recording as arrays, for whoever reads it every second: numbers without objects.

Goal: thousands of rows in a few milliseconds. A `Snapshot` has an object for each row, which is
right for a report; here a column of all rows is one array, and the histograms are two matrices.
`profiler.row_table` reads the rows, and says which of its numbers are of one instant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from profiler import decode, layout
from profiler.errors import RecordingError
from profiler.geometry import Geometry
from profiler.layout import ThreadState
from profiler.model import Clock, Integrity, LiveHolder, Losses, Process, Site, ThreadInfo
from profiler.queues import QueueStats
from profiler.recfile import Raw, RecordingFile
from profiler.row_table import RowTable
from profiler.thread_copy import blames_used

MOST_BLAME_BYTES = 64 << 20

_EVENTS_HEAD = layout.THREAD.fields["events_head"][1] if layout.THREAD.fields else 0
_ROW_OF_SITE = layout.THREAD.fields["row_of_site"][1] if layout.THREAD.fields else 0


@dataclass(frozen=True, eq=False)
class Table:
    """Everything an exporter asks of a recording, as of `taken` (ticks).

    `blocks` are the thread blocks that may be in use; `threads` are those that are.
    `blame` has the fields of `layout.BLAME`; `blame_threads` is the waiting thread of each entry.
    `events_lost` are the acquisitions of which the event rings know nothing, for want of a ring.
    """

    process: Process
    clock: Clock
    enabled: bool
    closed: bool
    taken: int
    blocks: int
    threads: tuple[ThreadInfo, ...]
    sites: tuple[Site, ...]
    rows: RowTable
    blame: Raw
    blame_threads: npt.NDArray[np.intp]
    waiters: int
    holder: LiveHolder | None
    losses: Losses
    queues: tuple[QueueStats, ...]
    events_lost: int


class Head(NamedTuple):
    """What a thread block says of itself: the thread, None if it is free, and two counts."""

    thread: ThreadInfo | None
    events_lost: int
    blames: int


class HeadReader:
    """Reads heads of thread blocks again and again; decodes those that changed."""

    def __init__(self, file: RecordingFile, geometry: Geometry) -> None:
        self._file, self._geometry = file, geometry
        self._known: dict[int, tuple[object, Head]] = {}

    def read(self, index: int, alive: bool) -> Head:
        """The head of block `index`. Raises RecordingError."""
        at = self._geometry.threads.at(index)
        raw = self._file.read(at, _ROW_OF_SITE)
        key = (alive, raw[4:_EVENTS_HEAD], raw[_EVENTS_HEAD + 8 :])  # without what always moves
        known = self._known.get(index)
        if known is None or known[0] != key:
            head = self._file.record(at, layout.THREAD)
            integrity = Integrity.MOVING if alive else Integrity.EXACT
            free = int(head["state"]) == ThreadState.FREE
            thread = None if free else decode.thread(index, head, integrity)
            blames = blames_used(head, self._geometry.blame.capacity)
            known = self._known[index] = (key, Head(thread, int(head["events_lost"]), blames))
        return known[1]


def read_blame(
    file: RecordingFile, geometry: Geometry, counts: Sequence[int]
) -> tuple[Raw, npt.NDArray[np.intp]]:
    """The first so many entries of each thread's table, and whose they are.

    Raises RecordingError, without a path, for nonsense.
    """
    part = geometry.blame
    if sum(counts) * part.stride > MOST_BLAME_BYTES:
        raise RecordingError(f"damaged: {sum(counts)} entries of blame")
    memory = np.empty(sum(counts) * part.stride, dtype=np.uint8)
    at = 0
    for index, count in enumerate(counts):
        size = count * part.stride
        if count:
            place = geometry.threads.at(index) + part.offset
            file.read_into(place, memory.data[at : at + size])
        at += size
    blame: Raw = np.ndarray((sum(counts),), layout.BLAME, buffer=memory, strides=(part.stride,))
    owners = np.repeat(np.arange(len(counts), dtype=np.intp), counts)
    used = blame["used"] == 1
    if not used.all():  # one that is being made
        blame, owners = blame[used], owners[used]
    if not blame["holder"].all():
        raise RecordingError("damaged: a thread waited for nobody")
    return blame, owners
