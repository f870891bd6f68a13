# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened between two snapshots, as the rows of `bqlscope top`.

Rules
 1. The time somebody held the lock is exact to the tick: the rows know finished holds only, so the
    part of the hold in progress that lies in the interval is added to its row, and the part of the
    first hold that lay before the interval is taken off.
 2. A wait counts in the interval in which it ends; nothing in shared memory knows the waits in
    progress, only their number. While one hold spans the whole interval, no wait can end, and the
    number of waiters stands for them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from profiler.blame import HANDOFF, UNKNOWN, top_pairs
from profiler.histogram import Histogram
from profiler.model import Blocked, Kind, LiveHolder, Process, Role, Row, Snapshot, Who
from profiler.summary import vcpu_threads


class Sort(Enum):
    """What rows are ordered by, the largest first."""

    WAIT = "wait"
    HOLD = "hold"
    COUNT = "count"
    CONTENTION = "contention"


@dataclass(frozen=True)
class Line:
    """A role, a role at a call site, or a thread, in one interval. Durations in nanoseconds.

    `name` is empty, the site's label or the thread's name; `tid` is 0 unless it is a thread.
    Quantiles and longest are of acquisitions that were released in the interval, less than 12.5 %
    off; `longest_hold_ns` is at least the age of a hold in progress.
    """

    role: Role
    name: str
    tid: int
    threads: int
    acquisitions: int
    contended: int
    wait_ns: float
    wait_p99_ns: float
    longest_wait_ns: float
    hold_ns: float
    hold_p99_ns: float
    longest_hold_ns: float

    @property
    def idle(self) -> bool:
        """Nothing happened."""
        return not (self.acquisitions or self.wait_ns or self.hold_ns)


@dataclass(frozen=True)
class Pair:
    """Who waited for whom, ns in `count` waits. `holder_role` is None where no holder is known.

    `holder_site` then is HANDOFF, the lock was free and the waiter on its way, or UNKNOWN.
    `share` is the part of all waits of the interval, 0 to 1. `longest_ns` is an upper bound; it and
    `count` are 0 without a holder.
    """

    waiter_role: Role
    waiter_site: str
    holder_role: Role | None
    holder_site: str
    wait_ns: float
    count: int
    longest_ns: float
    share: float


@dataclass(frozen=True)
class Holder:
    """Who holds the lock and for how long, in ns. `sleeps_for` is NONE while it runs."""

    role: Role
    thread: str
    tid: int
    site: str
    held_ns: float
    sleeps_for: Blocked
    sleeping_ns: float


