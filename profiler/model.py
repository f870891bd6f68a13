# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording says, as plain immutable values: the vocabulary of every tool that reads one.

Rules
 1. Durations and instants are ticks of the recording's clock, as integers, exactly as recorded:
    conservation laws hold in ticks. `Clock` converts; nothing else does.
 2. A `Snapshot` is frozen and complete: it needs neither the file nor the process any more.
 3. `later.since(earlier)` is again a Snapshot, of what happened in between. Maxima cannot be
    subtracted: see `Row.since`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from profiler.histogram import LOWER_BOUNDS, UPPER_BOUNDS, Histogram
from profiler.layout import Blocked, ClockKind, Kind, Role

__all__ = [
    "EVENT_DTYPE",
    "NOBODY",
    "UNRECORDED",
    "BlameEntry",
    "Blocked",
    "Clock",
    "ClockKind",
    "ClockPair",
    "EventLog",
    "Integrity",
    "Kind",
    "LiveHolder",
    "Losses",
    "Process",
    "Role",
    "Row",
    "Site",
    "Snapshot",
    "ThreadInfo",
    "Who",
]

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
    """The process died (or the file was copied) while the thread updated its record."""


class ClockPair(NamedTuple):
    """One instant on three clocks: ticks, CLOCK_MONOTONIC and CLOCK_REALTIME in ns."""

    ticks: int
    monotonic_ns: int
    realtime_ns: int


@dataclass(frozen=True)
class Clock:
    """Conversion of ticks to time, by the two calibration pairs of the recording."""

    kind: ClockKind
    start: ClockPair
    sync: ClockPair

    @property
    def ns_per_tick(self) -> float:
        """Nanoseconds in a tick; 1.0 for the monotonic clock."""
        if self.kind is ClockKind.MONOTONIC:
            return 1.0
        elapsed = self.sync.monotonic_ns - self.start.monotonic_ns
        return elapsed / (self.sync.ticks - self.start.ticks)

    def ns(self, ticks: float) -> float:
        """Length of a duration in nanoseconds."""
        return ticks * self.ns_per_tick

    def seconds(self, ticks: float) -> float:
        """Length of a duration in seconds."""
        return self.ns(ticks) / 1e9

    def monotonic_ns(self, ticks: int) -> int:
        """CLOCK_MONOTONIC of an instant, in ns."""
        return self.sync.monotonic_ns + round(self.ns(ticks - self.sync.ticks))

    def realtime_ns(self, ticks: int) -> int:
        """CLOCK_REALTIME of an instant, in ns since the epoch."""
        return self.sync.realtime_ns + round(self.ns(ticks - self.sync.ticks))

    def ticks_at(self, monotonic_ns: int) -> int:
        """Ticks of an instant given by CLOCK_MONOTONIC in ns."""
        return self.sync.ticks + round((monotonic_ns - self.sync.monotonic_ns) / self.ns_per_tick)


@dataclass(frozen=True)
class Process:
    """The recorded process. `alive`: it runs and still writes this very file."""

    path: Path
    pid: int
    start_time: int
    name: str
    vm_name: str
    alive: bool


class Who(NamedTuple):
    """A thread at a call site. `thread` is None for a thread that got no block of its own."""

    thread: int | None
    site: int


@dataclass(frozen=True)
class ThreadInfo:
    """A thread block. Totals run on over `incarnations` threads that used it one after another."""

    index: int
    tid: int
    role: Role
    name: str
    live: bool
    incarnations: int
    first_seen: int
    last_exit: int
    blame_lost: int
    integrity: Integrity

    @property
    def label(self) -> str:
        """OS name, or `thread N` for a nameless one."""
        return self.name or f"thread {self.index}"


@dataclass(frozen=True)
class Site:
    """A call site: C or Python code, or the device that a vCPU's exit went to (`region`)."""

    index: int
    file: str
    line: int
    func: str
    region: str

    @property
    def location(self) -> str:
        """`file.c:123` without folders; empty if not known."""
        return f"{self.file.rpartition('/')[2]}:{self.line}" if self.file else ""

    @property
    def label(self) -> str:
        """Name for people: the region if there is one, else function and place."""
        return self.region or " ".join(filter(None, (self.func, self.location))) or "(other)"


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


@dataclass(frozen=True)
class LiveHolder:
    """Who holds the lock right now. Ticks; `blocked` tells what the holder sleeps for."""

    who: Who
    since: int
    blocked: Blocked
    blocked_since: int


