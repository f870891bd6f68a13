# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a snapshot or an interval: per role, per role and call site, and two shares.

Times are nanoseconds. Quantiles are of all acquisitions, uncontended waits being 0, and less than
12.5 % off; totals and maxima are exact (in an interval see `Row.since`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from profiler.histogram import Histogram
from profiler.model import Blocked, Clock, Exit, LiveHolder, QueueStats, Role, Row, Snapshot


@dataclass(frozen=True)
class Distribution:
    """Durations in nanoseconds."""

    p50: float
    p99: float
    max: float
    total: float

    def to_json(self) -> dict[str, float]:
        """The same as a dictionary."""
        return {
            "p50_ns": self.p50,
            "p99_ns": self.p99,
            "max_ns": self.max,
            "total_ns": self.total,
        }


@dataclass(frozen=True)
class Line:
    """Figures of a role (`site` is None) or of a role at one call site. Times in nanoseconds.

    `site` is the label of the call site; `region` and `device` are what a vCPU accessed there, as
    recorded and by name, None where that is not known. `gil_ns` and `blocked_ns` are parts of the
    hold; `blocked_ns` has only reasons that occurred.
    """

    role: Role
    site: str | None
    region: str | None
    device: str | None
    threads: int
    acquisitions: int
    contended: int
    trylock_failed: int
    wait: Distribution
    hold: Distribution
    gil_ns: float
    blocked_ns: dict[Blocked, float]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "role": self.role.label,
            "site": self.site,
            "region": self.region,
            "device": self.device,
            "threads": self.threads,
            "acquisitions": self.acquisitions,
            "contended": self.contended,
            "trylock_failed": self.trylock_failed,
            "wait": self.wait.to_json(),
            "hold": self.hold.to_json(),
            "gil_ns": self.gil_ns,
            "blocked_ns": {reason.label: ns for reason, ns in self.blocked_ns.items()},
        }


@dataclass(frozen=True)
class QueueLine:
    """Requests of one disk queue. `depth` is the largest number in flight, of all time."""

    device: str
    queue: int
    placement: str
    requests: int
    errors: int
    read_bytes: int
    written_bytes: int
    depth: int
    duration: Distribution

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self), "duration": self.duration.to_json()}


@dataclass(frozen=True)
class Summary:
    """All lines, and what the big lock cost.

    `vcpu_bql_wait_share`: part of the vCPUs' time that they waited for the lock, 0 to 1.
    `mainloop_bql_hold_share`: part of the interval in which the main loop held it, 0 to 1.
    Both are 0.0 where there is no such thread or no time. A wait counts in the interval in which it
    ends: where waits are as long as the interval, the first share says no more than "all the time".
    """

    pid: int
    process_name: str
    vm_name: str
    interval_ns: float
    vcpu_threads: int
    vcpu_bql_wait_share: float
    mainloop_bql_hold_share: float
    roles: tuple[Line, ...]
    sites: tuple[Line, ...]
    queues: tuple[QueueLine, ...] = ()
    exits: Mapping[Exit, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "pid": self.pid,
            "process_name": self.process_name,
            "vm_name": self.vm_name,
            "interval_ns": self.interval_ns,
            "vcpu_threads": self.vcpu_threads,
            "vcpu_bql_wait_share": self.vcpu_bql_wait_share,
            "mainloop_bql_hold_share": self.mainloop_bql_hold_share,
            "roles": [line.to_json() for line in self.roles],
            "sites": [line.to_json() for line in self.sites],
            "queues": [line.to_json() for line in self.queues],
            "vcpu_exits": {kind.label: count for kind, count in self.exits.items()},
        }


