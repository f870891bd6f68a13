# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a stream of acquisitions: a Snapshot, as if the recorder had counted them.

The recorder's own tables are sums since it began; a file of events has any interval, and every
tool that takes a Snapshot then works on it too.

Blame. A wait [request, acquired) is split among the holds that overlap it. In the order of the
lock holds do not overlap, so those are consecutive: from the first one that was released after the
request, to the one before the wait's own acquisition. What lies between two holds is `handoff`,
what lies before the oldest hold that is still known is `unknown`. In a wait that overlaps a time
in which events were dropped, what no known hold explains is `unknown` as a whole.

Rejected: charging the holder at the request, which the event names: with several holders in one
wait it is wrong for all but the first.

What events do not tell stays zero: blocked sections, failed trylocks, losses.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from profiler.clock import Clock
from profiler.errors import RecordingError
from profiler.histogram import MAX_BUCKETS, Histogram, bucket_index
from profiler.layout import BUCKETS, Blocked, Kind, Role
from profiler.model import Process, Site, Snapshot, ThreadInfo
from profiler.records import EVENT_DTYPE, BlameEntry, EventLog, Integrity, Row, Who
from profiler.traces.batch import Batch, Column, Holes

HISTORY = 65536
"""Holds that are kept to explain later waits; a wait that reaches further back is `unknown`."""

PARTS_AT_ONCE = 1 << 20
"""Parts of waits that are worked on at a time."""

MOST_ROWS = 1 << 14
"""Threads at call sites, four times what a recording has room for; each takes 8 KiB here."""


@dataclass
class _Row:
    acquisitions: list[int] = field(default_factory=lambda: [0] * len(Kind))
    contended: int = 0
    wait_total: int = 0
    handoff: int = 0
    unknown: int = 0
    hold_total: int = 0
    max_wait: int = 0
    max_wait_at: int = 0
    max_wait_by: Who | None = None
    max_hold: int = 0
    max_hold_at: int = 0
    wait_hist: Any = field(default_factory=lambda: np.zeros(MAX_BUCKETS, np.uint64))
    hold_hist: Any = field(default_factory=lambda: np.zeros(MAX_BUCKETS, np.uint64))


@dataclass
class _Blame:
    ticks: int = 0
    count: int = 0
    max: int = 0


def _key(thread: Column, site: Column) -> Column:
    return (thread.astype(np.int64) << 16) | site.astype(np.int64)


def _who(key: int) -> Who:
    return Who(key >> 16, key & 0xFFFF)


