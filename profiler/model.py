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
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from profiler.clock import Clock, ClockPair
from profiler.layout import Blocked, ClockKind, Exit, Kind, Request, Role
from profiler.queues import QueueKey, QueueStats, queues_since
from profiler.records import (
    EVENT_DTYPE,
    NOBODY,
    UNRECORDED,
    BlameEntry,
    EventLog,
    Events,
    Integrity,
    Row,
    Who,
)

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
    "Events",
    "Exit",
    "Integrity",
    "Kind",
    "LiveHolder",
    "LiveState",
    "Losses",
    "Process",
    "QueueKey",
    "QueueStats",
    "Request",
    "Role",
    "Row",
    "Site",
    "Snapshot",
    "ThreadInfo",
    "Who",
]


@dataclass(frozen=True)
class Process:
    """The recorded process. `alive`: it runs and still writes this very file."""

    path: Path
    pid: int
    start_time: int
    name: str
    vm_name: str
    alive: bool


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
    exits: tuple[int, ...] = ()
    """A vCPU's returns to user space, by `layout.Exit`; empty where nobody counted."""

    @property
    def label(self) -> str:
        """OS name, or `thread N` for a nameless one."""
        return self.name or f"thread {self.index}"


_EXITS = ("pio", "mmio", "exit ")
"""How the region of a QEMU's vCPU begins: what KVM came back for."""

_DISPATCH = ("physmem.c:", "cputlb.c:")
"""Files of QEMU that take the lock to call the device itself, under KVM and under TCG."""


@dataclass(frozen=True)
class Site:
    """A call site: C or Python code, or what a vCPU's exit went to.

    `region` is that as recorded: a device of our VMM, `mmio 0xfeb00e50` of QEMU. `device` is its
    name for people, `virtio-mmio[23] 0xfeb00e50`, where somebody wrote down QEMU's memory map.
    """

    index: int
    file: str
    line: int
    func: str
    region: str
    device: str = ""

    @property
    def location(self) -> str:
        """`file.c:123` without folders, `file.c` if the line is not known; empty if nothing is."""
        name = self.file.rpartition("/")[2]
        return f"{name}:{self.line}" if name and self.line else name

    @property
    def label(self) -> str:
        """Name for people: the device, else the region, else function and place.

        QEMU also takes the lock around an exit, not only to reach the device: then the place comes
        first and what the exit was for after it, `kvm.c:5459 (serial 0x3fd)`.
        """
        place = " ".join(filter(None, (self.func, self.location)))
        what = self.device or self.region
        if what and self.region.startswith(_EXITS) and not self.location.startswith(_DISPATCH):
            return f"{place} ({what})"
        return what or place or "(other)"


@dataclass(frozen=True)
class LiveHolder:
    """Who holds the lock right now. Ticks; `blocked` tells what the holder sleeps for."""

    who: Who
    since: int
    blocked: Blocked
    blocked_since: int


@dataclass(frozen=True)
class LiveState:
    """The lock at instant `taken`: who holds it, and how many threads wait for it."""

    clock: Clock
    taken: int
    alive: bool
    waiters: int
    holder: LiveHolder | None

    @property
    def held_ns(self) -> float:
        """How long the holder has had the lock by now, in ns; 0.0 if it is free."""
        return self.clock.ns(max(0, self.taken - self.holder.since)) if self.holder else 0.0


@dataclass(frozen=True)
class Losses:
    """What the recorder had no room for, as counts."""

    sites: int = 0
    rows: int = 0
    threads: int = 0
    acquisitions: int = 0
    trylocks_failed: int = 0
    queues: int = 0


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
    queues: tuple[QueueStats, ...] = ()
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

    def site(self, index: int) -> Site | None:
        """The call site with this id; None if its entry was not complete yet."""
        return self._sites_by_index.get(index)

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
        # The record of a process that ended may end before the last look at it while it ran.
        ended_between = earlier.process.alive and not self.process.alive
        if earlier.taken > self.taken and not ended_between:
            raise ValueError("the earlier snapshot is the later one")
        return replace(
            self,
            start=min(earlier.taken, self.taken),
            rows=_rows_since(self, earlier),
            blame=_blame_since(self, earlier),
            events=_events_since(self, earlier),
            losses=_losses_since(self.losses, earlier.losses),
            queues=queues_since(self.queues, earlier.queues),
            threads=_threads_since(self, earlier),
            initial_holder=earlier.holder,
        )


def _losses_since(later: Losses, earlier: Losses) -> Losses:
    return Losses(*(a - b for a, b in zip(astuple(later), astuple(earlier), strict=True)))


def _threads_since(later: Snapshot, earlier: Snapshot) -> tuple[ThreadInfo, ...]:
    """The threads with the exits that were added."""
    before = {thread.index: thread.exits for thread in earlier.threads}
    return tuple(
        replace(t, exits=tuple(a - b for a, b in zip(t.exits, before[t.index], strict=True)))
        if before.get(t.index)
        else t
        for t in later.threads
    )


def _rows_since(later: Snapshot, earlier: Snapshot) -> tuple[Row, ...]:
    before = {row.who: row for row in earlier.rows}
    return tuple(row.since(before[row.who]) if row.who in before else row for row in later.rows)


def _blame_since(later: Snapshot, earlier: Snapshot) -> tuple[BlameEntry, ...]:
    """Entries that are new or grew."""
    before = {(entry.waiter, entry.holder): entry for entry in earlier.blame}
    grown = []
    for entry in later.blame:
        old = before.get((entry.waiter, entry.holder))
        if old is None:
            grown.append(entry)
        elif (entry.count, entry.ticks) != (old.count, old.ticks):
            grown.append(entry.since(old))
    return tuple(grown)


def _events_since(later: Snapshot, earlier: Snapshot) -> dict[int, EventLog]:
    return {
        index: log.since(earlier.events[index]) if index in earlier.events else log
        for index, log in later.events.items()
    }
