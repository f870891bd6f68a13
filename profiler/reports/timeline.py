# SPDX-License-Identifier: GPL-2.0-or-later
"""The worst stretch of a recording, out of the threads' event rings.

Which stretch: the one in which threads waited longest in total. The sum W(t) of all waiting before
an instant is computed exactly from sorted requests and acquisitions, so the waiting of a stretch is
W(end) - W(start); the best one starts at some request or ends at some acquisition.

A ring holds the last acquisitions of its thread only. Where a busy thread's ring does not reach
back, its lane would look idle: stretches that all rings cover are preferred, and what a ring forgot
is marked as such.

How much: spans of at least a pixel are slices; of shorter ones only the part of the time is kept,
in steps of a few levels. So a lane has at most as many of both as the plot has columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from profiler.compare.blame_words import site_words
from profiler.compare.recording import thread_words
from profiler.model import NOBODY, UNRECORDED, Events, Role, Snapshot, ThreadInfo, Who
from profiler.reports.model import Haze, Lane, LongWait, Slice, Timeline
from profiler.reports.words import duration, role_name

LENGTH = 50e6
"""Nanoseconds of the stretch."""

COLUMNS = 480
"""A span shorter than this part of the stretch is not a slice of its own."""

MOST_LANES = 12
MOST_WAITS = 8
LEVELS = (0.05, 0.25, 0.5, 0.75, 1.0)
"""Shares of short spans are rounded up to these."""

_BEYOND = 1 << 62
"""No clock comes this far, and sums of smaller numbers do not overflow."""

Ticks: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Spans:
    """A thread's events as instants, in ticks. `forgotten`: instants before this are not known."""

    thread: ThreadInfo
    events: Events
    request: Ticks
    acquired: Ticks
    released: Ticks
    forgotten: int | None


def _spans(snapshot: Snapshot) -> list[_Spans]:
    """The events of all threads that have some, as far as they make sense."""
    found = []
    for index, log in snapshot.events.items():
        records = log.records
        acquired = records["acquired"].astype(np.int64)
        wait, hold = records["wait"].astype(np.int64), records["hold"].astype(np.int64)
        # A ring slot that was being written when the process died may hold anything.
        sane = (wait >= 0) & (hold >= 0) & (acquired - wait >= 0) & (acquired + hold >= acquired)
        sane &= (acquired <= snapshot.taken) & (acquired + hold < _BEYOND)
        if not sane.any():
            continue
        acquired, wait, hold = acquired[sane], wait[sane], hold[sane]
        forgotten = int(acquired[0] - wait[0]) if log.dropped else None
        found.append(
            _Spans(
                snapshot.thread(index),
                records[sane],
                acquired - wait,
                acquired,
                acquired + hold,
                forgotten,
            )
        )
    return found


def _waiting_before(instants: Ticks, request: Ticks, acquired: Ticks) -> NDArray[np.float64]:
    """Ticks of waiting, of all waits, before each instant."""
    total = np.zeros(len(instants))
    for edges, sign in ((np.sort(request), 1.0), (np.sort(acquired), -1.0)):
        sums = np.concatenate(([0.0], np.cumsum((edges - edges[0]).astype(np.float64))))
        before = np.searchsorted(edges, instants)
        total += sign * (before * (instants - edges[0]).astype(np.float64) - sums[before])
    return total


def _worst_start(spans: Sequence[_Spans], length: int) -> int | None:
    """Where the stretch with the most waiting starts; None if nobody waited."""
    request = np.concatenate([s.request for s in spans])
    acquired = np.concatenate([s.acquired for s in spans])
    waited = acquired > request
    request, acquired = request[waited], acquired[waited]
    if not len(request):
        return None
    starts = np.unique(np.concatenate((request, acquired - length)))
    covered = starts[starts >= max((s.forgotten or 0 for s in spans), default=0)]
    starts = covered if len(covered) else starts
    waiting = _waiting_before(starts + length, request, acquired)
    waiting -= _waiting_before(starts, request, acquired)
    # Waits that fit in more than once are put into the middle.
    most = waiting >= waiting.max() * (1 - 1e-9)
    first = int(np.argmax(most))
    run = most[first:]
    last = first + (len(run) if run.all() else int(np.argmin(run))) - 1
    return (int(starts[first]) + int(starts[last])) // 2


def covered_ns(snapshot: Snapshot) -> float:
    """Nanoseconds before the end that the rings of all threads still hold."""
    spans = _spans(snapshot)
    start = max((s.forgotten or snapshot.start for s in spans), default=snapshot.start)
    return snapshot.clock.ns(max(0, snapshot.taken - max(start, snapshot.start)))


def timeline(snapshot: Snapshot) -> Timeline | None:
    """The worst stretch; None if no ring has a wait. The snapshot must have its events."""
    spans = _spans(snapshot)
    if not spans:
        return None
    length = min(round(LENGTH / snapshot.clock.ns_per_tick), max(1, snapshot.elapsed))
    start = _worst_start(spans, length)
    if start is None:
        return None
    start = max(snapshot.start, min(start, snapshot.taken - length))
    window = _Window(snapshot, start, length)
    active = [s for s in spans if window.touches(s)]
    active.sort(key=lambda s: (s.thread.role is Role.OTHER, s.thread.role, s.thread.index))
    if len(active) > MOST_LANES:
        busiest = sorted(active, key=lambda s: -window.busy(s))[:MOST_LANES]
        shown = [s for s in active if s in busiest]
    else:
        shown = active
    return Timeline(
        snapshot.clock.ns(length),
        tuple(window.lane(s) for s in shown),
        tuple(window.longest(shown)),
        len(active) - len(shown),
        snapshot.clock.ns(start - snapshot.start),
    )


