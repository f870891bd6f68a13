# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of a recording as arrays, read again and again.

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

from profiler import layout
from profiler.errors import RecordingError
from profiler.geometry import Geometry
from profiler.layout import Hist
from profiler.recfile import Raw, RecordingFile
from profiler.row_histograms import Column, Indices, counts, totals
from profiler.thread_copy import attempts

__all__ = ["Column", "Indices", "RowReader", "RowTable"]

CHUNK_BYTES = 512 << 10
"""Read at a time: what is kept or read as a whole."""

MOST_ROWS = 1 << 14
"""Rows that are read; the recorder has 4096. A file that claims more is not worth its memory."""


@dataclass(frozen=True, eq=False)
class RowTable:
    """Rows in use, all columns in the same order. Valid until its reader reads again.

    `heads` has the fields of `layout.ROW` but the histograms. `numbers` tell the row's place in the
    file, the same one for as long as the process lives. `unwaited` are the acquisitions that did
    not wait, which the recorded histogram does not have. `unsettled` and `read` count rows.
    """

    numbers: Indices
    heads: Raw
    unwaited: Column
    image: Raw
    spill: Column
    unsettled: int
    read: int

    def __len__(self) -> int:
        return len(self.heads)

    def column(self, name: str) -> Column:
        """A field of all rows (see `layout.ROW`), as 64-bit numbers; arrays give a matrix."""
        return np.ascontiguousarray(self.heads[name], dtype=np.uint64)

    def holds(self, rows: Indices) -> Column:
        """Histograms of holds of these rows (indices into `heads`), one in each line."""
        return self._counts(rows, Hist.HOLD)

    def waits(self, rows: Indices) -> Column:
        """Histograms of waits, those of no length in column 0."""
        found = self._counts(rows, Hist.WAIT)
        found[:, 0] += self.unwaited[rows]
        return found

    def _counts(self, rows: Indices, hist: Hist) -> Column:
        return counts(self.image, self.numbers[rows], hist, self.spill)


def _head_dtype() -> np.dtype[Any]:
    assert layout.ROW.fields is not None
    end = layout.ROW.fields["near"][1]
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
        self._spill = np.empty((0, len(Hist), layout.BUCKETS), dtype=np.uint64)
        self._spills = np.empty(0, dtype=np.uint32)  # which spill of each row that is
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
            # Most rows never spill: memory that nobody touches is none.
            spill = np.zeros((rows, len(Hist), layout.BUCKETS), dtype=np.uint64)
            spilled = np.flatnonzero(self._spills)
            spill[spilled] = self._spill[spilled]
            self._spill = spill
            self._spills = np.append(self._spills, np.zeros(rows - known, dtype=np.uint32))
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
        self._read_spill(first, last)
        self._owners[first:last] = np.where(
            chunk["in_use"] == 1, chunk["thread"].astype(np.intp), -1
        )

    def _read_spill(self, first: int, last: int) -> None:
        """What these rows have spilled since it was last read: neighbours at once."""
        spills = self._image["spills"][first:last]
        fresh = spills != self._spills[first:last]
        if not fresh.any():
            return
        part = self._geometry.spill
        edges = np.flatnonzero(np.diff(fresh, prepend=False, append=False)) + first
        for start, end in edges.reshape(-1, 2).tolist():
            raw = self._file.records(part.at(start), part, end - start, layout.SPILL)
            self._spill[start:end] = raw["count"]
        self._spills[first:last] = spills

    def _settle(self, fresh: Indices, moving: npt.NDArray[np.bool_], alive: bool) -> None:
        """Read rows again that were changed while they were read."""
        owners = self._owners[fresh]
        suspects = fresh[(owners >= 0) & np.append(moving, True)[np.minimum(owners, len(moving))]]
        for number in suspects[self._wrong(suspects)]:
            self._unsettled += not self._read_again(int(number), alive)

    def _wrong(self, numbers: Indices) -> npt.NDArray[np.bool_]:
        """Rows that break a law of their own: they were changed under the copy, or are damaged."""
        image = self._image
        counted = totals(image, numbers, self._spill)
        taken = image["acquisitions"][numbers].sum(axis=1, dtype=np.uint64)
        return np.asarray(
            (image["seq"][numbers] % 2 != 0)
            | (counted[:, Hist.HOLD] != taken)
            | (counted[:, Hist.WAIT] != image["contended"][numbers])
        )

    def _read_again(self, number: int, alive: bool) -> bool:
        """A row under its own counter. Partner: the release stores in bqlrec_release_finish()."""
        part = self._geometry.rows
        own = self._bytes[number * part.stride :][: layout.ROW.itemsize]
        for _ in attempts(alive):
            before = self._file.u32(part.at(number))
            self._file.read_into(part.at(number), own)
            self._spills[number] = 0  # it may have been read while it was written
            self._read_spill(number, number + 1)
            if before % 2 == 0 and self._file.u32(part.at(number)) == before:
                return True
        self._spills[number] = 0
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
            image=image,
            spill=self._spill,
            unsettled=self._unsettled,
            read=self._read,
        )
