# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting time as folded stacks: who waited where, `[blocked by]`, who held it there.

    vcpu;CPU 0/KVM;mmio_read physmem.c:2874;serial;[blocked by];main;qemu;poll main-loop.c:301  812
    ── waiter ────────────────────────────────────              ── holder ────────────────────

The weights of a snapshot add up to its waits, exactly before they are rounded: what no holder is
known for ends in `[handoff]` or `[unknown]`. Where the stack of a holder or waiter was seen, its
frames are added for the part of the wait that it was seen in, and for no more.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from profiler.model import Snapshot, Who

BLOCKED_BY = "[blocked by]"
HANDOFF = "[handoff]"
"""Leaf: the lock was free and the waiter was still waking up."""

UNKNOWN = "[unknown]"
"""Leaf: somebody held the lock, but who is not known any more."""

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


def fold(snapshot: Snapshot, seen: Iterable[Seen] = ()) -> Folded:
    """The waits of a snapshot or an interval. More ticks seen than were waited do not count."""
    ticks: dict[tuple[str, ...], int] = defaultdict(int)
    parts: dict[tuple[Who, Who], list[Seen]] = defaultdict(list)
    for part in seen:
        parts[part.waiter, part.holder].append(part)
    for entry in snapshot.blame:
        left = entry.ticks
        for part in parts[entry.waiter, entry.holder]:
            shown = min(left, part.ticks)
            left -= shown
            ticks[_stack(snapshot, part)] += shown
        ticks[_stack(snapshot, Seen(entry.waiter, entry.holder, 0))] += left
    for row in snapshot.rows:
        waiter = _waiter(snapshot, row.who, ())
        ticks[(*waiter, HANDOFF)] += row.handoff
        ticks[(*waiter, UNKNOWN)] += row.unknown
    return {stack: snapshot.clock.ns(part) for stack, part in ticks.items() if part}


def folded_lines(folded: Folded) -> list[str]:
    """Lines for flame graph programs, in whole microseconds; what is below half of one is left out.

    `;` and line ends inside a frame become other characters.
    """
    lines = []
    for stack in sorted(folded):
        microseconds = round(folded[stack] / 1e3)
        if microseconds:
            names = (" ".join(frame.replace(";", ":").split()) or "?" for frame in stack)
            lines.append(f"{';'.join(names)} {microseconds}")
    return lines


def _stack(snapshot: Snapshot, part: Seen) -> tuple[str, ...]:
    waiter = _waiter(snapshot, part.waiter, part.waiter_frames)
    # What a holder runs, it runs inside its hold: behind the place where it took the lock.
    holder = (*_thread(snapshot, part.holder), *_place(snapshot, part.holder.site))
    return (*waiter, BLOCKED_BY, *holder, *part.holder_frames)


def _waiter(snapshot: Snapshot, who: Who, frames: tuple[str, ...]) -> tuple[str, ...]:
    return (*_thread(snapshot, who), *frames, *_place(snapshot, who.site))


def _thread(snapshot: Snapshot, who: Who) -> tuple[str, str]:
    return snapshot.role_of(who).label, snapshot.thread_label(who)


def _place(snapshot: Snapshot, index: int) -> tuple[str, ...]:
    """Function and place, and the device behind it, as far as they are known."""
    site = snapshot.site(index)
    if site is None:
        return (snapshot.site_label(index),)
    place = " ".join(filter(None, (site.func, site.location)))
    return tuple(filter(None, (place, site.device or site.region))) or (site.label,)
