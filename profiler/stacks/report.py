# SPDX-License-Identifier: GPL-2.0-or-later
"""The worst holds of a recording, with the stacks that were seen in them, as lines and as JSON."""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from profiler.commands.summary import SLEEP_WORDS, duration
from profiler.model import Blocked, Clock, Role, Snapshot, Who
from profiler.stacks.join import frames_of
from profiler.stacks.store import Dump, Stored

SHOWN_FRAMES = 12
SHOWN_WAITERS = 3


@dataclass(frozen=True)
class LongestHold:
    """The longest hold of a thread at a call site; `at_ticks` 0 if its time is not known."""

    who: Who
    role: Role
    thread: str
    site: str
    hold_ns: float
    at_ticks: int
    realtime_ns: int


def longest_holds(snapshot: Snapshot) -> list[LongestHold]:
    """One for each thread and call site, the longest first."""
    clock = snapshot.clock
    found = [
        LongestHold(
            who=row.who,
            role=snapshot.role_of(row.who),
            thread=snapshot.thread_label(row.who),
            site=snapshot.site_label(row.site),
            hold_ns=clock.ns(row.max_hold),
            at_ticks=row.max_hold_at,
            realtime_ns=clock.realtime_ns(row.max_hold_at),
        )
        for row in snapshot.rows
        if row.max_hold
    ]
    return sorted(found, key=lambda hold: (-hold.hold_ns, hold.who))


def hold_ns(dump: Dump, clock: Clock) -> float:
    """How long the hold of a dump lasted as far as it is known, in ns."""
    return max(float(dump.hold.held_ns), clock.ns(dump.hold.hold_ticks))


def worst_first(dumps: Iterable[Dump], clock: Clock) -> list[Dump]:
    """Dumps by the length of their hold."""
    return sorted(dumps, key=lambda dump: -hold_ns(dump, clock))


def dump_lines(dump: Dump, clock: Clock, number: int | None = None) -> list[str]:
    """A hold with its stack, innermost frame first."""
    hold = dump.hold
    at_least = "" if hold.hold_ticks else "at least "
    head = f"{number}. " if number is not None else ""
    head += (
        f"held {at_least}{duration(hold_ns(dump, clock))} by {_name(hold.by.role, hold.by.name)}"
    )
    head += f" in {hold.by.label}, {_time(clock.realtime_ns(hold.since_ticks))}"
    lines = [head]
    if hold.sleeps_for is not Blocked.NONE:
        lines.append(f"     slept for {SLEEP_WORDS[hold.sleeps_for]} when it was looked at")
    if not hold.same:
        lines.append("     it was over before the stack was read: this may be what came next")
    frames = frames_of(dump, hold.by.tid)
    width = max((len(frame.name) for frame in frames[:SHOWN_FRAMES]), default=0)
    lines += [
        f"     {frame.name:<{min(width, 40)}}  {_place(frame.file, frame.line)}"
        for frame in frames[:SHOWN_FRAMES]
    ]
    if len(frames) > SHOWN_FRAMES:
        lines.append(f"     and {len(frames) - SHOWN_FRAMES} outer frames")
    if not frames:
        lines.append("     it ran no Python then")
    lines += [_waiter_line(dump, clock)] if dump.waiters else []
    return lines


def _waiter_line(dump: Dump, clock: Clock) -> str:
    parts = [
        f"{_name(waiter.by.role, waiter.by.name)} at {waiter.by.label}"
        f" for {duration(clock.ns(waiter.ticks))}"
        for waiter in dump.waiters[:SHOWN_WAITERS]
    ]
    if len(dump.waiters) > SHOWN_WAITERS:
        parts.append(f"{len(dump.waiters) - SHOWN_WAITERS} more")
    return f"     made wait: {', '.join(parts)}"


def _name(role: Role, thread: str) -> str:
    return thread if role is Role.VCPU else f"{role.label} ({thread})"


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


def _time(realtime_ns: int) -> str:
    """Local time of day with milliseconds."""
    try:
        moment = datetime.datetime.fromtimestamp(realtime_ns / 1e9).astimezone()
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"
    return f"at {moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"


def site_lines(snapshot: Snapshot, dumps: Sequence[Dump], rows: int) -> list[str]:
    """The longest hold of each thread and call site, with how many dumps there are of it."""
    holds = longest_holds(snapshot)[:rows]
    if not holds:
        return ["nobody held the lock"]
    names = [_name(hold.role, hold.thread) for hold in holds]
    width = max(map(len, names))
    lines = [f"{'longest':>9}  {'when':<15}  {'dumps':>5}  {'thread':<{width}}  call site"]
    for hold, name in zip(holds, names, strict=True):
        count = sum(dump.hold.by.who == hold.who for dump in dumps)
        when = _time(hold.realtime_ns) if hold.at_ticks else ""
        longest, many = duration(hold.hold_ns), count or ""
        lines.append(f"{longest:>9}  {when:<15}  {many:>5}  {name:<{width}}  {hold.site}")
    return lines


def document(snapshot: Snapshot, stored: Stored) -> dict[str, Any]:
    """All of it as JSON values: `dumps` as stored, worst hold first."""
    clock = snapshot.clock
    return {
        "schema": 1,
        "pid": snapshot.process.pid,
        "process_name": snapshot.process.name,
        "vm_name": snapshot.process.vm_name,
        "skipped_lines": stored.skipped,
        "dumps": [
            {**dump.to_json(), "hold_ns": hold_ns(dump, clock)}
            for dump in worst_first(stored.dumps, clock)
        ],
        "longest_holds": [
            {
                "role": hold.role.label,
                "thread": hold.thread,
                "site": hold.site,
                "hold_ns": hold.hold_ns,
                "realtime_ns": hold.realtime_ns if hold.at_ticks else None,
                "dumps": sum(dump.hold.by.who == hold.who for dump in stored.dumps),
            }
            for hold in longest_holds(snapshot)
        ],
    }
