# SPDX-License-Identifier: GPL-2.0-or-later
"""All of a recording as arrays, for whoever reads it every second: numbers without objects.

Goal: thousands of rows in a few milliseconds. A `Snapshot` has an object for each row, which is
right for a report; here a column of all rows is one array, and the histograms are two matrices.

    row table -> our image of it, chunk by chunk -> columns of the rows in use
                 a chunk whose threads did nothing since it was read is kept
                 a row that does not add up is read again on its own

Rules
 1. The rows of a thread whose counter is even and the same before and after are of one instant. A
    row of another thread is taken as read when it obeys its own laws: as many holds in the
    histogram as acquisitions, as many waits as contended ones, an even counter of its own. One that
    was changed under the copy breaks a law; it is read again, a bounded number of times.
 2. One that never settles is taken as it is and counted in `unsettled`. Its totals are still words
    that only grow, at most one acquisition apart.
 3. Chunks are copied one after another: rows of different threads are of different instants, some
    milliseconds apart. Sums over threads are as good as their parts, differences are not.
 4. The counters that are remembered are those from before the rows: what moves meanwhile is read
    again next time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from profiler import decode, layout
from profiler.errors import RecordingError
from profiler.geometry import Geometry
from profiler.layout import ThreadState
from profiler.model import Clock, Integrity, LiveHolder, Losses, Process, Site, ThreadInfo
from profiler.queues import QueueStats
from profiler.recfile import Raw, RecordingFile
from profiler.thread_copy import attempts

CHUNK_BYTES = 512 << 10
"""Read at a time: what is kept or read as a whole."""

MOST_ROWS = 1 << 14
"""Rows that are read; the recorder has 4096. A file that claims more is not worth its memory."""

MOST_BLAME_BYTES = 64 << 20

_EVENTS_HEAD = layout.THREAD.fields["events_head"][1] if layout.THREAD.fields else 0
_ROW_OF_SITE = layout.THREAD.fields["row_of_site"][1] if layout.THREAD.fields else 0

Column = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RowTable:
    """Rows in use, all columns in the same order. Valid until its reader reads again.

    `heads` has the fields of `layout.ROW` but the histograms. `numbers` tell the row's place in the
    file, the same one for as long as the process lives. `unwaited` are the acquisitions that did
    not wait, which `wait_hist` does not have. `unsettled` and `read` count rows.
    """

    numbers: Indices
    heads: Raw
    unwaited: Column
    hold_hist: Column
    wait_hist: Column
    unsettled: int
    read: int

    def __len__(self) -> int:
        return len(self.heads)

    def column(self, name: str) -> Column:
        """A field of all rows (see `layout.ROW`), as 64-bit numbers; arrays give a matrix."""
        return np.ascontiguousarray(self.heads[name], dtype=np.uint64)

    def holds(self, rows: Indices) -> Column:
        """Histograms of holds of these rows (indices into `heads`), one in each line."""
        return self.hold_hist[self.numbers[rows]]

    def waits(self, rows: Indices) -> Column:
        """Histograms of waits, those of no length in column 0."""
        found = self.wait_hist[self.numbers[rows]]
        found[:, 0] += self.unwaited[rows]
        return found


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


def _head_dtype() -> np.dtype[Any]:
    assert layout.ROW.fields is not None
    end = layout.ROW.fields["hold_hist"][1]
    kept = [(n, f) for n, f in layout.ROW.fields.items() if f[1] < end]
    return np.dtype(
        {
            "names": [name for name, _ in kept],
            "formats": [field[0] for _, field in kept],
            "offsets": [field[1] for _, field in kept],
            "itemsize": end,
        }
    )


ROW_HEAD = _head_dtype()
"""`layout.ROW` without the histograms."""


class RowReader:
    """Reads the row table of one open recording again and again into the same memory."""

    def __init__(self, file: RecordingFile, geometry: Geometry) -> None:
        self._file, self._geometry = file, geometry
        self._image: Raw = np.empty(0, dtype=layout.ROW)
        self._bytes = memoryview(b"")
        self._owners = np.empty(0, dtype=np.intp)  # thread of each row, -1 for one not in use
        self._counters = np.empty(0, dtype=np.uint32)
        self._read = self._unsettled = 0

    def read(self, threads: int, rows: int, alive: bool) -> RowTable:
        """The rows in use of the first `threads` threads, among the first `rows` rows.

        `alive`: somebody may be writing them. Raises RecordingError, without a path, for nonsense.
        """
        stride = self._geometry.rows.stride
        if rows > MOST_ROWS or stride > CHUNK_BYTES:
            raise RecordingError(f"damaged: {rows} rows of {stride} bytes")
        self._read = self._unsettled = 0
        self._grow(rows)
        counters = self._read_counters(threads)
        moved = np.ones(threads, dtype=bool)
        known = min(threads, len(self._counters))
        before = self._counters[:known]
        moved[:known] = (counters[:known] % 2 != 0) | (counters[:known] != before)
        self._counters = np.empty(0, dtype=np.uint32)  # an error on the way: all is read again
        fresh = self._update(threads, rows, moved)
        moving = (counters % 2 != 0) | (self._read_counters(threads) != counters)
        self._settle(fresh, moving, alive)
        self._counters = counters
        return self._table(threads)

    def _read_counters(self, threads: int) -> npt.NDArray[np.uint32]:
        at = self._geometry.threads.at
        return np.array([self._file.u32(at(i)) for i in range(threads)], dtype=np.uint32)

    def _grow(self, rows: int) -> None:
        """Make the image `rows` long."""
        known = len(self._image)
        if rows > known:
            stride = self._geometry.rows.stride
            memory = np.zeros(rows * stride, dtype=np.uint8)
            memory[: known * stride] = np.frombuffer(self._bytes, dtype=np.uint8)
            self._bytes = memory.data
            self._image = np.ndarray((rows,), layout.ROW, buffer=memory, strides=(stride,))
            self._owners = np.append(self._owners, np.full(rows - known, -1, dtype=np.intp))

    def _update(self, threads: int, rows: int, moved: npt.NDArray[np.bool_]) -> Indices:
        """Read what may have changed; returns the numbers of the rows that were read.

        The first rows are the threads' own, those of threads that never were are holes.
        """
        stale = np.append(moved, True)[np.minimum(self._owners, threads)]  # -1 is the last, too
        step = max(1, CHUNK_BYTES // self._geometry.rows.stride)
        own = min(threads, rows)
        shared = min(self._geometry.threads.capacity, rows)
        fresh = [np.empty(0, dtype=np.intp)]
        for start, end in ((0, own), (shared, rows)):
            for first in range(start, end, step):
                last = min(first + step, end)
                if stale[first:last].any():
                    self._read_chunk(first, last)
                    fresh.append(np.arange(first, last))
        return np.concatenate(fresh)

    def _read_chunk(self, first: int, last: int) -> None:
        part = self._geometry.rows
        at = first * part.stride
        self._file.read_into(part.at(first), self._bytes[at : last * part.stride])
        self._read += last - first
        chunk = self._image[first:last]
        self._owners[first:last] = np.where(
            chunk["in_use"] == 1, chunk["thread"].astype(np.intp), -1
        )

    def _settle(self, fresh: Indices, moving: npt.NDArray[np.bool_], alive: bool) -> None:
        """Read rows again that were changed while they were read."""
        owners = self._owners[fresh]
        suspects = fresh[(owners >= 0) & np.append(moving, True)[np.minimum(owners, len(moving))]]
        for number in suspects[_wrong(self._image[suspects])] if len(suspects) else ():
            self._unsettled += not self._read_again(int(number), alive)

    def _read_again(self, number: int, alive: bool) -> bool:
        """A row under its own counter. Partner: the release stores in bqlrec_release_finish()."""
        part = self._geometry.rows
        own = self._bytes[number * part.stride :][: layout.ROW.itemsize]
        for _ in attempts(alive):
            before = self._file.u32(part.at(number))
            self._file.read_into(part.at(number), own)
            if before % 2 == 0 and self._file.u32(part.at(number)) == before:
                return True
        return False

    def _table(self, threads: int) -> RowTable:
        image = self._image
        numbers = np.flatnonzero(self._owners >= 0)
        lines = np.ndarray(
            (len(image), ROW_HEAD.itemsize),
            dtype=np.uint8,
            buffer=self._bytes,
            strides=(self._geometry.rows.stride, 1),
        )
        heads = lines[numbers].view(ROW_HEAD).reshape(-1)
        if len(heads) and int(heads["thread"].max()) >= threads:
            raise RecordingError(f"damaged: a row of thread {int(heads['thread'].max())}")
        taken = heads["acquisitions"].sum(axis=1, dtype=np.uint64)
        contended = heads["contended"]
        return RowTable(
            numbers=numbers,
            heads=heads,
            unwaited=np.where(taken > contended, taken - contended, np.uint64(0)),
            hold_hist=image["hold_hist"],
            wait_hist=image["wait_hist"],
            unsettled=self._unsettled,
            read=self._read,
        )


class HeadReader:
    """Reads heads of thread blocks again and again; decodes those that changed."""

    def __init__(self, file: RecordingFile, geometry: Geometry) -> None:
        self._file, self._geometry = file, geometry
        self._known: dict[int, tuple[object, ThreadInfo | None, int]] = {}

    def read(self, index: int, alive: bool) -> tuple[ThreadInfo | None, int]:
        """A thread, None for a block that is free, and its lost events. Raises RecordingError."""
        at = self._geometry.threads.at(index)
        raw = self._file.read(at, _ROW_OF_SITE)
        key = (alive, raw[4:_EVENTS_HEAD], raw[_EVENTS_HEAD + 8 :])  # without what always moves
        known = self._known.get(index)
        if known is None or known[0] != key:
            head = self._file.record(at, layout.THREAD)
            integrity = Integrity.MOVING if alive else Integrity.EXACT
            free = int(head["state"]) == ThreadState.FREE
            thread = None if free else decode.thread(index, head, integrity)
            known = self._known[index] = (key, thread, int(head["events_lost"]))
        return known[1:]


def _wrong(rows: Raw) -> npt.NDArray[np.bool_]:
    """Rows that break a law of their own: they were changed under the copy, or are damaged."""
    taken = rows["acquisitions"].sum(axis=1, dtype=np.uint64)
    return np.asarray(
        (rows["seq"] % 2 != 0)
        | (rows["hold_hist"].sum(axis=1) != taken)
        | (rows["wait_hist"].sum(axis=1) != rows["contended"])
    )


def read_blame(
    file: RecordingFile, geometry: Geometry, threads: int
) -> tuple[Raw, npt.NDArray[np.intp]]:
    """The used entries of the first `threads` threads' tables, and whose they are.

    Raises RecordingError, without a path, for nonsense.
    """
    part = geometry.blame
    if threads * part.capacity * part.stride > MOST_BLAME_BYTES:
        raise RecordingError(f"damaged: {part.capacity} entries of blame for each thread")
    found = []
    for index in range(threads):
        raw = file.records(
            geometry.threads.at(index) + part.offset, part, part.capacity, layout.BLAME
        )
        found.append(raw[raw["used"] == 1])
    # Not np.concatenate: it works the common type out anew for every part, as slow as the reading.
    blame = np.frombuffer(b"".join(part.tobytes() for part in found), dtype=layout.BLAME)
    if len(blame) and not blame["holder"].all():
        raise RecordingError("damaged: a thread waited for nobody")
    owners = np.repeat(np.arange(len(found), dtype=np.intp), [len(part) for part in found])
    return blame, owners