@dataclass(frozen=True)
class Picture:
    """One interval. Ratios are from 0 to 1, lines in no particular order.

    `held_ratio`: part of the interval in which somebody held the lock. `wait_ratio`: part of the
    vCPUs' time that they waited for it; of the time of all threads where there is no vCPU.
    `waiters` and `holder` are of the interval's end.
    """

    process: Process
    realtime_ns: int
    interval_ns: float
    recorded_ns: float
    enabled: bool
    lost: int
    vcpus: int
    held_ratio: float
    wait_ratio: float
    waiters: int
    holder: Holder | None
    roles: tuple[Line, ...]
    sites: tuple[Line, ...]
    threads: tuple[Line, ...]
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values; lines by wait."""
        return {
            "schema": 1,
            "pid": self.process.pid,
            "process_name": self.process.name,
            "vm_name": self.process.vm_name,
            "alive": self.process.alive,
            "realtime_ns": self.realtime_ns,
            "interval_ns": self.interval_ns,
            "recording_enabled": self.enabled,
            "lost_acquisitions": self.lost,
            "vcpu_threads": self.vcpus,
            "held_ratio": self.held_ratio,
            "wait_ratio": self.wait_ratio,
            "waiters": self.waiters,
            "holder": _json(self.holder) if self.holder else None,
            "roles": [_json(line) for line in ordered(self.roles, Sort.WAIT)],
            "sites": [_json(line) for line in ordered(self.sites, Sort.WAIT)],
            "threads": [_json(line) for line in ordered(self.threads, Sort.WAIT)],
            "blame": [_json(pair) for pair in self.pairs],
        }


def _json(value: Line | Pair | Holder) -> dict[str, Any]:
    return {
        name: item.label if isinstance(item, Role | Blocked) else item
        for name, item in asdict(value).items()
    }


def picture(earlier: Snapshot, later: Snapshot) -> Picture:
    """The interval between two snapshots of a process. Raises ValueError as `Snapshot.since`."""
    interval = _moving(earlier, later).since(earlier)
    clock = interval.clock
    held = [_Held(row, _held(interval, row)) for row in interval.rows]
    rows = [*held, *_first_holds(interval, held)]
    return Picture(
        process=interval.process,
        realtime_ns=clock.realtime_ns(interval.taken),
        interval_ns=clock.ns(interval.elapsed),
        recorded_ns=clock.ns(later.taken - later.start),
        enabled=interval.enabled,
        lost=interval.losses.acquisitions,
        vcpus=vcpu_threads(interval),
        held_ratio=_ratio(sum(row.hold for row in rows), interval.elapsed),
        wait_ratio=_wait_ratio(interval),
        waiters=interval.waiters,
        holder=_holder(interval),
        roles=_grouped(interval, rows, by_site=False),
        sites=_grouped(interval, rows, by_site=True),
        threads=_threads(interval, rows),
        pairs=tuple(_pairs(interval)),
    )


def _moving(earlier: Snapshot, later: Snapshot) -> Snapshot:
    """Without the rows where nothing happened: most of them, and their histograms are large."""

    def state(row: Row) -> tuple[object, ...]:
        return row.acquisitions, row.contended, row.trylock_failed, row.wait_total, row.hold_total

    before = {row.who: state(row) for row in earlier.rows}
    return replace(later, rows=tuple(r for r in later.rows if before.get(r.who) != state(r)))


def ordered(lines: Iterable[Line], sort: Sort) -> list[Line]:
    """Lines by what they are sorted by, the largest first; then by the other times and name."""

    def key(line: Line) -> tuple[float, ...]:
        first = {
            Sort.WAIT: line.wait_ns,
            Sort.HOLD: line.hold_ns,
            Sort.COUNT: line.acquisitions,
            Sort.CONTENTION: line.contended,
        }[sort]
        return (-first, -line.wait_ns, -line.hold_ns)

    return sorted(lines, key=lambda line: (*key(line), line.role, line.name, line.tid))


def ordered_pairs(pairs: Iterable[Pair], sort: Sort) -> list[Pair]:
    """Pairs by time; by number of waits if lines are sorted by a number."""
    by_count = sort in (Sort.COUNT, Sort.CONTENTION)
    return sorted(pairs, key=lambda pair: (-pair.count if by_count else 0, -pair.wait_ns))


@dataclass(frozen=True)
class _Held:
    """A row of the interval; `hold`: ticks of the interval in which it had the lock."""

    row: Row
    hold: int


def _held(interval: Snapshot, row: Row) -> int:
    return max(
        0,
        row.hold_total
        + _part(interval.holder, row.who, interval.taken)
        - _part(interval.initial_holder, row.who, interval.start),
    )


def _part(holder: LiveHolder | None, who: Who, until: int) -> int:
    if holder is None or holder.who != who:
        return 0
    return max(0, until - holder.since)


def _first_holds(interval: Snapshot, held: Sequence[_Held]) -> Iterable[_Held]:
    """The hold in progress of a thread that has not finished one at that call site yet."""
    holder = interval.holder
    if holder is None or holder.who.thread is None:
        return
    if all(entry.row.who != holder.who for entry in held):
        row = _empty_row(holder.who.thread, holder.who.site)
        yield _Held(row, max(0, interval.taken - max(holder.since, interval.start)))


def _empty_row(thread: int, site: int) -> Row:
    nothing = Histogram.merged([])
    return Row(
        thread=thread,
        site=site,
        acquisitions=(0,) * len(Kind),
        contended=0,
        trylock_failed=0,
        wait_total=0,
        handoff=0,
        unknown=0,
        max_wait=0,
        max_wait_at=0,
        max_wait_by=None,
        hold_total=0,
        max_hold=0,
        max_hold_at=0,
        blocked_ticks=(0,) * len(Blocked),
        blocked_count=(0,) * len(Blocked),
        wait_hist=nothing,
        hold_hist=nothing,
    )


def _ratio(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _wait_ratio(interval: Snapshot) -> float:
    vcpus = vcpu_threads(interval)
    waits = (
        row.wait_total
        for row in interval.rows
        if not vcpus or interval.role_of(row.who) is Role.VCPU
    )
    threads = vcpus or sum(thread.live for thread in interval.threads)
    ended = _ratio(sum(waits), threads * interval.elapsed)
    if interval.holder is not None and interval.holder.since <= interval.start:
        return max(ended, _ratio(interval.waiters, threads))
    return ended


def _holder(snapshot: Snapshot) -> Holder | None:
    live = snapshot.holder
    return None if live is None else holder_of(snapshot, live, snapshot.taken)


def holder_of(snapshot: Snapshot, live: LiveHolder, now: int) -> Holder:
    """A holder with the names of a snapshot, as of instant `now` (ticks)."""
    thread = next((t for t in snapshot.threads if t.index == live.who.thread), None)
    asleep = live.blocked is not Blocked.NONE
    return Holder(
        role=snapshot.role_of(live.who),
        thread=snapshot.thread_label(live.who),
        tid=thread.tid if thread else 0,
        site=snapshot.site_label(live.who.site),
        held_ns=snapshot.clock.ns(max(0, now - live.since)),
        sleeps_for=live.blocked,
        sleeping_ns=snapshot.clock.ns(max(0, now - live.blocked_since)) if asleep else 0.0,
    )


def _grouped(interval: Snapshot, rows: Sequence[_Held], by_site: bool) -> tuple[Line, ...]:
    groups: dict[tuple[Role, str], list[_Held]] = defaultdict(list)
    for entry in rows:
        site = interval.site_label(entry.row.site) if by_site else ""
        groups[interval.role_of(entry.row.who), site].append(entry)
    lines = (_line(interval, role, name, 0, group) for (role, name), group in groups.items())
    return tuple(line for line in lines if not line.idle)


def _threads(interval: Snapshot, rows: Sequence[_Held]) -> tuple[Line, ...]:
    """All threads that are there, and those that did something before they ended."""
    groups: dict[int, list[_Held]] = defaultdict(list)
    for entry in rows:
        groups[entry.row.thread].append(entry)
    lines = []
    for thread in interval.threads:
        group = groups[thread.index]
        line = _line(interval, thread.role, thread.label, thread.tid, group)
        if thread.live or not line.idle:
            lines.append(line)
    return tuple(lines)


def _line(interval: Snapshot, role: Role, name: str, tid: int, rows: Sequence[_Held]) -> Line:
    ns = interval.clock.ns
    longest_wait = max((entry.row.max_wait for entry in rows), default=0)
    finished = max((entry.row.max_hold for entry in rows), default=0)
    current = max((_part(interval.holder, e.row.who, interval.taken) for e in rows), default=0)
    waits = Histogram.merged(entry.row.wait_hist for entry in rows)
    holds = Histogram.merged(entry.row.hold_hist for entry in rows)
    return Line(
        role=role,
        name=name,
        tid=tid,
        threads=len({entry.row.thread for entry in rows}),
        acquisitions=sum(entry.row.total for entry in rows),
        contended=sum(entry.row.contended for entry in rows),
        wait_ns=ns(sum(entry.row.wait_total for entry in rows)),
        wait_p99_ns=ns(waits.quantile(0.99, maximum=longest_wait)),
        longest_wait_ns=ns(longest_wait),
        hold_ns=ns(sum(entry.hold for entry in rows)),
        hold_p99_ns=ns(holds.quantile(0.99, maximum=finished)),
        longest_hold_ns=ns(max(finished, current)),
    )


def _pairs(interval: Snapshot) -> Iterable[Pair]:
    """Pairs with a holder, then what no holder is known for, by role of the waiter."""
    ns = interval.clock.ns
    for pair in top_pairs(interval):
        yield Pair(
            waiter_role=pair.waiter_role,
            waiter_site=pair.waiter_site,
            holder_role=pair.holder_role,
            holder_site=pair.holder_site,
            wait_ns=ns(pair.ticks),
            count=pair.count,
            longest_ns=ns(pair.max),
            share=pair.share,
        )
    waits = sum(row.wait_total for row in interval.rows)
    nameless: dict[tuple[Role, str], list[int]] = defaultdict(list)
    for row in interval.rows:
        nameless[interval.role_of(row.who), HANDOFF].append(row.handoff)
        nameless[interval.role_of(row.who), UNKNOWN].append(row.unknown)
    for (role, what), ticks in nameless.items():
        if total := sum(ticks):
            yield Pair(role, "", None, what, ns(total), 0, 0.0, _ratio(total, waits))
