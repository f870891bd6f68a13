# SPDX-License-Identifier: GPL-2.0-or-later
"""Conservation laws: what must add up in every recording, checked to the last tick and count.

    per row      hold-histogram    samples in the hold histogram = acquisitions
                 wait-histogram    samples in the wait histogram = acquisitions
                 contended         contended acquisitions <= acquisitions
                 hold-sum          the total hold lies within the bounds of its histogram
                 wait-sum          the total wait lies within the bounds of its histogram
                 blocked           sleeps inside holds, together, <= total hold
                 blame             blame over holders + handoff + unknown = total wait
    per thread   events            events written + events lost = acquisitions
                 event-hold        holds of the events = total hold     (if no event was dropped)
                 event-wait        waits of the events = total wait     (if no event was dropped)
    per queue    requests          samples in the histogram of durations = requests
                 duration-sum      the total duration lies within the bounds of its histogram
    whole        wall-time         holds of all threads together <= time

A thread that was killed while it updated its record leaves that record torn: one acquisition is
partly in it. Counts may then be off by one, histograms by a carry of 2**16, sums of ticks by one
wait or hold, which nothing but the recording's length bounds; such a difference is TOLERATED and
reported. What spans a record that moved while it was copied cannot be judged and is SKIPPED; so is
what does not add up in a file that was copied while its recording was open.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

from profiler.histogram import Histogram
from profiler.layout import BUCKETS
from profiler.model import Integrity, QueueStats, Row, Snapshot, ThreadInfo, Who

LAWS = (
    "hold-histogram",
    "wait-histogram",
    "contended",
    "hold-sum",
    "wait-sum",
    "blocked",
    "blame",
    "events",
    "event-hold",
    "event-wait",
    "requests",
    "duration-sum",
    "wall-time",
)


CARRY = 1 << 16
"""What the near counts of a row's histograms hold before they spill."""


class Verdict(Enum):
    """Outcome of one check."""

    HOLDS = "holds"
    TOLERATED = "tolerated"
    VIOLATED = "violated"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One law at one place. `expected` is a number, or an inclusive range (low, high)."""

    law: str
    scope: str
    expected: int | tuple[int, int]
    actual: int
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "law": self.law,
            "scope": self.scope,
            "expected": self.expected,
            "actual": self.actual,
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True)
class Report:
    """All checks of a recording."""

    checks: tuple[Check, ...]
    torn_threads: tuple[str, ...]
    moving_threads: tuple[str, ...]
    copied: bool

    @property
    def ok(self) -> bool:
        """No law is violated."""
        return not self.count(Verdict.VIOLATED)

    def count(self, verdict: Verdict, law: str | None = None) -> int:
        """Checks with this outcome, of one law or of all."""
        return sum(c.verdict is verdict and law in (None, c.law) for c in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "ok": self.ok,
            "torn_threads": list(self.torn_threads),
            "moving_threads": list(self.moving_threads),
            "copied": self.copied,
            "checks": [check.to_json() for check in self.checks],
        }


def check_snapshot(snapshot: Snapshot) -> Report:
    """Check every law. The snapshot should have been taken with events."""
    checks: list[Check] = []
    blame = _blame_by_row(snapshot)
    for row in snapshot.rows:
        checks += _check_row(snapshot, row, blame[row.who])
    for thread in snapshot.threads:
        checks += _check_thread(snapshot, thread)
    for queue in snapshot.queues:
        checks += _check_queue(snapshot, queue)
    checks.append(_check_wall_time(snapshot))
    return Report(
        checks=tuple(checks),
        torn_threads=_labels(snapshot, Integrity.TORN),
        moving_threads=_labels(snapshot, Integrity.MOVING),
        copied=_is_copied(snapshot),
    )


def _labels(snapshot: Snapshot, integrity: Integrity) -> tuple[str, ...]:
    return tuple(thread.label for thread in snapshot.threads if thread.integrity is integrity)


def _is_copied(snapshot: Snapshot) -> bool:
    return any(thread.integrity is Integrity.COPIED for thread in snapshot.threads)


def _blame_by_row(snapshot: Snapshot) -> dict[Who, int]:
    """Blamed ticks by row. A site that found no row shares the thread's row of site 0."""
    rows = {row.who for row in snapshot.rows}
    blamed: dict[Who, int] = defaultdict(int)
    for entry in snapshot.blame:
        waiter = entry.waiter if entry.waiter in rows else entry.waiter._replace(site=0)
        blamed[waiter] += entry.ticks
    return blamed


class _Trust(NamedTuple):
    """How a record was copied, and what one torn acquisition may change in it."""

    integrity: Integrity
    slack: int