@dataclass(frozen=True, eq=False)
class _Window:
    """A stretch of a snapshot; `start` and `length` in ticks."""

    snapshot: Snapshot
    start: int
    length: int

    def touches(self, spans: _Spans) -> bool:
        """Whether the thread waited for or held the lock in it."""
        return self.busy(spans) > 0

    def busy(self, spans: _Spans) -> int:
        """Ticks in it that the thread waited or held."""
        end = self.start + self.length
        clipped = np.clip(spans.released, self.start, end) - np.clip(spans.request, self.start, end)
        return int(clipped.sum())

    def ns(self, ticks: int | np.int64) -> float:
        """Nanoseconds from the start to an instant, within the stretch."""
        return self.snapshot.clock.ns(min(max(0, int(ticks) - self.start), self.length))

    def lane(self, spans: _Spans) -> Lane:
        """What a thread did in the stretch."""
        thread = spans.thread
        holds, hold_haze = self._parts(spans, spans.acquired, spans.released, "held it")
        waits, wait_haze = self._parts(spans, spans.request, spans.acquired, "waited")
        unseen = self.ns(spans.forgotten) if spans.forgotten is not None else 0.0
        return Lane(
            lane_label(thread), thread.role.label, holds, waits, hold_haze, wait_haze, unseen
        )

    def _parts(
        self, spans: _Spans, begin: Ticks, end: Ticks, verb: str
    ) -> tuple[tuple[Slice, ...], tuple[Haze, ...]]:
        """Slices of the long spans, haze of the short ones."""
        stop = self.start + self.length
        inside = np.flatnonzero((end > self.start) & (begin < stop) & (end > begin))
        long_ones = inside[(end - begin)[inside] * COLUMNS >= self.length]
        short = inside[(end - begin)[inside] * COLUMNS < self.length]
        slices = tuple(
            Slice(
                self.ns(begin[i]),
                self.ns(end[i]),
                f"{lane_label(spans.thread)} {verb} {self._time(int(end[i] - begin[i]))}",
            )
            for i in long_ones
        )
        return slices, self._haze(begin[short], end[short])

    def _time(self, ticks: int) -> str:
        return duration(self.snapshot.clock.ns(ticks))

    def _haze(self, begin: Ticks, end: Ticks) -> tuple[Haze, ...]:
        """Short spans as part of each column's time; neighbours of one level are one piece."""
        edges = self.start + np.arange(COLUMNS + 1, dtype=np.float64) * (self.length / COLUMNS)
        before = np.zeros(COLUMNS + 1)
        if len(begin):
            before = _waiting_before(np.round(edges).astype(np.int64), begin, end)
        shares = np.clip(np.diff(before) / (self.length / COLUMNS), 0.0, 1.0)
        levels = np.where(shares > 0, np.searchsorted(LEVELS, shares) + 1, 0)
        changes = np.flatnonzero(np.diff(levels)) + 1
        starts = np.concatenate(([0], changes))
        ends = np.concatenate((changes, [COLUMNS]))
        width = self.snapshot.clock.ns(self.length) / COLUMNS
        return tuple(
            Haze(first * width, last * width, LEVELS[min(int(levels[first]), len(LEVELS)) - 1])
            for first, last in zip(starts.tolist(), ends.tolist(), strict=True)
            if levels[first]
        )

    def longest(self, shown: Sequence[_Spans]) -> list[LongWait]:
        """The waits with the longest parts in the stretch, numbered in the order of their begin."""
        candidates: list[tuple[int, int, int, int]] = []
        end = self.start + self.length
        for lane, spans in enumerate(shown):
            first = np.clip(spans.request, self.start, end)
            parts = np.clip(spans.acquired, self.start, end) - first
            best = np.argsort(parts, kind="stable")[::-1][:MOST_WAITS]
            candidates += [
                (int(parts[i]), int(first[i]), lane, int(i)) for i in best if parts[i] > 0
            ]
        candidates.sort(key=lambda wait: (-wait[0], wait[1]))
        chosen = sorted(candidates[:MOST_WAITS], key=lambda wait: wait[1:3])
        lanes = {spans.thread.index: lane for lane, spans in enumerate(shown)}
        return [
            self._long_wait(number, shown[lane], lane, index, lanes)
            for number, (_, _, lane, index) in enumerate(chosen, 1)
        ]

    def _long_wait(
        self, number: int, spans: _Spans, lane: int, index: int, lanes: dict[int, int]
    ) -> LongWait:
        event = spans.events[index]
        acquired = int(event["acquired"])
        holder = int(event["holder_thread"])
        who = (
            None
            if holder == NOBODY
            else Who(None if holder == UNRECORDED else holder, int(event["holder_site"]))
        )
        return LongWait(
            number=number,
            request=self.ns(acquired - int(event["wait"])),
            acquired=self.ns(acquired),
            before=acquired - int(event["wait"]) < self.start,
            beyond=acquired > self.start + self.length,
            waiter_lane=lane,
            holder_lane=lanes.get(holder),
            waiter=lane_label(spans.thread),
            site=site_words(self.snapshot.site_label(int(event["site"]))),
            holder=_holder(self.snapshot, who),
            holder_site=site_words(self.snapshot.site_label(who.site)) if who else "",
            wait=self.snapshot.clock.ns(int(event["wait"])),
        )


def _holder(snapshot: Snapshot, who: Who | None) -> str:
    if who is None:
        return "not known"
    if who.thread is None:
        return snapshot.thread_label(who)
    try:
        return lane_label(snapshot.thread(who.thread))
    except KeyError:
        return snapshot.thread_label(who)


def lane_label(thread: ThreadInfo) -> str:
    """The name of a thread's lane: the main loop by its role, others as the OS calls them."""
    return role_name(thread.role) if thread.role is Role.MAIN else thread_words(thread.label)
