# SPDX-License-Identifier: GPL-2.0-or-later
"""One recorded process across scrapes: what must be remembered so that no counter ever falls.

    Recording.table() -> groups -> VmSample (one instant, plain columns)

Remembered are the worth of a tick (buckets, rule 5), for each row the largest number of waits of no
length (it is a difference of two counters, and a row that was changed under the copy may show it
one too small), and instants to take the held ratio over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from exporters.buckets import Counts, Scale, steady_ns_per_tick
from exporters.families import Labels, Slowest, SlowestOf
from exporters.grouping import Column, Grouper, Groups, SiteNames, blame_by_role
from profiler.blame import HANDOFF, UNKNOWN
from profiler.layout import Role
from profiler.model import Clock, Process
from profiler.reader import Recording
from profiler.row_table import Indices, RowTable
from profiler.table import Table

RATIO_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class RowSums:
    """Columns of all rows by group; times in ticks, `waits` and `holds` in buckets of ticks."""

    groups: Groups
    acquisitions: Column
    contended: Column
    trylock_failed: Column
    wait_total: Column
    hold_total: Column
    blocked: Column
    waits: Counts
    holds: Counts
    slowest_waits: Sequence[Slowest | None]
    slowest_holds: Sequence[Slowest | None]


@dataclass(frozen=True, eq=False)
class VmSample:
    """A recorded process at one instant. `rows` is None as long as nobody took the lock."""

    vm: str
    process: Process
    table: Table
    names: SiteNames
    scale: Scale
    rows: RowSums | None
    blame: dict[Labels, int]
    held_ratio: float


class _Held(NamedTuple):
    taken: int
    ticks: int


class RecordedVm:
    """An open recording under the name that its series have. Close it."""

    def __init__(self, recording: Recording, vm: str, per_thread: bool) -> None:
        self.vm = vm
        self._recording = recording
        self._grouper = Grouper(per_thread)
        self._scale: Scale | None = None
        self._unwaited = np.zeros(0, dtype=np.uint64)
        self._held = [_Held(0, 0), _Held(0, 0)]

    @property
    def process(self) -> Process:
        """The process, with whether it lives now."""
        return self._recording.process

    def close(self) -> None:
        """Close the recording."""
        self._recording.close()

    def sample(self) -> VmSample:
        """The recording as of now. Raises RecordingError."""
        table = self._recording.table()
        if self._scale is None:
            self._scale = Scale(steady_ns_per_tick(table.clock.ns_per_tick))
        names = SiteNames(table.threads, table.sites, table.blocks)
        blame = blame_by_role(table, names)
        rows = None
        if len(table.rows):
            self._settle(table.rows)
        groups = self._grouper.groups(table, names)
        if groups.labels:
            rows = _sum_rows(table, groups, names)
            for role, handoff, unknown in _unblamed(table, names.roles):
                blame[role, HANDOFF, HANDOFF] = handoff
                blame[role, UNKNOWN, UNKNOWN] = unknown
        return VmSample(
            vm=self.vm,
            process=table.process,
            table=table,
            names=names,
            scale=self._scale,
            rows=rows,
            blame=blame,
            held_ratio=self._ratio(table),
        )

    def _settle(self, rows: RowTable) -> None:
        """See to it that `unwaited` never falls."""
        last = int(rows.numbers[-1])
        if last >= len(self._unwaited):
            grown = np.zeros(last + 1, dtype=np.uint64)
            grown[: len(self._unwaited)] = self._unwaited
            self._unwaited = grown
        np.maximum(rows.unwaited, self._unwaited[rows.numbers], out=rows.unwaited)
        self._unwaited[rows.numbers] = rows.unwaited

    def _ratio(self, table: Table) -> float:
        """Held part of the time since the youngest instant that is RATIO_SECONDS old."""
        now = _Held(table.taken, int(table.rows.column("hold_total").sum()))
        if table.holder is not None:
            now = now._replace(ticks=now.ticks + max(0, table.taken - table.holder.since))
        if self._held[0].taken == 0:
            self._held = [_Held(table.clock.start.ticks, 0), now]
        elif table.clock.seconds(now.taken - self._held[1].taken) >= RATIO_SECONDS:
            self._held = [self._held[1], now]
        since = self._held[0]
        elapsed = now.taken - since.taken
        return min(1.0, max(0, now.ticks - since.ticks) / elapsed) if elapsed > 0 else 0.0


def _sum_rows(table: Table, groups: Groups, names: SiteNames) -> RowSums:
    rows = table.rows

    def total(name: str) -> Column:
        return groups.sums(rows.column(name))

    return RowSums(
        groups=groups,
        acquisitions=total("acquisitions"),
        contended=total("contended"),
        trylock_failed=total("trylock_failed"),
        wait_total=total("wait_total"),
        hold_total=total("hold_total"),
        blocked=total("blocked_ticks"),
        waits=groups.reduce(rows.waits(groups.order)),
        holds=groups.reduce(rows.holds(groups.order)),
        slowest_waits=_slowest(rows, groups, names.tids, "wait", table.clock),
        slowest_holds=_slowest(rows, groups, names.tids, "hold", table.clock),
    )


def _slowest(
    rows: RowTable, groups: Groups, tids: Column, what: str, clock: Clock
) -> Sequence[Slowest | None]:
    column = rows.column(f"max_{what}")
    chosen: Indices = groups.largest(column)
    ago = rows.column(f"max_{what}_at")[chosen].astype(float) - float(clock.sync.ticks)
    return SlowestOf(
        seconds=(column[chosen] * (clock.ns_per_tick / 1e9)).tolist(),
        tids=tids[rows.heads["thread"][chosen]].tolist(),
        at=((clock.sync.realtime_ns + ago * clock.ns_per_tick) / 1e9).tolist(),
    )


def _unblamed(table: Table, roles: Indices) -> list[tuple[str, int, int]]:
    """Ticks of waits that no holder accounts for, by role of the waiter: hand-over, unknown."""
    heads = table.rows.heads
    row_roles = roles[heads["thread"]]
    found = []
    for role in Role:
        mine = heads[row_roles == role]
        if mine["contended"].any():
            found.append((role.label, int(mine["handoff"].sum()), int(mine["unknown"].sum())))
    return found
