# SPDX-License-Identifier: GPL-2.0-or-later
"""A consistent copy of what one thread recorded, from a file that the thread goes on writing.

Rules
 1. Everything of a thread (rows, blame table, event count) changes inside one odd interval of the
    thread's sequence counter. Two equal even values around a copy make it EXACT. Partners: the
    release stores of the counter in bqlrec_release_finish().
 2. The counter is read by calls of its own before and after: a bulk copy may move its bytes in any
    order.
 3. A thread that never rests that long is MOVING: each row is then copied by the row's own
    counter, which rests longer, and what spans rows may be a few acquisitions apart.
 4. A counter that is odd in a file nobody writes any more is TORN: its thread was killed inside
    the interval. No wait helps.
 5. A copy of a file that was not closed tells nothing by its counters: whoever copied it (`cp`, the
    VMM at its window marks) did not look at them. All of it is COPIED.
 6. Attempts are bounded: a reader always ends.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from profiler import layout
from profiler.errors import RecordingError
from profiler.geometry import Geometry
from profiler.layout import Hist
from profiler.model import Integrity
from profiler.recfile import Raw, RecordingFile
from profiler.row_histograms import Column, counts

ATTEMPTS = 48
"""Copies that are tried before a thread or a row is taken as it is."""

SPINS = 16
"""Attempts without a pause; afterwards a writer that lost its processor gets time to go on."""

PAUSE_SECONDS = 50e-6


def attempts(alive: bool) -> Iterator[int]:
    """Numbers of the attempts to read what a sequence counter guards, at a slowing pace.

    One attempt is enough if nobody writes any more.
    """
    for attempt in range(ATTEMPTS if alive else 1):
        if attempt >= SPINS:
            time.sleep(PAUSE_SECONDS)
        yield attempt


_SEQ = 0  # offset of the sequence counter in a thread's head and in a row


@dataclass(frozen=True, eq=False)
class RowCopy:
    """A row and its histograms, and whether a sequence counter says that it is of one piece."""

    head: np.void
    holds: Column
    waits: Column
    exact: bool


@dataclass(frozen=True)
class ThreadCopy:
    """Raw records of one thread: its head, its rows that are in use, its blame table."""

    head: np.void
    rows: list[RowCopy]
    blame: Raw
    integrity: Integrity

    def of_an_open_file(self) -> "ThreadCopy":
        """The same, read from a copy that was made while the recording was open."""
        rows = [replace(row, exact=False) for row in self.rows]
        return replace(self, rows=rows, integrity=Integrity.COPIED)


def copy_thread(file: RecordingFile, geometry: Geometry, index: int, alive: bool) -> ThreadCopy:
    """Copy thread block `index`; `alive`: somebody may be writing it."""
    at = geometry.threads.at(index)
    for _ in attempts(alive):
        before = file.u32(at + _SEQ)
        if before % 2 and alive:
            continue
        copy = _copy(file, geometry, index, Integrity.TORN if before % 2 else Integrity.EXACT)
        if file.u32(at + _SEQ) == before:
            return copy
    return _copy(file, geometry, index, Integrity.MOVING)


_SELF = slice(4, layout.THREAD.fields["events_head"][1] if layout.THREAD.fields else 0)
"""Bytes of a thread's head that say who it is; its counts come after them."""


def copy_head(file: RecordingFile, geometry: Geometry, index: int) -> np.void:
    """Who the thread in block `index` is; all counts are 0.

    Two equal copies count as one state. The sequence counter is no help: it never rests while the
    thread is busy, and who a thread is hardly ever changes.
    """
    at, size = geometry.threads.at(index) + _SELF.start, _SELF.stop - _SELF.start
    copy = file.read(at, size)
    for _ in attempts(alive=True):
        before, copy = copy, file.read(at, size)
        if copy == before:
            break
    whole = bytes(_SELF.start) + copy + bytes(layout.THREAD.itemsize - _SELF.stop)
    head: np.void = np.frombuffer(whole, layout.THREAD)[0]
    return head


def _copy(file: RecordingFile, geometry: Geometry, index: int, integrity: Integrity) -> ThreadCopy:
    at = geometry.threads.at(index)
    head = file.record(at, layout.THREAD)
    rows = []
    for number in _row_numbers(file, geometry, index, head):
        row = _copy_row(file, geometry, number, integrity)
        if int(row.head["in_use"]) != 1:
            continue
        if int(row.head["thread"]) != index:
            raise file.error(
                f"damaged: row {number} belongs to thread {int(row.head['thread'])}, not {index}"
            )
        rows.append(row)
    part = geometry.blame
    used = blames_used(head, part.capacity)
    blame = file.records(at + part.offset, part, used, layout.BLAME)
    return ThreadCopy(head, rows, blame, integrity)


def blames_used(head: np.void, capacity: int) -> int:
    """How many entries of its blame table a thread uses.

    Raises RecordingError, without a path, if the table has not so many.
    """
    used = int(head["blames_used"])
    if used > capacity:
        raise RecordingError(f"damaged: {used} entries of blame in a table of {capacity}")
    return used


def _row_numbers(file: RecordingFile, geometry: Geometry, index: int, head: np.void) -> list[int]:
    """Rows that the thread's map names, and its fixed row of site 0."""
    mapped = np.unique(head["row_of_site"])
    numbers = {int(n) - 1 for n in mapped if n}
    if numbers and max(numbers) >= geometry.rows.capacity:
        raise file.error(f"damaged: thread {index} has a row {max(numbers)}")
    if index < geometry.rows.capacity:
        numbers.add(index)
    return sorted(numbers)


def _copy_row(
    file: RecordingFile, geometry: Geometry, number: int, integrity: Integrity
) -> RowCopy:
    if integrity is Integrity.EXACT:  # the thread's counter decides
        return _read_row(file, geometry, number, exact=True)
    at = geometry.rows.at(number) + _SEQ
    row: RowCopy
    for _ in attempts(integrity is Integrity.MOVING):
        before = file.u32(at)
        row = _read_row(file, geometry, number, exact=False)
        if before % 2 == 0 and file.u32(at) == before:
            return replace(row, exact=True)
    return row


def _read_row(file: RecordingFile, geometry: Geometry, number: int, *, exact: bool) -> RowCopy:
    raw = np.frombuffer(file.read(geometry.rows.at(number), layout.ROW.itemsize), layout.ROW)
    spill = np.zeros(1, layout.SPILL)
    if raw["spills"][0]:
        spill = file.records(geometry.spill.at(number), geometry.spill, 1, layout.SPILL)
    only = np.zeros(1, dtype=np.intp)
    holds, waits = (counts(raw, only, hist, spill["count"])[0] for hist in Hist)
    return RowCopy(raw[0], holds, waits, exact)
