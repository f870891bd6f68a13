# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording's answer to "how is the lock?", as plain data: for the VMM's monitor.

The VMM does not import this package; it finds :func:`lock_report` by the entry-point group
``bqlscope.lock_reports``. Numbers are integers: counts, nanoseconds, thread ids.
"""

from collections import defaultdict
from typing import Any

from profiler.layout import Blocked
from profiler.model import BlameEntry, LiveState, Snapshot, Who
from profiler.reader import Recording

BLAMED_PAIRS = 10


def lock_report(path: str) -> dict[str, Any]:
    """Who holds the lock, who waits, and what waiting cost so far. Raises RecordingError.

    ``sites``: a row for each call site, all threads together. ``blame``: the pairs of waiter and
    holder with the longest waits in all, at most BLAMED_PAIRS.
    """
    with Recording.open(path) as recording:
        live = recording.live()
        snapshot = recording.snapshot()
    return {
        "enabled": snapshot.enabled,
        "sites": _sites(snapshot),
        "holder": _holder(snapshot, live),
        "waiters": live.waiters,
        "blame": _blame(snapshot),
    }


def _sites(snapshot: Snapshot) -> list[dict[str, Any]]:
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in snapshot.rows:
        parts = (row.total, row.contended, row.wait_total, row.hold_total)
        sums[row.site] = [a + b for a, b in zip(sums[row.site], parts, strict=True)]
    ns = snapshot.clock.ns
    found = []
    for index, (count, contended, wait, hold) in sums.items():
        site = snapshot.site(index)
        found.append(
            {
                "file": site.file if site else "",
                "line": site.line if site else 0,
                "function": site.func if site else "",
                "region": site.region if site else "",
                "count": count,
                "contended": contended,
                "wait-ns": round(ns(wait)),
                "hold-ns": round(ns(hold)),
            }
        )
    return found


def _holder(snapshot: Snapshot, live: LiveState) -> dict[str, Any] | None:
    holder = live.holder
    if holder is None:
        return None
    found = _who(snapshot, holder.who) | {"held-ns": round(live.held_ns)}
    if holder.blocked is not Blocked.NONE:
        found["blocked"] = holder.blocked.label
        slept = max(0, live.taken - holder.blocked_since)
        found["blocked-ns"] = round(live.clock.ns(slept))
    return found


def _who(snapshot: Snapshot, who: Who) -> dict[str, Any]:
    found: dict[str, Any] = {
        "thread": snapshot.thread_label(who),
        "role": snapshot.role_of(who).label,
        "site": snapshot.site_label(who.site),
    }
    known = who.thread is not None and any(t.index == who.thread for t in snapshot.threads)
    if known and who.thread is not None:
        found["thread-id"] = snapshot.thread(who.thread).tid
    return found


def _blame(snapshot: Snapshot) -> list[dict[str, Any]]:
    def longest(entry: BlameEntry) -> tuple[int, Who, str]:
        return (-entry.ticks, entry.waiter, str(entry.holder))

    return [
        {
            "waiter": _who(snapshot, entry.waiter),
            "holder": _who(snapshot, entry.holder),
            "count": entry.count,
            "wait-ns": round(snapshot.clock.ns(entry.ticks)),
        }
        for entry in sorted(snapshot.blame, key=longest)[:BLAMED_PAIRS]
        if entry.ticks
    ]
