# SPDX-License-Identifier: GPL-2.0-or-later
"""Waits as stacks: who waited where, and what for. Shared by the formats that draw flames.

vcpu ; CPU 0/KVM ; mmio_read physmem.c:2874 ; serial ; [blocked by] ; main ; qemu ; poll …
── waiter ────────────────────────────────────────────  ── holder ─────────────────────
"""

from collections.abc import Iterator
from dataclasses import dataclass

from profiler.model import Snapshot, Who

BLOCKED_BY = "[blocked by]"
HANDOFF = "[handoff]"
"""Leaf: the lock was free and the waiter was still waking up."""
UNKNOWN = "[unknown]"
"""Leaf: somebody held the lock, but who is not known any more."""


@dataclass(frozen=True)
class Frame:
    """A level of a stack. `file` and `line` are empty and 0 if it is no place in the source."""

    name: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class WaitPart:
    """Ticks that `waiter` waited; the holder is None for `reason` HANDOFF and UNKNOWN."""

    waiter: Who
    holder: Who | None
    reason: str
    ticks: int


def wait_parts(snapshot: Snapshot) -> Iterator[WaitPart]:
    """All waiting time, in parts that have a cause. They add up to the waits exactly."""
    for entry in snapshot.blame:
        if entry.ticks:
            yield WaitPart(entry.waiter, entry.holder, BLOCKED_BY, entry.ticks)
    for row in snapshot.rows:
        for reason, ticks in ((HANDOFF, row.handoff), (UNKNOWN, row.unknown)):
            if ticks:
                yield WaitPart(row.who, None, reason, ticks)


def place(snapshot: Snapshot, site: int) -> Frame:
    """A call site as a frame: function and place, or its label where the source is not known."""
    found = snapshot.site(site)
    if found is None or not found.file:
        return Frame(snapshot.site_label(site))
    name = " ".join(filter(None, (found.func, found.location)))
    return Frame(name, found.file, found.line)


def device(snapshot: Snapshot, site: int) -> Frame | None:
    """What a vCPU accessed at a call site; None if it was nothing."""
    found = snapshot.site(site)
    name = (found.device or found.region) if found else ""
    return Frame(name) if name else None


def stack(snapshot: Snapshot, who: Who) -> list[Frame]:
    """Role, thread, place and device, from the root."""
    leaf = device(snapshot, who.site)
    frames = [Frame(snapshot.role_of(who).label), Frame(snapshot.thread_label(who))]
    return [*frames, place(snapshot, who.site), *([leaf] if leaf else [])]


def wait_stack(snapshot: Snapshot, part: WaitPart) -> list[Frame]:
    """The waiter's stack, and under it what it waited for."""
    frames = [*stack(snapshot, part.waiter), Frame(part.reason)]
    return frames + (stack(snapshot, part.holder) if part.holder else [])
