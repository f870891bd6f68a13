# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting time as folded stacks: who waited where, `[blocked by]`, who held it there.

    vcpu;CPU 0/KVM;mmio_read physmem.c:2874;serial;[blocked by];main;qemu;poll main-loop.c:301  812
    ── waiter ────────────────────────────────────              ── holder ────────────────────

The weights of a snapshot add up to its waits, exactly before they are rounded: what no holder is
known for ends in `[handoff]` or `[unknown]`. Where the stack of a holder or waiter was seen, its
frames are added for the part of the wait that it was seen in, and for no more.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from profiler.model import Snapshot, Who
from profiler.traces.stacks import Frame, WaitPart, stack, wait_parts, wait_stack

Folded = dict[tuple[str, ...], float]
"""Stacks from the root on, with nanoseconds of waiting."""


@dataclass(frozen=True)
class Seen:
    """A part of the waits of `waiter` for `holder`, with frames from the root on."""

    waiter: Who
    holder: Who
    ticks: int
    waiter_frames: tuple[str, ...] = ()
    holder_frames: tuple[str, ...] = ()


def fold(snapshot: Snapshot, seen: Iterable[Seen] = (), spread: bool = False) -> Folded:
    """The waits of a snapshot or an interval. More ticks seen than were waited do not count.

    `spread` is an estimate: waits for holders that nobody looked at get the holder's frames that
    were seen at the same call site, in the proportion in which they were.
    """
    ticks: dict[tuple[str, ...], int] = defaultdict(int)
    known: dict[tuple[Who, Who | None], list[Seen]] = defaultdict(list)
    sampled: dict[int, dict[tuple[str, ...], int]] = defaultdict(lambda: defaultdict(int))
    for entry in seen:
        known[entry.waiter, entry.holder].append(entry)
        sampled[entry.holder.site][entry.holder_frames] += entry.ticks
    for part in wait_parts(snapshot):
        left = part.ticks
        for entry in known[part.waiter, part.holder]:
            shown = min(left, entry.ticks)
            left -= shown
            ticks[_seen_stack(snapshot, part, entry)] += shown
        names = _names(wait_stack(snapshot, part))
        there = sampled[part.holder.site] if spread and part.holder else {}
        for frames, share in _shares(left, there):
            ticks[(*names, *frames)] += share
    return {names: snapshot.clock.ns(part) for names, part in ticks.items() if part}


def _shares(
    ticks: int, weights: Mapping[tuple[str, ...], int]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Ticks split in proportion to weights, to the last one; whole and without frames if none."""
    total = sum(weights.values())
    before = given = 0
    for frames, weight in weights.items() if total else ():
        before += weight
        share = ticks * before // total - given
        given += share
        yield frames, share
    yield (), ticks - given


def folded_lines(folded: Folded) -> list[str]:
    """Lines for flame graph programs, in whole microseconds; what is below half of one is left out.

    `;` and line ends inside a frame become other characters.
    """
    lines = []
    for frames in sorted(folded):
        microseconds = round(folded[frames] / 1e3)
        if microseconds:
            names = (" ".join(frame.replace(";", ":").split()) or "?" for frame in frames)
            lines.append(f"{';'.join(names)} {microseconds}")
    return lines


def _seen_stack(snapshot: Snapshot, part: WaitPart, seen: Seen) -> tuple[str, ...]:
    """A waiter's frames led to the place where it waits; a holder's came after it got the lock."""
    role, thread, *place = _names(stack(snapshot, seen.waiter))
    waiter = (role, thread, *seen.waiter_frames, *place)
    return (*waiter, part.reason, *_names(stack(snapshot, seen.holder)), *seen.holder_frames)


def _names(frames: Iterable[Frame]) -> tuple[str, ...]:
    return tuple(frame.name for frame in frames)
