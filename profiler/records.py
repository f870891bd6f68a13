# SPDX-License-Identifier: GPL-2.0-or-later
"""What one thread recorded: rows, blame entries and events, and what was added to them.

Durations and instants are ticks of the recording's clock, exactly as recorded.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from profiler.histogram import LOWER_BOUNDS, UPPER_BOUNDS, Histogram
from profiler.layout import Blocked

EVENT_DTYPE = np.dtype(
    [
        ("acquired", "<u8"),  # ticks
        ("wait", "<u8"),  # ticks; the request was at acquired - wait
        ("hold", "<u8"),  # ticks; the release was at acquired + hold
        ("site", "<u2"),
        ("kind", "u1"),  # enum Kind
        ("contended", "?"),
        ("holder_thread", "<i4"),  # who held the lock at the request, or NOBODY or UNRECORDED
        ("holder_site", "<u2"),
    ]
)
"""One acquisition in `EventLog.records`."""

NOBODY = -1
"""`holder_thread` of an event: not contended, or not known."""

UNRECORDED = -2
"""`holder_thread` of an event: a thread that got no block."""

Events = npt.NDArray[np.void]


class Integrity(Enum):
    """How far the parts of a thread's record were copied as of one instant."""

    EXACT = "exact"
    MOVING = "moving"
    """The thread went on during every attempt to copy: rows may be a few acquisitions apart."""
    TORN = "torn"
    """The process died while the thread updated its record."""
    COPIED = "copied"
    """From a copy of a file that was still open: its parts may be of different instants."""


class Who(NamedTuple):
    """A thread at a call site. `thread` is None for a thread that got no block of its own."""

    thread: int | None
    site: int


@dataclass(frozen=True)
class Row:
    """Statistics of one thread at one call site. Ticks, unless the name says counts.

    `acquisitions` is indexed by Kind, `blocked_ticks` and `blocked_count` by Blocked. `wait_hist`
    holds all acquisitions, the uncontended ones in bucket 0. `max_wait_by` is the holder with the
    largest part in the longest wait.
    """

    thread: int
    site: int
    acquisitions: tuple[int, ...]
    contended: int
    trylock_failed: int
    wait_total: int
    handoff: int
    unknown: int
    max_wait: int
    max_wait_at: int
    max_wait_by: Who | None
    hold_total: int
    max_hold: int
    max_hold_at: int
    blocked_ticks: tuple[int, ...]
    blocked_count: tuple[int, ...]
    wait_hist: Histogram
    hold_hist: Histogram
    integrity: Integrity = Integrity.EXACT

    @property
    def total(self) -> int:
        """Acquisitions of all kinds."""
        return sum(self.acquisitions)

    @property
    def gil_ticks(self) -> int:
        """Part of the hold spent waiting for Python's interpreter lock."""
        return self.blocked_ticks[Blocked.GIL]

    @property
    def who(self) -> Who:
        """Thread and site of this row."""
        return Who(self.thread, self.site)

    def since(self, earlier: "Row") -> "Row":
        """What was added after `earlier`, a state of the same row.

        A maximum that is older than the interval does not count in it; the largest sample of the
        interval is then known to the width of its histogram bucket, and its upper bound is given.
        """
        integrity = self.integrity if earlier.integrity is Integrity.EXACT else earlier.integrity
        wait_hist = _grown(self.wait_hist, earlier.wait_hist, integrity)
        hold_hist = _grown(self.hold_hist, earlier.hold_hist, integrity)
        new_wait = (self.max_wait, self.max_wait_at) != (earlier.max_wait, earlier.max_wait_at)
        new_hold = (self.max_hold, self.max_hold_at) != (earlier.max_hold, earlier.max_hold_at)
        return replace(
            self,
            acquisitions=_minus(self.acquisitions, earlier.acquisitions),
            contended=self.contended - earlier.contended,
            trylock_failed=self.trylock_failed - earlier.trylock_failed,
            wait_total=self.wait_total - earlier.wait_total,
            handoff=self.handoff - earlier.handoff,
            unknown=self.unknown - earlier.unknown,
            max_wait=self.max_wait if new_wait else _largest(wait_hist, self.max_wait),
            max_wait_at=self.max_wait_at if new_wait else 0,
            max_wait_by=self.max_wait_by if new_wait else None,
            hold_total=self.hold_total - earlier.hold_total,
            max_hold=self.max_hold if new_hold else _largest(hold_hist, self.max_hold),
            max_hold_at=self.max_hold_at if new_hold else 0,
            blocked_ticks=_minus(self.blocked_ticks, earlier.blocked_ticks),
            blocked_count=_minus(self.blocked_count, earlier.blocked_count),
            wait_hist=wait_hist,
            hold_hist=hold_hist,
            integrity=integrity,
        )


def _minus(later: tuple[int, ...], earlier: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a - b for a, b in zip(later, earlier, strict=True))


def _grown(later: Histogram, earlier: Histogram, integrity: Integrity) -> Histogram:
    """Samples added. Counts of a record in motion may be apart by the acquisition in progress."""
    if integrity is Integrity.EXACT:
        return later - earlier
    return Histogram(np.maximum(later.counts, earlier.counts) - earlier.counts)


def _largest(histogram: Histogram, bound: int) -> int:
    used = np.flatnonzero(histogram.counts)
    if not len(used) or int(LOWER_BOUNDS[used[-1]]) == 0:
        return 0
    return min(int(UPPER_BOUNDS[used[-1]]), bound)


@dataclass(frozen=True)
class BlameEntry:
    """Ticks that `waiter` waited for `holder`, in `count` waits, at most `max` in one of them."""

    waiter: Who
    holder: Who
    ticks: int
    count: int
    max: int

    def since(self, earlier: "BlameEntry") -> "BlameEntry":
        """What was added after `earlier`. A maximum that did not grow becomes an upper bound."""
        ticks = self.ticks - earlier.ticks
        return replace(
            self,
            ticks=ticks,
            count=self.count - earlier.count,
            max=self.max if self.max > earlier.max else min(ticks, self.max),
        )


@dataclass(frozen=True, eq=False)
class EventLog:
    """The last acquisitions of a thread, oldest first, as an EVENT_DTYPE array.

    `written` counts all events since the thread began (in an interval: since its start), `lost`
    those that had no ring to go to.
    """

    thread: int
    records: Events
    written: int
    lost: int

    @property
    def dropped(self) -> int:
        """Acquisitions of which no event is here: overwritten or lost."""
        return self.written - len(self.records) + self.lost

    def since(self, earlier: "EventLog") -> "EventLog":
        """The events after those of `earlier`, as far as they are still here.

        Raises ValueError if `earlier` has seen more events.
        """
        written = self.written - earlier.written
        if written < 0:
            raise ValueError("the event log to subtract is the later one")
        keep = min(written, len(self.records))
        return EventLog(
            thread=self.thread,
            records=self.records[len(self.records) - keep :],
            written=written,
            lost=self.lost - earlier.lost,
        )
