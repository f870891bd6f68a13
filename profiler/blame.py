# SPDX-License-Identifier: GPL-2.0-or-later
"""Who made whom wait: the matrix of waiters and holders, and its largest cells.

The recorder splits every wait among the holds that overlapped it. What no hold explains keeps a
name of its own: `handoff`, the lock was free and the waiter not running yet, and `unknown`, the
holder was forgotten. So the cells of a matrix row add up to the waits of that row exactly, as long
as the snapshot's threads are EXACT.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

from profiler.model import BlameEntry, Role, Snapshot, Who

HANDOFF = "handoff"
"""Column: nobody held the lock; wake-up latency."""

UNKNOWN = "unknown"
"""Column: somebody held the lock, but who is not known any more."""


class Axis(Enum):
    """What a row or column of the matrix stands for."""

    ROLE = "role"
    THREAD = "thread"
    SITE = "site"
    """A thread at a call site."""


@dataclass(frozen=True)
class BlameMatrix:
    """Ticks that row waited for column. The last two columns are HANDOFF and UNKNOWN.

    `waits` are the rows' total waits as counted independently of the cells.
    """

    axis: Axis
    waiters: tuple[str, ...]
    holders: tuple[str, ...]
    ticks: tuple[tuple[int, ...], ...]
    waits: tuple[int, ...]

    def cell(self, waiter: str, holder: str) -> int:
        """Ticks that `waiter` waited for `holder` (labels). Raises ValueError for unknown ones."""
        return self.ticks[self.waiters.index(waiter)][self.holders.index(holder)]


def blame_matrix(snapshot: Snapshot, axis: Axis = Axis.ROLE) -> BlameMatrix:
    """The matrix of a snapshot or an interval; rows without waits are left out."""
    key = _keys(snapshot, axis)
    waits: dict[Hashable, int] = defaultdict(int)
    named: dict[tuple[Hashable, str], int] = defaultdict(int)
    for row in snapshot.rows:
        waiter = key(row.who)
        waits[waiter] += row.wait_total
        named[waiter, HANDOFF] += row.handoff
        named[waiter, UNKNOWN] += row.unknown
    cells: dict[tuple[Hashable, Hashable], int] = defaultdict(int)
    for entry in snapshot.blame:
        cells[key(entry.waiter), key(entry.holder)] += entry.ticks
        waits[key(entry.waiter)] += 0
    waiters = sorted((k for k in waits if waits[k] or _blames(cells, k)), key=_order)
    holders = sorted({holder for _, holder in cells}, key=_order)
    return BlameMatrix(
        axis=axis,
        waiters=tuple(_label(snapshot, waiter) for waiter in waiters),
        holders=(*(_label(snapshot, holder) for holder in holders), HANDOFF, UNKNOWN),
        ticks=tuple(
            (
                *(cells.get((waiter, holder), 0) for holder in holders),
                named[waiter, HANDOFF],
                named[waiter, UNKNOWN],
            )
            for waiter in waiters
        ),
        waits=tuple(waits[waiter] for waiter in waiters),
    )


def _blames(cells: dict[tuple[Hashable, Hashable], int], waiter: Hashable) -> bool:
    return any(row == waiter and ticks for (row, _), ticks in cells.items())


def _keys(snapshot: Snapshot, axis: Axis) -> Callable[[Who], Hashable]:
    if axis is Axis.ROLE:
        return snapshot.role_of
    if axis is Axis.THREAD:
        return lambda who: who._replace(site=-1)
    return lambda who: who


def _order(key: Hashable) -> tuple[int, int]:
    if isinstance(key, Who):
        return (1 << 16 if key.thread is None else key.thread, key.site)
    assert isinstance(key, Role)
    return (int(key), 0)


def _label(snapshot: Snapshot, key: Hashable) -> str:
    if isinstance(key, Role):
        return key.label
    assert isinstance(key, Who)
    thread = snapshot.thread_label(key)
    # Two threads may have one name: the block index tells them apart.
    named = f"{thread} #{key.thread}" if _is_ambiguous(snapshot, key) else thread
    return named if key.site < 0 else f"{named} @ {snapshot.site_label(key.site)} [{key.site}]"


def _is_ambiguous(snapshot: Snapshot, who: Who) -> bool:
    label = snapshot.thread_label(who)
    return sum(thread.label == label for thread in snapshot.threads) > 1


@dataclass(frozen=True)
class BlamePair:
    """Threads of a role at a site that waited for threads of a role at a site.

    `share` is the part of all waits that were asked for, 0 to 1.
    """

    waiter_role: Role
    waiter_site: str
    holder_role: Role
    holder_site: str
    ticks: int
    count: int
    max: int
    share: float


def top_pairs(
    snapshot: Snapshot, limit: int | None = None, waiter_role: Role | None = None
) -> list[BlamePair]:
    """Pairs by ticks, largest first; only waits of `waiter_role` if given.

    Shares are of all waits of those waiters, hand-over and unknown parts included.
    """
    total = sum(
        row.wait_total for row in snapshot.rows if waiter_role in (None, snapshot.role_of(row.who))
    )
    groups: dict[tuple[Role, str, Role, str], list[BlameEntry]] = defaultdict(list)
    for entry in snapshot.blame:
        role = snapshot.role_of(entry.waiter)
        if waiter_role in (None, role):
            groups[
                role,
                snapshot.site_label(entry.waiter.site),
                snapshot.role_of(entry.holder),
                snapshot.site_label(entry.holder.site),
            ].append(entry)
    pairs = [_pair(key, entries, total) for key, entries in groups.items()]
    pairs.sort(key=lambda pair: (-pair.ticks, pair.waiter_site, pair.holder_site))
    return pairs[:limit]


def _pair(key: tuple[Role, str, Role, str], entries: list[BlameEntry], total: int) -> BlamePair:
    ticks = sum(entry.ticks for entry in entries)
    return BlamePair(
        *key,
        ticks=ticks,
        count=sum(entry.count for entry in entries),
        max=max(entry.max for entry in entries),
        share=ticks / total if total else 0.0,
    )
