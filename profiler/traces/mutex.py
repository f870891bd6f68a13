# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples of a mutex profile as Go has it: a wait is charged to whom it was for.

Unlike Go's, which charges the last holder, it is exact: each holder gets the part of the wait in
which it held the lock.

    leaf   the call site of the holder
           [role of the holder]
    root   the name of the VM         tags: waiter_role, waiter_site
"""

from collections import defaultdict

from profiler.blame import HANDOFF, UNKNOWN
from profiler.model import Site, Snapshot
from profiler.traces.profile import StackSample
from profiler.traces.stacks import Frame

MUTEX_TYPES = (("contentions", "count"), ("delay", "nanoseconds"))
"""Values of a mutex profile, as Go names them."""

MUTEX_DEFAULT = "delay"


def mutex_samples(snapshot: Snapshot, vm: str) -> list[StackSample]:
    """Who made whom wait, of a snapshot or an interval, longest first: values as MUTEX_TYPES.

    Waits that no holder accounts for are at leaves of their own, `[handoff]` and `[unknown]`; their
    contentions are counted at the holders. Nanoseconds are rounded once for each stack.
    """
    counts: dict[tuple[tuple[Frame, ...], tuple[tuple[str, str | int], ...]], list[int]]
    counts = defaultdict(lambda: [0, 0])

    def add(leaf: tuple[Frame, ...], role: str, site: int, count: int, ticks: int) -> None:
        tags = (("waiter_role", role), ("waiter_site", snapshot.site_label(site)))
        total = counts[(*leaf, Frame(vm)), tags]
        total[0] += count
        total[1] += ticks

    for entry in snapshot.blame:
        holder = (
            _frame(snapshot.site(entry.holder.site), snapshot.site_label(entry.holder.site)),
            Frame(f"[{snapshot.role_of(entry.holder).label}]"),
        )
        waiter = snapshot.role_of(entry.waiter).label
        add(holder, waiter, entry.waiter.site, entry.count, entry.ticks)
    for row in snapshot.rows:
        for name, ticks in ((HANDOFF, row.handoff), (UNKNOWN, row.unknown)):
            if ticks:
                add((Frame(f"[{name}]"),), snapshot.role_of(row.who).label, row.site, 0, ticks)
    samples = [
        StackSample(frames, (count, round(snapshot.clock.ns(ticks))), tags)
        for (frames, tags), (count, ticks) in counts.items()
        if count or ticks
    ]
    return sorted(samples, key=lambda sample: -sample.values[1])


def _frame(site: Site | None, label: str) -> Frame:
    return Frame(label, site.file, site.line) if site else Frame(label)
