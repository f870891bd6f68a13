# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches the live holder from outside, and takes a dump when a hold gets too long.

Rules
 1. Between dumps the process is not touched: one cache line of shared memory is read, some hundred
    times a second.
 2. At most one dump in `every` seconds and `most` in all; never two of one hold. A hold that is too
    soon after a dump, or whose dump failed, has another chance if it still goes on in time.
 3. A dump is written down when its hold is over and its waiters have had the lock in their turn:
    only then do the event rings know how long it was and who waited. One that does not end is
    written down after MOST_WAIT_NS.
 4. Nothing is guessed: whether the dump is of that hold is told by looking at the holder again
    after it.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from profiler.model import LiveHolder, LiveState, Snapshot, Who
from profiler.reader import Recording
from profiler.stacks.dump import ThreadStack
from profiler.stacks.store import Dump, Hold, Party, Waiter

SETTLE_NS = 100_000_000
"""Time after a hold's end until its waiters are looked for, then doubled each time: a waiter is in
the record when it has released the lock itself."""

MOST_WAIT_NS = 5_000_000_000
"""A dump is written down this long after it at the latest, with what is known by then."""

Take = Callable[[int], tuple[ThreadStack, ...]]


@dataclass(frozen=True)
class Limits:
    """When to take a dump: hold longer than `threshold`, one in `every`, `most` in all. ns."""

    threshold_ns: int = 10_000_000
    every_ns: int = 5_000_000_000
    most: int = 20

    @property
    def look_seconds(self) -> float:
        """Time between two looks: a hold is noticed at most half a threshold late."""
        return min(0.05, max(0.001, self.threshold_ns / 2e9))


@dataclass(frozen=True)
class _Pending:
    """A dump whose hold may go on."""

    live: LiveState
    holder: LiveHolder
    begin_ns: int
    end_ns: int
    same: bool
    threads: tuple[ThreadStack, ...]
    waiters: int
    look_ns: int = 0  # when to look for the waiters, 0 while it is held
    settle_ns: int = SETTLE_NS


class Watchdog:
    """One look at a time; whoever calls `look` decides how often.

    `take` is given a process id; `native` says what kind of dumps it takes.
    """

    def __init__(
        self,
        recording: Recording,
        take: Take,
        limits: Limits,
        native: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._recording = recording
        self._take = take
        self._limits = limits
        self._native = native
        self._clock = clock
        self._pending: _Pending | None = None
        self._last_ns: int | None = None
        self._dumped: tuple[Who, int] | None = None
        self._passed: tuple[Who, int] | None = None
        self.taken = 0
        self.passed_over = 0  # holds that were too long, but too soon after a dump
        self.alive = True

    def look(self) -> Dump | None:
        """Look at the holder; the dump that is complete now, if one is.

        Raises StackError if a dump cannot be taken, RecordingError.
        """
        live = self._recording.live()
        self.alive = live.alive
        if self._pending is not None:
            return self._settle(self._pending, live)
        holder = live.holder
        if holder is None or not live.alive or live.held_ns < self._limits.threshold_ns:
            return None
        hold = (holder.who, holder.since)
        if hold == self._dumped:
            return None
        if self._may_dump():
            self._dump(live, holder)
            self._dumped = hold
            self.passed_over -= hold == self._passed
        elif hold != self._passed:
            self._passed = hold
            self.passed_over += 1
        return None

    def finish(self) -> Dump | None:
        """The dump whose hold has not ended yet, as far as it is known."""
        pending, self._pending = self._pending, None
        return None if pending is None else self._complete(pending)

    @property
    def exhausted(self) -> bool:
        """No further dump will be taken, and none is waited for."""
        return self.taken >= self._limits.most and self._pending is None

    def _may_dump(self) -> bool:
        if self.taken >= self._limits.most:
            return False
        return self._last_ns is None or self._clock() - self._last_ns >= self._limits.every_ns

    def _dump(self, live: LiveState, holder: LiveHolder) -> None:
        begin = self._clock()
        self._last_ns = begin
        threads = self._take(self._recording.process.pid)
        end = self._clock()
        self.taken += 1
        after = self._recording.live()
        same = _is_hold(after.holder, holder)
        waiters = after.waiters if same else live.waiters
        self._pending = _Pending(live, holder, begin, end, same, threads, waiters)

    def _settle(self, pending: _Pending, live: LiveState) -> Dump | None:
        """The dump if its hold is over and all its waiters are known, or if nothing more will be.

        Rings are copied for it, so it is tried less and less often.
        """
        now = self._clock()
        if not live.alive or now - pending.end_ns >= MOST_WAIT_NS:
            return self.finish()
        if _is_hold(live.holder, pending.holder):
            return None
        if not pending.look_ns:
            self._pending = replace(pending, look_ns=now + pending.settle_ns)
        elif now >= pending.look_ns:
            dump = self._complete(pending)
            if len({waiter.by.thread for waiter in dump.waiters}) >= pending.waiters:
                self._pending = None
                return dump
            settle = 2 * pending.settle_ns
            self._pending = replace(pending, look_ns=now + settle, settle_ns=settle)
        return None

    def _complete(self, pending: _Pending) -> Dump:
        snapshot = self._recording.snapshot(events=True)
        holder, process = pending.holder, snapshot.process
        length = _length(snapshot, holder)
        until = holder.since + length if length else snapshot.taken
        return Dump(
            pid=process.pid,
            process_start_time=process.start_time,
            native=self._native,
            begin_ns=pending.begin_ns,
            end_ns=pending.end_ns,
            hold=Hold(
                by=_party(snapshot, holder.who),
                since_ticks=holder.since,
                held_ns=round(pending.live.held_ns),
                hold_ticks=length,
                same=pending.same,
                sleeps_for=holder.blocked,
            ),
            waiters=_waiters(snapshot, holder.since, until),
            threads=pending.threads,
        )


def _is_hold(holder: LiveHolder | None, wanted: LiveHolder) -> bool:
    """Whether the lock is held by this hold and no other one."""
    return holder is not None and (holder.who, holder.since) == (wanted.who, wanted.since)


def _party(snapshot: Snapshot, who: Who) -> Party:
    thread = next((t for t in snapshot.threads if t.index == who.thread), None)
    return Party(
        thread=0xFFFE if who.thread is None else who.thread,
        site=who.site,
        tid=thread.tid if thread else 0,
        name=snapshot.thread_label(who),
        role=snapshot.role_of(who),
        label=snapshot.site_label(who.site),
    )


def _length(snapshot: Snapshot, holder: LiveHolder) -> int:
    """Ticks of a hold that is over, 0 if it is not known."""
    log = None if holder.who.thread is None else snapshot.events.get(holder.who.thread)
    if log is None:
        return 0
    found = log.records["hold"][log.records["acquired"] == holder.since]
    return int(found[0]) if len(found) else 0


def _waiters(snapshot: Snapshot, since: int, until: int) -> tuple[Waiter, ...]:
    """Who waited between two instants, and how many ticks of it; the longest first."""
    ticks: dict[Who, int] = defaultdict(int)
    for index, log in snapshot.events.items():
        events = log.records[log.records["contended"]]
        acquired = events["acquired"].astype(np.int64)
        begin = np.maximum(acquired - events["wait"].astype(np.int64), since)
        overlap = np.minimum(acquired, until) - begin
        for at in np.flatnonzero(overlap > 0):
            ticks[Who(index, int(events["site"][at]))] += int(overlap[at])
    found = [Waiter(_party(snapshot, who), length) for who, length in ticks.items()]
    return tuple(sorted(found, key=lambda waiter: (-waiter.ticks, waiter.by.who)))