class Aggregate:
    """Sums over batches that come in the order of the lock."""

    def __init__(
        self,
        process: Process,
        clock: Clock,
        threads: Mapping[int, ThreadInfo],
        sites: Mapping[int, Site],
        holes: Holes,
    ) -> None:
        self._process, self._clock = process, clock
        self._threads, self._sites, self._holes = threads, sites, holes
        self._rows: dict[int, _Row] = defaultdict(_Row)
        self._blame: dict[tuple[int, int], _Blame] = defaultdict(_Blame)
        self._history = Batch.empty()
        self._codes: dict[int, int] = {}
        self._keys: list[int] = []
        self._history_codes: Column = np.empty(0, np.uint16)

    def add(self, batch: Batch) -> None:
        """Count acquisitions that come after all earlier ones.

        Raises RecordingError, without a path, for more call sites than a recording can have.
        """
        if not len(batch):
            return
        keys = _key(batch.thread, batch.site)
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        if len(starts) > MOST_ROWS or len(self._rows) > MOST_ROWS:
            raise RecordingError("damaged: its events are of too many threads and call sites")
        codes = np.empty(len(batch), np.uint16)
        for part in np.split(order, starts[1:]):
            key = int(keys[part[0]])
            self._count(self._rows[key], batch.take(part))
            codes[part] = self._code(key)
        known = Batch.joined([self._history, batch])
        codes = np.concatenate((self._history_codes, codes))
        waits = len(self._history) + np.flatnonzero(batch.contended & (batch.wait > 0))
        if len(waits):
            self._split(known, codes, waits)
        self._history = known.take(slice(-HISTORY, None))
        self._history_codes = codes[-HISTORY:]

    def _code(self, key: int) -> int:
        """A small number for a thread at a call site: 16 bits are sorted by radix, 64 are not."""
        code = self._codes.setdefault(key, len(self._keys))
        if code == len(self._keys):
            self._keys.append(key)
        return code

    def _count(self, row: _Row, part: Batch) -> None:
        for kind, number in enumerate(np.bincount(part.kind, minlength=len(Kind))):
            row.acquisitions[kind] += int(number)
        row.hold_total += int(part.hold.sum())
        row.hold_hist += _histogram(part.hold)
        waits = np.where(part.contended, part.wait, 0).astype(np.uint64)
        row.wait_hist += _histogram(waits)
        row.contended += int(part.contended.sum())
        row.wait_total += int(waits.sum())
        longest = int(part.hold.argmax())
        if int(part.hold[longest]) > row.max_hold:
            row.max_hold = int(part.hold[longest])
            row.max_hold_at = int(part.acquired[longest])

    def _split(self, known: Batch, codes: Column, waits: Column) -> None:
        """Split the waits of these rows of `known` among the rows before them."""
        first = np.searchsorted(known.released, known.requested[waits], side="right")
        first = np.minimum(first, waits)
        begin = 0
        while begin < len(waits):
            parts = np.cumsum((waits - first)[begin:])
            end = begin + max(1, int(np.searchsorted(parts, PARTS_AT_ONCE, side="right")))
            self._charge(known, codes, waits[begin:end], first[begin:end])
            begin = end

    def _charge(self, known: Batch, codes: Column, waits: Column, first: Column) -> None:
        """Charge waits of `known`; the hold before which each began is row `first`."""
        lengths = waits - first
        owner = np.repeat(np.arange(len(waits)), lengths)
        hold = np.arange(len(owner)) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
        request, wait = known.requested[waits], known.wait[waits]
        start = np.maximum(known.acquired[hold], request[owner])
        end = np.minimum(known.released[hold], known.acquired[waits][owner])
        ticks = np.where(end > start, end - start, 0).astype(np.uint64)
        explained = np.minimum(_sums(owner, ticks, len(waits)), wait)
        oldest = known.acquired[0]
        rest = wait - explained
        unknown = np.where(request < oldest, np.minimum(oldest - request, rest), 0)
        unknown = np.where(self._holes.touch(request, known.acquired[waits]), rest, unknown)
        waiter = codes[waits]
        parts = _grouped(owner, codes[hold], ticks)
        self._add_blame(waiter, *parts)
        by = _largest_parts(len(waits), *parts)
        for code in np.unique(waiter):
            mine = np.flatnonzero(waiter == code)
            row = self._rows[self._keys[code]]
            row.unknown += int(unknown[mine].sum())
            row.handoff += int((rest - unknown)[mine].sum())
            longest = int(mine[::-1][wait[mine[::-1]].argmax()])  # the last of equals, as recorded
            if int(wait[longest]) >= row.max_wait:
                row.max_wait, row.max_wait_at = int(wait[longest]), int(request[longest])
                row.max_wait_by = _who(self._keys[by[longest]]) if by[longest] >= 0 else None

    def _add_blame(self, codes: Column, owner: Column, holder: Column, ticks: Column) -> None:
        """Add one part for each wait and holder to the sums of its pair."""
        waiter = codes[owner]
        order = _order(waiter, holder)
        waiter, holder, ticks = waiter[order], holder[order], ticks[order]
        pairs = _starts(waiter, holder)
        if not len(pairs):
            return
        counts = np.diff(pairs, append=len(ticks))
        sums, maxima = np.add.reduceat(ticks, pairs), np.maximum.reduceat(ticks, pairs)
        for at, total, count, largest in zip(pairs, sums, counts, maxima, strict=True):
            entry = self._blame[self._keys[waiter[at]], self._keys[holder[at]]]
            entry.ticks += int(total)
            entry.count += int(count)
            entry.max = max(entry.max, int(largest))

    def snapshot(self, start: int, taken: int) -> Snapshot:
        """The figures of everything added, as of the interval from `start` to `taken` (ticks).

        Threads that only events name are there too, without a name.
        """
        nameless = {key >> 16 for key in self._rows} - self._threads.keys()
        threads = {**self._threads, **{index: _nameless(index) for index in nameless}}
        written = dict.fromkeys(threads, 0)
        for key, row in self._rows.items():
            written[key >> 16] += sum(row.acquisitions)
        return Snapshot(
            process=self._process,
            clock=self._clock,
            enabled=True,
            closed=False,
            start=start,
            taken=max(start, taken),
            threads=tuple(threads[index] for index in sorted(threads)),
            sites=tuple(self._sites[index] for index in sorted(self._sites)),
            rows=tuple(_row(_who(key), self._rows[key]) for key in sorted(self._rows)),
            blame=tuple(
                BlameEntry(_who(waiter), _who(holder), sums.ticks, sums.count, sums.max)
                for (waiter, holder), sums in sorted(self._blame.items())
            ),
            events={
                index: EventLog(index, np.empty(0, EVENT_DTYPE), written[index], lost=0)
                for index in threads
            },
            waiters=0,
            holder=None,
        )