@dataclass(frozen=True)
class Losses:
    """What the recorder had no room for, as counts."""

    sites: int = 0
    rows: int = 0
    threads: int = 0
    acquisitions: int = 0
    trylocks_failed: int = 0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything a recording said at instant `taken`, or what happened from `start` to `taken`.

    `holder` and `waiters` are of the instant `taken`. `initial_holder` is the holder at `start`,
    if this is an interval: the part of its hold before `start` is in the rows but not in the
    interval. `events` is empty unless the snapshot was taken with events.
    """

    process: Process
    clock: Clock
    enabled: bool
    closed: bool
    start: int
    taken: int
    threads: tuple[ThreadInfo, ...]
    sites: tuple[Site, ...]
    rows: tuple[Row, ...]
    blame: tuple[BlameEntry, ...]
    events: Mapping[int, EventLog]
    waiters: int
    holder: LiveHolder | None
    losses: Losses = field(default_factory=Losses)
    initial_holder: LiveHolder | None = None

    @property
    def elapsed(self) -> int:
        """Ticks from `start` to `taken`."""
        return self.taken - self.start

    @property
    def elapsed_seconds(self) -> float:
        """Seconds from `start` to `taken`."""
        return self.clock.seconds(self.elapsed)

    @cached_property
    def _threads_by_index(self) -> dict[int, ThreadInfo]:
        return {thread.index: thread for thread in self.threads}

    @cached_property
    def _sites_by_index(self) -> dict[int, Site]:
        return {site.index: site for site in self.sites}

    def thread(self, index: int) -> ThreadInfo:
        """The thread with this block index. Raises KeyError."""
        return self._threads_by_index[index]

    def role_of(self, who: Who) -> Role:
        """Role of a holder; OTHER if its thread is not in the record."""
        thread = None if who.thread is None else self._threads_by_index.get(who.thread)
        return thread.role if thread else Role.OTHER

    def thread_label(self, who: Who) -> str:
        """OS name of a holder's thread."""
        if who.thread is None:
            return "(unrecorded)"
        thread = self._threads_by_index.get(who.thread)
        return thread.label if thread else f"thread {who.thread}"

    def site_label(self, site: int) -> str:
        """Label of a site id; `site N` if its entry was not complete yet."""
        entry = self._sites_by_index.get(site)
        return entry.label if entry else f"site {site}"

    def since(self, earlier: "Snapshot") -> "Snapshot":
        """What happened between `earlier` and this snapshot of the same process.

        Raises ValueError if they are of different processes or in the wrong order.
        """
        ours, theirs = self.process, earlier.process
        if (ours.pid, ours.start_time) != (theirs.pid, theirs.start_time):
            raise ValueError("the snapshots are of different processes")
        if earlier.taken > self.taken:
            raise ValueError("the earlier snapshot is the later one")
        return replace(
            self,
            start=earlier.taken,
            rows=_rows_since(self, earlier),
            blame=_blame_since(self.blame, earlier.blame),
            events={
                index: _events_since(log, earlier.events.get(index))
                for index, log in self.events.items()
            },
            losses=Losses(*_minus(_counts(self.losses), _counts(earlier.losses))),
            initial_holder=earlier.holder,
        )


def _counts(losses: Losses) -> tuple[int, ...]:
    return losses.sites, losses.rows, losses.threads, losses.acquisitions, losses.trylocks_failed


def _rows_since(later: Snapshot, earlier: Snapshot) -> tuple[Row, ...]:
    before = {row.who: row for row in earlier.rows}
    return tuple(row.since(before[row.who]) if row.who in before else row for row in later.rows)


def _blame_since(
    later: tuple[BlameEntry, ...], earlier: tuple[BlameEntry, ...]
) -> tuple[BlameEntry, ...]:
    """Entries that grew. A maximum that did not is an upper bound of the interval's."""
    before = {(entry.waiter, entry.holder): entry for entry in earlier}
    grown = []
    for entry in later:
        old = before.get((entry.waiter, entry.holder))
        if old is None:
            grown.append(entry)
        elif entry.count > old.count or entry.ticks > old.ticks:
            ticks = entry.ticks - old.ticks
            grown.append(
                replace(
                    entry,
                    ticks=ticks,
                    count=entry.count - old.count,
                    max=entry.max if entry.max > old.max else min(ticks, entry.max),
                )
            )
    return tuple(grown)


def _events_since(later: EventLog, earlier: EventLog | None) -> EventLog:
    if earlier is None:
        return later
    written = later.written - earlier.written
    keep = min(written, len(later.records))
    return EventLog(
        thread=later.thread,
        records=later.records[len(later.records) - keep :],
        written=written,
        lost=later.lost - earlier.lost,
    )
