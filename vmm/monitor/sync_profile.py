# SPDX-License-Identifier: GPL-2.0-or-later
"""``sync-profile`` and ``info sync-profile``: QEMU's lock statistics, from our recording.

    Type               Object  Call site                Wait Time (s)         Count  Average (us)
    ---------------------------------------------------------------------------------------------
    BQL mutex  0x55d0c3a2b2c0  vmm/native/iospace.c:88 (serial)  0.00010   63          1.58

Source: QEMU's util/qsp.c, its table and its messages.

Rules
 1. The recorder counts whether the profile is on or not. On, off and reset only choose what of
    that the table shows: what was counted while it was on, since the last reset.
 2. A call site is the place in the code, and the device behind it where there is one: QEMU's one
    row for all devices is its blind spot.
 3. There is one lock, so that -n, which tells the locks of a call site apart, changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmm.monitor.lock_reports import LockReport, LockReports

DEFAULT_ROWS = 10
_HEAD = "Call site"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Waits:
    """Acquisitions at a call site, and how long they waited in all (ns)."""

    count: int
    wait_ns: float

    @property
    def average_ns(self) -> float:
        """ns for each acquisition."""
        return self.wait_ns / self.count if self.count else 0.0


Table = Mapping[str, Waits]


@dataclass
class SyncProfile:
    """The state of the switch. Main thread."""

    reports: LockReports
    on: bool
    lock_address: int
    _baseline: Table
    _frozen: Table

    def __init__(self, reports: LockReports, lock_address: int, on: bool) -> None:
        self.reports, self.lock_address, self.on = reports, lock_address, on
        self._baseline, self._frozen = {}, {}

    def switch(self, on: bool) -> None:
        """Go on counting, or stop. Raises MonitorError if nothing is recorded."""
        if on == self.on:
            return
        now = call_sites(self.reports.read())
        if on:
            self._baseline = _minus(now, self._frozen)
        else:
            self._frozen = _minus(now, self._baseline)
        self.on = on

    def reset(self) -> None:
        """Begin anew. Raises MonitorError if nothing is recorded."""
        self._frozen = {}
        if self.on:
            self._baseline = call_sites(self.reports.read())

    def table(self, rows: int, by_mean: bool) -> str:
        """The table, the longest waits (or mean waits) first. Raises MonitorError."""
        counted = self._frozen
        if self.on:
            counted = _minus(call_sites(self.reports.read()), self._baseline)
        found = [row for row in counted.items() if row[1].count > 0]
        if by_mean:
            found.sort(key=lambda row: (-row[1].average_ns, row[0]))
        else:
            found.sort(key=lambda row: (-row[1].wait_ns, -row[1].count, row[0]))
        return _draw(found[:rows], self.lock_address)


def call_sites(report: LockReport) -> Table:
    """The report's rows by call site, ``file:line`` and the region in parentheses."""
    found: dict[str, Waits] = {}
    for row in report["sites"]:
        name = _call_site(row)
        before = found.get(name, Waits(0, 0.0))
        found[name] = Waits(before.count + row["count"], before.wait_ns + row["wait-ns"])
    return found


def _call_site(row: Mapping[str, Any]) -> str:
    file = Path(row["file"])
    if file.is_relative_to(_ROOT):
        file = file.relative_to(_ROOT)
    place = f"{file}:{row['line']}" if row["file"] else ""
    region = f"({row['region']})" if row["region"] else ""
    return " ".join(filter(None, (place, region))) or "(other)"


def _minus(now: Table, before: Table) -> Table:
    nothing = Waits(0, 0.0)
    left = {}
    for name, waits in now.items():
        less = before.get(name, nothing)
        left[name] = Waits(waits.count - less.count, max(0.0, waits.wait_ns - less.wait_ns))
    return left


def _draw(rows: Sequence[tuple[str, Waits]], address: int) -> str:
    width = max([len(_HEAD), *(len(name) for name, _ in rows)])
    rule = "-" * (79 + width - len(_HEAD))
    lines = [
        f"Type               Object  {_HEAD:<{width}}  Wait Time (s)         Count  Average (us)",
        rule,
    ]
    for name, waits in rows:
        lines.append(
            f"{'BQL mutex':<9}  {address:#14x}  {name:<{width}}  {waits.wait_ns / 1e9:13.5f}"
            f"  {waits.count:12d}  {waits.average_ns / 1e3:12.2f}"
        )
    return "\n".join([*lines, rule, ""])