def _nameless(index: int) -> ThreadInfo:
    """A thread of which nothing is known but what it did."""
    return ThreadInfo(
        index=index,
        tid=0,
        role=Role.OTHER,
        name="",
        live=False,
        incarnations=1,
        first_seen=0,
        last_exit=0,
        blame_lost=0,
        integrity=Integrity.EXACT,
    )


def _row(who: Who, sums: _Row) -> Row:
    assert who.thread is not None
    nothing = (0,) * len(Blocked)
    return Row(
        thread=who.thread,
        site=who.site,
        acquisitions=tuple(sums.acquisitions),
        contended=sums.contended,
        trylock_failed=0,
        wait_total=sums.wait_total,
        handoff=sums.handoff,
        unknown=sums.unknown,
        max_wait=sums.max_wait,
        max_wait_at=sums.max_wait_at,
        max_wait_by=sums.max_wait_by,
        hold_total=sums.hold_total,
        max_hold=sums.max_hold,
        max_hold_at=sums.max_hold_at,
        blocked_ticks=nothing,
        blocked_count=nothing,
        wait_hist=Histogram(sums.wait_hist),
        hold_hist=Histogram(sums.hold_hist),
    )


def _histogram(values: Column) -> Column:
    buckets = np.minimum(bucket_index(values), BUCKETS - 1)
    return np.bincount(buckets, minlength=MAX_BUCKETS).astype(np.uint64)


def _sums(owner: Column, ticks: Column, length: int) -> Column:
    """Sum of the ticks of each owner; owners are in ascending order."""
    running = np.concatenate((np.zeros(1, np.uint64), np.cumsum(ticks, dtype=np.uint64)))
    return np.diff(running[np.searchsorted(owner, np.arange(length + 1))])


def _order(major: Column, minor: Column) -> Column:
    """As np.lexsort((minor, major)), for columns of 16 bits in a third of its time."""
    by_minor = np.argsort(minor, kind="stable")
    order: Column = by_minor[np.argsort(major[by_minor], kind="stable")]
    return order


def _starts(*keys: Column) -> Column:
    """Where runs of equal keys begin."""
    changes = np.zeros(len(keys[0]), bool)
    changes[:1] = True
    for key in keys:
        changes[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changes)


def _grouped(owner: Column, holder: Column, ticks: Column) -> tuple[Column, Column, Column]:
    """One part for each owner and holder; parts of no ticks are left out."""
    used = np.flatnonzero(ticks)
    narrow = owner[used].astype(np.uint16) if owner[-1:].max(initial=0) < 1 << 16 else owner[used]
    order = used[_order(narrow, holder[used])]
    owner, holder, ticks = owner[order], holder[order], ticks[order]
    starts = _starts(owner, holder)
    if not len(starts):
        return owner, holder, ticks
    return owner[starts], holder[starts], np.add.reduceat(ticks, starts)


def _largest_parts(length: int, owner: Column, holder: Column, ticks: Column) -> Column:
    """For each owner the holder with the largest part of its wait, -1 if there is none.

    Owners are in ascending order.
    """
    found = np.full(length, -1, np.int64)
    starts = _starts(owner)
    if len(starts):
        largest = np.repeat(np.maximum.reduceat(ticks, starts), np.diff(starts, append=len(owner)))
        best = ticks == largest
        found[owner[best]] = holder[best]  # the last assignment of an owner wins
    return found
