# SPDX-License-Identifier: GPL-2.0-or-later
"""One recording, or those of all trials of a placement, as one body of data.

Histograms of several trials are added in ticks: trials run on one host, whose tick has one length
(calibrations differ by some millionths, the buckets by an eighth).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from profiler.compare.locks import HANDOFF, UNKNOWN
from profiler.compare.recording import thread_words
from profiler.histogram import Histogram
from profiler.model import Blocked, Role, Row, Snapshot, Who
from profiler.reports.words import role_name
from profiler.summary import hold_ticks, vcpu_threads

MOST_VCPUS = 8
"""Up to so many vCPUs each have a row and a column of their own in the heatmap."""


@dataclass(frozen=True)
class Spread:
    """A distribution of durations in nanoseconds, and its histogram in ticks."""

    histogram: Histogram
    ns_per_tick: float
    total: float
    largest: float

    def quantile(self, q: float) -> float:
        """Nanoseconds; less than 12.5 % off."""
        bound = round(self.largest / self.ns_per_tick)
        return self.histogram.quantile(q, bound) * self.ns_per_tick


@dataclass(frozen=True)
class Group:
    """What the threads of a role did, at one call site or (`site` empty) at all of them."""

    role: Role
    site: str
    threads: int
    acquisitions: int
    contended: int
    wait: Spread
    hold: Spread
    slept: dict[Blocked, float]


@dataclass(frozen=True)
class Pair:
    """Nanoseconds that a waiter at a place waited for a holder at a place.

    `holder` may be HANDOFF or UNKNOWN. `count` and `largest` are then 0: they are not recorded.
    """

    waiter: str
    waiter_site: str
    holder: str
    holder_site: str
    total: float
    count: int = 0
    largest: float = 0.0


@dataclass(frozen=True, eq=False)
class Sample:
    """Snapshots or intervals that are looked at together; at least one."""

    snapshots: tuple[Snapshot, ...]

    @cached_property
    def elapsed(self) -> float:
        """Nanoseconds of all snapshots together."""
        return sum(s.clock.ns(s.elapsed) for s in self.snapshots)

    @cached_property
    def roles(self) -> tuple[Group, ...]:
        """A group for each role that took the lock, in the order of Role, main loop first."""
        keyed: dict[tuple[Role, str], list[tuple[Snapshot, Row]]] = defaultdict(list)
        for snapshot, row in self._rows():
            keyed[snapshot.role_of(row.who), ""].append((snapshot, row))
        groups = [_group(key, rows) for key, rows in keyed.items()]
        return tuple(sorted(groups, key=lambda group: (group.role is Role.OTHER, group.role)))

    @cached_property
    def sites(self) -> tuple[Group, ...]:
        """A group for each role at each call site, by total wait, then total hold."""
        keyed: dict[tuple[Role, str], list[tuple[Snapshot, Row]]] = defaultdict(list)
        for snapshot, row in self._rows():
            key = snapshot.role_of(row.who), snapshot.site_label(row.site)
            keyed[key].append((snapshot, row))
        groups = [_group(key, rows) for key, rows in keyed.items()]
        return tuple(sorted(groups, key=lambda g: (-g.wait.total, -g.hold.total, g.role, g.site)))

    @cached_property
    def waited(self) -> float:
        """Nanoseconds that all threads waited."""
        return sum(group.wait.total for group in self.roles)

    @cached_property
    def vcpu_wait_share(self) -> float | None:
        """Part of the vCPUs' time that they waited; None without vCPUs."""
        time = sum(vcpu_threads(s) * s.clock.ns(s.elapsed) for s in self.snapshots)
        waited = sum(group.wait.total for group in self.roles if group.role is Role.VCPU)
        return min(1.0, waited / time) if time > 0 else None

    @cached_property
    def held_share(self) -> float:
        """Part of the time in which anybody held the lock."""
        return (
            min(1.0, sum(self._held(role) for role in Role) / self.elapsed) if self.elapsed else 0
        )

    @cached_property
    def main_held_share(self) -> float:
        """Part of the time in which the main loop held it."""
        return min(1.0, self._held(Role.MAIN) / self.elapsed) if self.elapsed else 0.0

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Who waited for whom, longest first: together all waiting, exactly."""
        totals: dict[tuple[str, str, str, str], list[float]] = defaultdict(lambda: [0.0, 0, 0.0])
        for snapshot in self.snapshots:
            for key, ns, count, largest in _blame(snapshot):
                entry = totals[key]
                entry[0] += ns
                entry[1] += count
                entry[2] = max(entry[2], largest)
        pairs = [Pair(*key, e[0], int(e[1]), e[2]) for key, e in totals.items() if e[0] > 0]
        return tuple(sorted(pairs, key=lambda p: (-p.total, p.waiter, p.waiter_site, p.holder)))

    def _held(self, role: Role) -> float:
        return sum(s.clock.ns(hold_ticks(s, role)) for s in self.snapshots)

    def _rows(self) -> Iterable[tuple[Snapshot, Row]]:
        for snapshot in self.snapshots:
            for row in snapshot.rows:
                if row.total or row.trylock_failed:
                    yield snapshot, row


def person(snapshot: Snapshot, who: Who) -> str:
    """A thread as a person calls it: a vCPU by its number, others by their role."""
    role = snapshot.role_of(who)
    if role is not Role.VCPU:
        return role_name(role)
    many = sum(thread.role is Role.VCPU for thread in snapshot.threads) > MOST_VCPUS
    return "vCPUs" if many else thread_words(snapshot.thread_label(who))


def _blame(snapshot: Snapshot) -> Iterable[tuple[tuple[str, str, str, str], float, int, float]]:
    """Every part of a wait: names, nanoseconds, how often, the longest."""
    clock = snapshot.clock
    for entry in snapshot.blame:
        waiter, holder = entry.waiter, entry.holder
        key = (
            person(snapshot, waiter),
            snapshot.site_label(waiter.site),
            person(snapshot, holder),
            snapshot.site_label(holder.site),
        )
        yield key, clock.ns(entry.ticks), entry.count, clock.ns(entry.max)
    for row in snapshot.rows:
        place = person(snapshot, row.who), snapshot.site_label(row.site)
        yield (*place, HANDOFF, ""), clock.ns(row.handoff), 0, 0.0
        yield (*place, UNKNOWN, ""), clock.ns(row.unknown), 0, 0.0


def _group(key: tuple[Role, str], rows: Sequence[tuple[Snapshot, Row]]) -> Group:
    slept: dict[Blocked, float] = defaultdict(float)
    for snapshot, row in rows:
        for reason, ticks in enumerate(row.blocked_ticks):
            if ticks:
                slept[Blocked(reason)] += snapshot.clock.ns(ticks)
    ns_per_tick = rows[0][0].clock.ns_per_tick
    return Group(
        role=key[0],
        site=key[1],
        # Trials have the same threads again: a placement has those of its richest trial.
        threads=max(
            len({r.thread for s, r in rows if s is t}) for t in {id(s): s for s, _ in rows}.values()
        ),
        acquisitions=sum(row.total for _, row in rows),
        contended=sum(row.contended for _, row in rows),
        wait=Spread(
            Histogram.merged(row.wait_hist for _, row in rows),
            ns_per_tick,
            sum(snapshot.clock.ns(row.wait_total) for snapshot, row in rows),
            max(snapshot.clock.ns(row.max_wait) for snapshot, row in rows),
        ),
        hold=Spread(
            Histogram.merged(row.hold_hist for _, row in rows),
            ns_per_tick,
            sum(snapshot.clock.ns(row.hold_total) for snapshot, row in rows),
            max(snapshot.clock.ns(row.max_hold) for snapshot, row in rows),
        ),
        slept=dict(slept),
    )
