# SPDX-License-Identifier: GPL-2.0-or-later
"""Polls the lock statistics of a running QEMU, and leaves QEMU as it was.

Rules
 1. What was off before is switched off again, however the measurement ends; what was on stays on
    and is not reset: somebody else is measuring.
 2. QEMU's end is a normal end. What was measured before counts.
 3. Times are those at which the answers came: a QEMU that answers late had a longer interval.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from profiler.qemu.qmp import Qmp, QmpClosedError, QmpError
from profiler.qemu.sync_profile import (
    BQL,
    LIMIT,
    Key,
    Waits,
    ordered,
    parse_sync_profile,
    since,
    total,
    was_reset,
)

MISSING = (
    "hold times",
    "who held the lock meanwhile",
    "threads",
    "distributions, only sums",
    "re-acquisitions after condition waits",
    "devices: all of them share one call site",
)
"""What QEMU's statistics do not know, for people."""


@dataclass(frozen=True)
class Interval:
    """What was added in some seconds. `reset`: somebody reset the counters meanwhile."""

    seconds: float
    waits: dict[Key, Waits]
    polls: int = 1
    reset: bool = False

    def plus(self, other: "Interval") -> "Interval":
        """Both intervals as one."""
        return Interval(
            self.seconds + other.seconds,
            total(self.waits, other.waits),
            self.polls + other.polls,
            self.reset or other.reset,
        )

    def of_bql(self) -> Waits:
        """All waits for the big lock."""
        rows = [waits for key, waits in self.waits.items() if key.kind == BQL]
        return Waits(sum(w.wait_ns for w in rows), sum(w.count for w in rows), 1)

    def to_json(self) -> dict[str, Any]:
        """The interval as JSON values; sites in the order of `ordered`."""
        return {
            "seconds": self.seconds,
            "polls": self.polls,
            "counters_reset": self.reset,
            "sites": [
                {
                    "type": key.kind,
                    "bql": key.kind == BQL,
                    "site": key.site,
                    "objects": waits.objects,
                    "wait_ns": waits.wait_ns,
                    "count": waits.count,
                    "average_ns": waits.average_ns,
                    "waits_per_second": waits.count / self.seconds if self.seconds else 0.0,
                    "wait_ns_per_second": waits.wait_ns / self.seconds if self.seconds else 0.0,
                }
                for key, waits in ordered(self.waits)
            ],
        }


NOTHING = Interval(0.0, {}, 0)


class SyncProfile:
    """QEMU's statistics, on while this context manager is open."""

    def __init__(self, qmp: Qmp, clock: Callable[[], float] = time.monotonic) -> None:
        self._qmp = qmp
        self._clock = clock
        self._table: dict[Key, Waits] = {}
        self._at = 0.0
        self.was_on = False
        self.left_on: str | None = None
        """Why it could not be switched off again, after the end."""

    def __enter__(self) -> "SyncProfile":
        """Switch on and take the first table. Raises QmpError or SyncProfileError."""
        state = self._qmp.hmp("sync-profile").strip()
        if state not in ("sync-profile is on", "sync-profile is off"):
            raise QmpError("this QEMU has no sync-profile: it is older than 3.1")
        self.was_on = state.endswith("on")
        try:
            if not self.was_on:
                self._qmp.hmp("sync-profile on")
            self._table, self._at = self._read()
        except BaseException:
            self._switch_off()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._switch_off()

    def poll(self) -> Interval:
        """What was added since the last poll. Raises QmpError or SyncProfileError."""
        table, now = self._read()
        before, then = self._table, self._at
        self._table, self._at = table, now
        return Interval(now - then, since(table, before), reset=was_reset(table, before))

    def _read(self) -> tuple[dict[Key, Waits], float]:
        text = self._qmp.hmp(f"info sync-profile {LIMIT}")
        return parse_sync_profile(text), self._clock()

    def _switch_off(self) -> None:
        if self.was_on:
            return
        try:
            self._qmp.hmp("sync-profile off")
        except QmpClosedError:
            pass
        except QmpError as error:
            self.left_on = error.message
