# SPDX-License-Identifier: GPL-2.0-or-later
"""Acquisitions of several threads as columns, and their order.

Rules
 1. Times are ticks of the recording's clock, as everywhere before `Clock` converts them.
 2. Holds of one lock do not overlap, so ordering acquisitions by `acquired` also orders their
    releases. Equal instants keep the order in which they were read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from profiler.clock import Clock
from profiler.records import Events

Column = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """Acquisitions; all columns have the same length.

    `thread` is the index of a thread block. `holder_thread` is who held the lock at the request,
    NOBODY (not contended, or not known) or UNRECORDED; `holder_site` its call site.
    """

    thread: Column
    acquired: Column
    wait: Column
    hold: Column
    site: Column
    kind: Column
    contended: Column
    holder_thread: Column
    holder_site: Column

    TYPES: ClassVar[tuple[tuple[str, str], ...]] = (
        ("thread", "<i4"),
        ("acquired", "<u8"),
        ("wait", "<u8"),
        ("hold", "<u8"),
        ("site", "<i4"),
        ("kind", "u1"),
        ("contended", "?"),
        ("holder_thread", "<i4"),
        ("holder_site", "<i4"),
    )

    def __len__(self) -> int:
        return len(self.acquired)

    @classmethod
    def empty(cls) -> "Batch":
        """No acquisitions."""
        return cls(*(np.empty(0, kind) for _, kind in cls.TYPES))

    @classmethod
    def of(cls, thread: "Column | int", events: Events) -> "Batch":
        """The events of one thread, or of several if `thread` has one index for each event."""
        columns: dict[str, Column] = {"thread": np.broadcast_to(np.asarray(thread), len(events))}
        for name, _ in cls.TYPES[1:]:
            columns[name] = events[name]
        return cls(*(columns[name].astype(kind) for name, kind in cls.TYPES))

    @classmethod
    def joined(cls, parts: "Sequence[Batch]") -> "Batch":
        """All parts, one after another."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name, _ in cls.TYPES))

    def take(self, which: "Column | slice") -> "Batch":
        """The acquisitions that an index array, a mask or a slice selects."""
        return Batch(*(getattr(self, name)[which] for name, _ in self.TYPES))

    def ordered(self) -> "Batch":
        """The same, by the instant of the acquisition."""
        if np.all(self.acquired[1:] >= self.acquired[:-1]):
            return self
        return self.take(np.argsort(self.acquired, kind="stable"))

    @property
    def requested(self) -> Column:
        """When each wait began."""
        return self.acquired - self.wait

    @property
    def released(self) -> Column:
        """When each hold ended."""
        return self.acquired + self.hold


@dataclass(frozen=True, eq=False)
class Holes:
    """Times (ticks) in which acquisitions happened that are not here: disjoint and sorted."""

    starts: Column
    ends: Column

    @classmethod
    def of(cls, spans: "Iterable[tuple[int, int]]") -> "Holes":
        """Any spans of time, as (start, end); those that touch are one hole."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        starts, ends = zip(*merged, strict=True) if merged else ((), ())
        return cls(np.array(starts, "<u8"), np.array(ends, "<u8"))

    def touch(self, starts: Column, ends: Column) -> Column:
        """Whether there is a hole in each span."""
        if not len(self.starts):
            return np.zeros(len(starts), bool)
        first = np.searchsorted(self.ends, starts, side="right")
        inside = first < len(self.starts)
        touched: Column = inside & (self.starts[np.minimum(first, len(self.starts) - 1)] < ends)
        return touched


def in_order(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same acquisitions in the order of the lock, with two batches in memory at a time.

    Batches must come as `rings` reads them: everything in the second one after a batch was written
    after everything in that batch. A thread that lost its processor between its release and its
    record may still be late; its acquisition is then in the next batch that comes out.
    """
    pending, newest = Batch.empty(), -1
    for batch in batches:
        if not len(batch):
            continue
        pending = Batch.joined([pending, batch]).ordered()
        ready = int(np.searchsorted(pending.acquired, max(newest, 0), side="right"))
        newest = max(newest, int(batch.acquired.max()))
        if ready:
            yield pending.take(slice(None, ready))
            pending = pending.take(slice(ready, None))
    if len(pending):
        yield pending


def monotonic_ns(clock: Clock, instants: Column) -> Column:
    """CLOCK_MONOTONIC of instants (ticks), as whole ns and not below 0."""
    passed = (instants - np.uint64(clock.sync.ticks)).astype(np.int64)
    ns = np.rint(passed * clock.ns_per_tick).astype(np.int64) + clock.sync.monotonic_ns
    result: Column = np.maximum(ns, 0)
    return result


def whole_ns(clock: Clock, durations: Column) -> Column:
    """Lengths of durations (ticks) as whole ns."""
    return np.rint(durations * clock.ns_per_tick).astype(np.int64)
