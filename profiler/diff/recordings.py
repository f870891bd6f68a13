# SPDX-License-Identifier: GPL-2.0-or-later
"""Two recordings, per role and call site: rates and parts of the time, so that lengths cancel.

Call sites are matched by role and name. A name has the line of code, so a site that moved within
its file appears as one that is gone and one that is new; the remarks count those.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from profiler.check import check_snapshot
from profiler.compare.text import counted
from profiler.model import Integrity, Role
from profiler.reports.sample import Group, Sample
from profiler.reports.source import Source
from profiler.reports.words import duration, role_name
from profiler.summary import vcpu_threads


@dataclass(frozen=True)
class Side:
    """Figures of a role or call site in one recording.

    `rate` is acquisitions per second; `wait` and `hold` are nanoseconds per nanosecond: 1 is one
    thread that does nothing else. The quantiles are nanoseconds and less than 12.5 % off.
    """

    rate: float
    wait: float
    hold: float
    wait_p99: float
    hold_p99: float

    def to_json(self) -> dict[str, float]:
        """The same as a dictionary."""
        return {
            "acquisitions_per_s": self.rate,
            "wait_share": self.wait,
            "hold_share": self.hold,
            "wait_p99_ns": self.wait_p99,
            "hold_p99_ns": self.hold_p99,
        }


NOTHING = Side(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Change:
    """A role (`site` empty) or a role at a call site, in A and in B; None where it is not."""

    role: Role
    site: str
    before: Side | None
    after: Side | None

    @property
    def weight(self) -> float:
        """How much time changed hands: the differences of both shares together."""
        before, after = self.before or NOTHING, self.after or NOTHING
        return abs(after.wait - before.wait) + abs(after.hold - before.hold)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{role_name(self.role)}, {self.site}" if self.site else role_name(self.role)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "role": self.role.label,
            "site": self.site or None,
            "a": self.before.to_json() if self.before else None,
            "b": self.after.to_json() if self.after else None,
        }


@dataclass(frozen=True)
class RecordingDiff:
    """All changes, the largest first, and what to keep in mind. Shares lie between 0 and 1."""

    a: Sample
    b: Sample
    roles: tuple[Change, ...]
    sites: tuple[Change, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of `bqlscope diff --json` for two recordings."""
        return {
            "schema": 1,
            "kind": "recordings",
            "a": _side_json(self.a),
            "b": _side_json(self.b),
            "roles": [change.to_json() for change in self.roles],
            "sites": [change.to_json() for change in self.sites],
            "remarks": list(self.remarks),
        }


def _side_json(sample: Sample) -> dict[str, Any]:
    process = sample.snapshots[0].process
    return {
        "recording": str(process.path),
        "pid": process.pid,
        "process_name": process.name,
        "interval_ns": sample.elapsed,
        "vcpu_bql_wait_share": sample.vcpu_wait_share,
        "mainloop_bql_hold_share": sample.main_held_share,
    }


def diff_recordings(a: Source, b: Source) -> RecordingDiff:
    """What changed from a to b."""
    first, second = Sample((a.snapshot,)), Sample((b.snapshot,))
    sites = _changes(first, first.sites, second, second.sites)
    return RecordingDiff(
        first,
        second,
        _changes(first, first.roles, second, second.roles),
        sites,
        tuple(_remarks(a, b, first, second, sites)),
    )


def _changes(
    a: Sample, before: Iterable[Group], b: Sample, after: Iterable[Group]
) -> tuple[Change, ...]:
    old = {(group.role, group.site): _side(group, a.elapsed) for group in before}
    new = {(group.role, group.site): _side(group, b.elapsed) for group in after}
    changes = [Change(*key, old.get(key), new.get(key)) for key in {**old, **new}]
    return tuple(sorted(changes, key=lambda c: (-c.weight, c.role, c.site)))


def _side(group: Group, elapsed: float) -> Side:
    if not elapsed:
        return NOTHING
    return Side(
        rate=group.acquisitions / (elapsed / 1e9),
        wait=group.wait.total / elapsed,
        hold=group.hold.total / elapsed,
        wait_p99=group.wait.quantile(0.99),
        hold_p99=group.hold.quantile(0.99),
    )


def _remarks(
    a: Source, b: Source, first: Sample, second: Sample, sites: Iterable[Change]
) -> Iterable[str]:
    yield (
        "Two single recordings have no interval: what differs may be chance. `bqlscope compare` "
        "runs interleaved trials and says what is more than that."
    )
    if not 0.9 < (first.elapsed / second.elapsed if second.elapsed else 0.0) < 1.1:
        yield (
            f"A is {duration(first.elapsed)} long, B {duration(second.elapsed)}: rates and parts "
            "of the time are comparable, but a longer recording has seen rarer waits."
        )
    yield from _different_things(a, b)
    gone = sum(change.after is None for change in sites)
    new = sum(change.before is None for change in sites)
    if gone or new:
        yield (
            f"{counted(gone, 'call site')} only in A, {new} only in B: sites are matched by name, "
            "and code that moved to another line has another name."
        )
    for name, source in (("A", a), ("B", b)):
        yield from _flaws(name, source)


def _different_things(a: Source, b: Source) -> Iterable[str]:
    before, after = a.snapshot, b.snapshot
    names = before.process.name, after.process.name
    if names[0] != names[1]:
        yield f"A is of {names[0]}, B of {names[1]}: they may do different things under the lock."
    vcpus = vcpu_threads(before), vcpu_threads(after)
    if vcpus[0] != vcpus[1]:
        yield f"A has {counted(vcpus[0], 'vCPU')}, B {vcpus[1]}."
    yield from _different_times(a, b)


def _different_times(a: Source, b: Source) -> Iterable[str]:
    times = [
        "the time that was recorded, by `bqlscope record`"
        if source.events
        else "a window that the guest marked"
        if source.marked
        else "the whole life of the process, boot and idle time among it"
        for source in (a, b)
    ]
    if times[0] != times[1]:
        yield f"A is of {times[0]}; B is of {times[1]}."
    if (a.events is None) != (b.events is None):
        yield (
            "A file of `bqlscope record` is compared with the sums of a recording: what both have "
            "is counted alike, but a wait or hold that began before the recorder came or ended "
            "after it left is in one and not in the other."
        )


def _flaws(name: str, source: Source) -> Iterable[str]:
    snapshot, events = source.snapshot, source.events
    for note in events.notes if events else ():
        yield f"{name}: {note}."
    if events and events.dropped:
        yield f"{name} is too low in counts and times by what was dropped."
    if not check_snapshot(snapshot).ok:
        yield f"{name} does not add up (`bqlscope check`): do not trust its figures."
    if any(thread.integrity is not Integrity.EXACT for thread in snapshot.threads):
        yield f"{name} is torn, moved or was copied while open in places: see `bqlscope check`."
    losses = snapshot.losses
    if losses.acquisitions or losses.rows or losses.sites or losses.threads:
        yield f"{name} had no room for everything: its '(other)' hides call sites."