def summarise(snapshot: Snapshot) -> Summary:
    """Figures of a snapshot, or of an interval made by `Snapshot.since`.

    Lines of roles are in the order of Role, those of sites by total wait, then total hold.
    """
    by_role: dict[Role, list[Row]] = defaultdict(list)
    by_site: dict[tuple[Role, str], list[Row]] = defaultdict(list)
    for row in snapshot.rows:
        role = snapshot.role_of(row.who)
        by_role[role].append(row)
        by_site[role, snapshot.site_label(row.site)].append(row)
    clock = snapshot.clock
    sites = [_line(snapshot, role, site, rows) for (role, site), rows in by_site.items()]
    sites.sort(key=lambda line: (-line.wait.total, -line.hold.total, line.role, line.site or ""))
    vcpus = vcpu_threads(snapshot)
    return Summary(
        pid=snapshot.process.pid,
        process_name=snapshot.process.name,
        vm_name=snapshot.process.vm_name,
        interval_ns=clock.ns(snapshot.elapsed),
        vcpu_threads=vcpus,
        vcpu_bql_wait_share=_share(
            sum(row.wait_total for row in by_role[Role.VCPU]), vcpus * snapshot.elapsed
        ),
        mainloop_bql_hold_share=_share(hold_ticks(snapshot, Role.MAIN), snapshot.elapsed),
        roles=tuple(_line(snapshot, role, None, by_role[role]) for role in Role if by_role[role]),
        sites=tuple(sites),
        queues=tuple(_queue_line(clock, queue) for queue in snapshot.queues if queue.total),
        exits=vcpu_exits(snapshot),
    )


def vcpu_exits(snapshot: Snapshot) -> dict[Exit, int]:
    """Returns of all vCPUs to user space, by what for; kinds that occurred."""
    counted = [thread.exits for thread in snapshot.threads if any(thread.exits)]
    sums = {kind: sum(exits[kind] for exits in counted) for kind in Exit}
    return {kind: count for kind, count in sums.items() if count}


def vcpu_threads(snapshot: Snapshot) -> int:
    """vCPU threads that were there at some time of the interval."""
    return sum(
        thread.role is Role.VCPU and (thread.live or thread.last_exit >= snapshot.start)
        for thread in snapshot.threads
    )


def hold_ticks(snapshot: Snapshot, role: Role) -> int:
    """Ticks of the interval during which threads of a role held the lock.

    The rows know finished holds only. The hold in progress at the end is added; of the one that
    was in progress at the start, what lay before it is taken off.
    """

    def part(holder: LiveHolder | None, until: int) -> int:
        if holder is None or snapshot.role_of(holder.who) is not role:
            return 0
        return max(0, until - holder.since)

    finished = sum(row.hold_total for row in snapshot.rows if snapshot.role_of(row.who) is role)
    return max(
        0,
        finished
        + part(snapshot.holder, snapshot.taken)
        - part(snapshot.initial_holder, snapshot.start),
    )


def _share(part: int, whole: int) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _line(snapshot: Snapshot, role: Role, site: str | None, rows: Sequence[Row]) -> Line:
    """One line; rows at sites of one label are at one device, so the first one's is everybody's."""
    clock = snapshot.clock
    blocked = {
        reason: clock.ns(sum(row.blocked_ticks[reason] for row in rows))
        for reason in Blocked
        if any(row.blocked_ticks[reason] for row in rows)
    }
    entry = None if site is None else snapshot.site(rows[0].site)
    return Line(
        role=role,
        site=site,
        region=(entry.region or None) if entry else None,
        device=(entry.device or None) if entry else None,
        threads=len({row.thread for row in rows}),
        acquisitions=sum(row.total for row in rows),
        contended=sum(row.contended for row in rows),
        trylock_failed=sum(row.trylock_failed for row in rows),
        wait=_distribution(
            clock,
            Histogram.merged(row.wait_hist for row in rows),
            max(row.max_wait for row in rows),
            sum(row.wait_total for row in rows),
        ),
        hold=_distribution(
            clock,
            Histogram.merged(row.hold_hist for row in rows),
            max(row.max_hold for row in rows),
            sum(row.hold_total for row in rows),
        ),
        gil_ns=clock.ns(sum(row.gil_ticks for row in rows)),
        blocked_ns=blocked,
    )


def _queue_line(clock: Clock, queue: QueueStats) -> QueueLine:
    largest = queue.max_duration
    return QueueLine(
        device=queue.key.device,
        queue=queue.key.queue,
        placement=queue.key.placement,
        requests=queue.total,
        errors=queue.errors,
        read_bytes=queue.read_bytes,
        written_bytes=queue.written_bytes,
        depth=queue.max_inflight,
        duration=_distribution(clock, queue.durations, largest, queue.duration_total),
    )


def _distribution(clock: Clock, histogram: Histogram, largest: int, total: int) -> Distribution:
    p50, p99 = histogram.quantiles([0.5, 0.99], maximum=largest)
    return Distribution(clock.ns(p50), clock.ns(p99), clock.ns(largest), clock.ns(total))
