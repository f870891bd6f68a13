# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own lock statistics: `info sync-profile` as a table, and the difference of two.

    Type               Object  Call site              Wait Time (s)         Count  Average (us)
    -------------------------------------------------------------------------------------------
    condvar    [           2]  system/cpus.c:463            0.01489            21        708.84
    BQL mutex  0x5623563652c0  system/physmem.c:2874        0.00002           643          0.03
    -------------------------------------------------------------------------------------------

Rules
 1. Rows of one type and call site are added up: which objects a row stands for changes over time.
 2. A wait is printed to 10 µs, an average to 10 ns: the product of average and count is the better
    number below a thousand waits, the printed sum above.
 3. Counters only grow unless somebody resets them: a table with a smaller one than before starts
    anew, and the difference is what it has now.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from profiler.errors import UserError

BQL = "BQL mutex"
"""The type of the rows that are about the big lock."""

LIMIT = 1_000_000
"""Rows to ask for; QEMU's default of ten would hide sites."""


class SyncProfileError(UserError):
    """A table that makes no sense."""


class Key(NamedTuple):
    """Type of the lock (`BQL mutex`, `mutex`, `rec_mutex`, `condvar`) and call site `file:line`."""

    kind: str
    site: str


@dataclass(frozen=True)
class Waits:
    """Waits at a call site: nanoseconds in all, how many, and at how many objects (at most)."""

    wait_ns: float
    count: int
    objects: int

    @property
    def average_ns(self) -> float:
        """Nanoseconds a wait; 0 if there was none."""
        return self.wait_ns / self.count if self.count else 0.0


Table = Mapping[Key, Waits]

_HEAD = re.compile(r"Type\s+Object\s+Call site\s+Wait Time \(s\)\s+Count\s+Average \(us\)\s*")
_RULE = re.compile(r"-{20,}\s*")
_ROW = re.compile(
    r"(?P<kind>[A-Za-z_]+(?: [A-Za-z_]+)?)\s+"
    r"(?:0x[0-9a-f]+|\(nil\)|\[\s*(?P<objects>\d{1,10})\])\s+"
    r"(?P<site>\S.*?)\s+(?P<wait>\d{1,12}\.\d+)\s+(?P<count>\d{1,20})\s+(?P<average>\d{1,18}\.\d+)\s*",
    re.ASCII,
)
_PRECISE_BELOW = 1000


def parse_sync_profile(text: str) -> dict[Key, Waits]:
    """The table out of the answer to `info sync-profile`. Raises SyncProfileError."""
    lines = [line for line in text.split("\n") if line.strip()]
    framed = len(lines) >= 3 and _RULE.fullmatch(lines[1]) and _RULE.fullmatch(lines[-1])
    if not framed or not _HEAD.fullmatch(lines[0]):
        raise SyncProfileError("QEMU's answer to 'info sync-profile' is not the table it should be")
    table: dict[Key, Waits] = {}
    for line in lines[2:-1]:
        key, waits = _row(line)
        table[key] = _sum(table[key], waits) if key in table else waits
    return table


def since(later: Table, earlier: Table) -> dict[Key, Waits]:
    """What was added after `earlier`, without what did not change."""
    grown = {}
    for key, now in later.items():
        before = earlier.get(key)
        if before is None or now.count < before.count:
            grown[key] = now
        elif now.count > before.count:
            waited = max(0.0, now.wait_ns - before.wait_ns)
            grown[key] = Waits(waited, now.count - before.count, now.objects)
    return grown


def was_reset(later: Table, earlier: Table) -> bool:
    """Whether somebody reset the counters between two tables."""
    nothing = Waits(0.0, 0, 0)
    return any(later.get(key, nothing).count < before.count for key, before in earlier.items())


def total(one: Table, other: Table) -> dict[Key, Waits]:
    """The sum of two tables of intervals."""
    table = dict(one)
    for key, waits in other.items():
        table[key] = _sum(table[key], waits, same_objects=True) if key in table else waits
    return table


def ordered(table: Table) -> list[tuple[Key, Waits]]:
    """Rows of the big lock first, then the others; in each part the longest waits first."""
    return sorted(
        table.items(), key=lambda row: (row[0].kind != BQL, -row[1].wait_ns, -row[1].count, row[0])
    )


def _row(line: str) -> tuple[Key, Waits]:
    match = _ROW.fullmatch(line)
    if match is None:
        shown = "".join(c if c.isprintable() else "?" for c in line.strip()[:60])
        raise SyncProfileError(f"a line of QEMU's sync-profile makes no sense: '{shown}'")
    count = int(match["count"])
    if count < _PRECISE_BELOW:
        wait_ns = float(match["average"]) * 1e3 * count
    else:
        wait_ns = float(match["wait"]) * 1e9
    site = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in match["site"])
    return Key(match["kind"], site), Waits(wait_ns, count, int(match["objects"] or 1))


def _sum(one: Waits, other: Waits, same_objects: bool = False) -> Waits:
    objects = max(one.objects, other.objects) if same_objects else one.objects + other.objects
    return Waits(one.wait_ns + other.wait_ns, one.count + other.count, objects)