def _judge(low: int, actual: int, high: int, trust: _Trust) -> Verdict:
    if trust.integrity is Integrity.MOVING:
        return Verdict.SKIPPED
    if low <= actual <= high:
        return Verdict.HOLDS
    if trust.integrity is Integrity.TORN and low - trust.slack <= actual <= high + trust.slack:
        return Verdict.TOLERATED
    if trust.integrity is Integrity.COPIED:
        return Verdict.SKIPPED
    return Verdict.VIOLATED


def _equal(law: str, scope: str, expected: int, actual: int, trust: _Trust) -> Check:
    return Check(law, scope, expected, actual, _judge(expected, actual, expected, trust))


def _counted(law: str, scope: str, expected: int, actual: int, trust: _Trust) -> Check:
    """Samples of a histogram. A kill amid a carry, see bqlrec_count(), leaves it CARRY short."""
    check = _equal(law, scope, expected, actual, trust)
    if trust.integrity is Integrity.TORN and abs(expected - actual - CARRY) <= trust.slack:
        return replace(check, verdict=Verdict.TOLERATED)
    return check


def _within(law: str, scope: str, bounds: tuple[int, int], actual: int, trust: _Trust) -> Check:
    low, high = bounds
    return Check(law, scope, bounds, actual, _judge(low, actual, high, trust))


def _sum_bounds(recorded: Histogram) -> tuple[int, int]:
    """Bounds of the sum; the recorder's last bucket takes everything above and has no end."""
    low, high = recorded.sum_bounds()
    return low, high + (int(recorded.counts[BUCKETS - 1]) << 64)


def _check_row(snapshot: Snapshot, row: Row, blamed: int) -> Iterator[Check]:
    scope = f"{snapshot.thread_label(row.who)} @ {snapshot.site_label(row.site)}"
    counts = _Trust(row.integrity, slack=1)
    ticks = _Trust(row.integrity, slack=snapshot.elapsed)
    yield _counted("hold-histogram", scope, row.total, row.hold_hist.total, counts)
    yield _counted("wait-histogram", scope, row.total, row.wait_hist.total, counts)
    yield _within("contended", scope, (0, row.total), row.contended, counts)
    yield _within("hold-sum", scope, _sum_bounds(row.hold_hist), row.hold_total, ticks)
    yield _within("wait-sum", scope, _sum_bounds(row.wait_hist), row.wait_total, ticks)
    yield _within("blocked", scope, (0, row.hold_total), sum(row.blocked_ticks), ticks)
    # Rows and blame table change together: in motion, the row alone being of one piece is not
    # enough; in a torn thread, the rows that were not being written are.
    if snapshot.thread(row.thread).integrity is Integrity.MOVING:
        ticks = _Trust(Integrity.MOVING, slack=0)
    explained = blamed + row.handoff + row.unknown
    yield _equal("blame", scope, row.wait_total, explained, ticks)


def _check_thread(snapshot: Snapshot, thread: ThreadInfo) -> Iterator[Check]:
    rows = [row for row in snapshot.rows if row.thread == thread.index]
    log = snapshot.events[thread.index]
    acquisitions = sum(row.total for row in rows)
    counts = _Trust(thread.integrity, slack=1)
    yield _equal("events", thread.label, acquisitions, log.written + log.lost, counts)
    if log.dropped:
        return
    ticks = _Trust(thread.integrity, slack=snapshot.elapsed)
    held, waited = sum(row.hold_total for row in rows), sum(row.wait_total for row in rows)
    yield _equal("event-hold", thread.label, held, sum(log.records["hold"].tolist()), ticks)
    yield _equal("event-wait", thread.label, waited, sum(log.records["wait"].tolist()), ticks)


def _check_queue(snapshot: Snapshot, queue: QueueStats) -> Iterator[Check]:
    integrity = Integrity.COPIED if _is_copied(snapshot) else Integrity.EXACT
    if not queue.settled:
        integrity = Integrity.MOVING if snapshot.process.alive else Integrity.TORN
    scope = f"{queue.key.device} queue {queue.key.queue}, {queue.key.placement}"
    counts = _Trust(integrity, slack=1)
    ticks = _Trust(integrity, slack=snapshot.elapsed)
    yield _equal("requests", scope, queue.total, queue.durations.total, counts)
    bounds = _sum_bounds(queue.durations)
    yield _within("duration-sum", scope, bounds, queue.duration_total, ticks)


def _check_wall_time(snapshot: Snapshot) -> Check:
    """Holds exclude each other, so together they fit into the time; clock error: 0.1 %."""
    held = sum(row.hold_total for row in snapshot.rows)
    bounds = (0, snapshot.elapsed + snapshot.elapsed // 1000)
    integrity = Integrity.COPIED if _is_copied(snapshot) else Integrity.EXACT
    return _within("wall-time", "all threads", bounds, held, _Trust(integrity, slack=0))
