# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of a recording put together by role and call site, or kept apart by thread as well.

Columns are sorted by group once; every sum over a group is then one call over the whole column.
Call sites with one label are one group: QEMU reads and writes a device in two lines of code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporters.families import Labels
from profiler.layout import NO_THREAD, Role
from profiler.model import Site, ThreadInfo
from profiler.row_table import Indices, RowTable
from profiler.table import Table

Column = npt.NDArray[np.uint64]


class SiteNames:
    """Labels of call sites and roles of threads of one table, by number.

    `roles` and `tids` are those of the first `count` threads as arrays.
    """

    def __init__(self, threads: Sequence[ThreadInfo], sites: Sequence[Site], count: int) -> None:
        self.roles: Indices = np.full(count, Role.OTHER, dtype=np.intp)
        self.tids: Column = np.zeros(count, dtype=np.uint64)
        for thread in threads:
            self.roles[thread.index], self.tids[thread.index] = thread.role, thread.tid
        self._threads = {thread.index: thread for thread in threads}
        self._labels = {site.index: site.label for site in sites}

    def thread(self, index: int) -> ThreadInfo | None:
        """The thread with this block; None for one that is not in the record."""
        return self._threads.get(index)

    def role(self, index: int) -> Role:
        """Its role; OTHER for a thread that is not in the record."""
        thread = self._threads.get(index)
        return thread.role if thread else Role.OTHER

    def label(self, site: int) -> str:
        """Label of a call site; `site N` if its entry was not complete yet."""
        return self._labels.get(site) or f"site {site}"

    def thread_labels(self, index: int) -> Labels:
        """OS name and id of a thread."""
        thread = self._threads.get(index)
        return (thread.label, str(thread.tid)) if thread else (f"thread {index}", "0")


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of a table's rows. `roles` and `sites` name each of them, `labels` both.

    `order` sorts the rows by group, `starts` is where each begins in that order. Rows that nothing
    happened to are in no group: every thread has one of the site (other).
    """

    roles: tuple[str, ...]
    sites: tuple[str, ...]
    labels: tuple[Labels, ...]
    order: Indices
    starts: Indices

    def sums(self, column: Column) -> Column:
        """Sum of a column (or of each column of a matrix) over the rows of each group."""
        return self.reduce(column[self.order])

    def reduce(self, ordered: Column) -> Column:
        """Like `sums`, of what is in the order of `order` already."""
        if len(self.starts) == len(self.order):
            return ordered
        return np.add.reduceat(ordered, self.starts, axis=0)

    def largest(self, column: Column) -> Indices:
        """The row with the largest value of each group."""
        ordered = column[self.order]
        group = np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(ordered)))
        by_value = np.lexsort((ordered, group))
        ends = np.append(self.starts[1:], len(ordered)) - 1
        found: Indices = self.order[by_value[ends]]
        return found


class Grouper:
    """Makes the groups of one process; they are kept while its rows, threads and sites are."""

    def __init__(self, per_thread: bool) -> None:
        self._per_thread = per_thread
        self._key: tuple[object, ...] = ()
        self._groups: Groups | None = None

    def groups(self, table: Table, names: SiteNames) -> Groups:
        """The groups of a table's rows."""
        rows = table.rows
        active = (rows.heads["acquisitions"].any(axis=1)) | (rows.heads["trylock_failed"] > 0)
        threads = tuple((t.index, t.role, t.label, t.tid) for t in table.threads)
        key = (
            table.sites,
            threads,
            rows.heads["thread"].tobytes(),
            rows.heads["site"].tobytes(),
            active.tobytes(),
        )
        if self._groups is None or key != self._key:
            self._key, self._groups = key, self._build(rows, np.flatnonzero(active), names)
        return self._groups

    def _build(self, rows: RowTable, active: Indices, names: SiteNames) -> Groups:
        numbers: dict[Labels, int] = {}
        group = np.empty(len(active), dtype=np.intp)
        heads = rows.heads[active]
        pairs = zip(heads["thread"].tolist(), heads["site"].tolist(), strict=True)
        for index, (thread, site) in enumerate(pairs):
            key: Labels = (names.role(thread).label, names.label(site))
            if self._per_thread:
                key += names.thread_labels(thread)
            group[index] = numbers.setdefault(key, len(numbers))
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(len(numbers)))
        return Groups(
            roles=tuple(key[0] for key in numbers),
            sites=tuple(key[1] for key in numbers),
            labels=tuple(numbers),
            order=active[order],
            starts=starts,
        )


def blame_by_role(table: Table, names: SiteNames) -> dict[Labels, int]:
    """Ticks waited, by role of the waiter, role of the holder and label of the holder's site."""
    waiters = table.blame_threads.astype(np.int64)
    keys = waiters << 32 | table.blame["holder"].astype(np.int64)
    unique, inverse = np.unique(keys, return_inverse=True)
    ticks = np.zeros(len(unique), dtype=np.uint64)
    np.add.at(ticks, inverse.reshape(-1), table.blame["ticks"])
    found: dict[Labels, int] = {}
    for key, total in zip(unique.tolist(), ticks.tolist(), strict=True):
        thread, site = (key >> 16 & 0xFFFF) - 1, key & 0xFFFF
        holder = Role.OTHER if thread == NO_THREAD else names.role(thread)
        labels = (names.role(key >> 32).label, holder.label, names.label(site))
        found[labels] = found.get(labels, 0) + total
    return found
