# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU time and run-queue delay of a process's threads, added up so that no total ever falls.

The kernel has one number for each thread, which ends with the thread. What a thread gained since
the last look is added to its role's total, so that a thread that ends takes nothing with it, and
one whose role becomes known later moves nothing from one role to another.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from exporters.families import Labels


class ThreadTimes(NamedTuple):
    """Nanoseconds on a CPU, and ready to run without one."""

    cpu: int
    runqueue: int


_NONE = ThreadTimes(0, 0)


def read_schedstat(process: Path) -> dict[int, ThreadTimes]:
    """Times of all threads by thread id; `process` is a directory like /proc/4711.

    Threads that end meanwhile are left out. Raises OSError if the process cannot be looked at.
    """
    found = {}
    for task in (process / "task").iterdir():
        try:
            cpu, runqueue, _ = (task / "schedstat").read_bytes().split()
            found[int(task.name)] = ThreadTimes(int(cpu), int(runqueue))
        except (FileNotFoundError, ProcessLookupError, ValueError):
            continue
    return found


class SchedTotals:
    """Totals of one process by labels (role, or role and thread)."""

    def __init__(self) -> None:
        self._last: dict[int, ThreadTimes] = {}
        self.totals: dict[Labels, ThreadTimes] = defaultdict(lambda: _NONE)

    def add(self, times: Mapping[int, ThreadTimes], labels: Mapping[int, Labels]) -> None:
        """Add what threads gained; `labels` are those of each thread in `times`.

        A time that fell is that of another thread with the same id.
        """
        for tid, now in times.items():
            before = self._last.get(tid, _NONE)
            if now.cpu < before.cpu or now.runqueue < before.runqueue:
                before = _NONE
            total = self.totals[labels[tid]]
            self.totals[labels[tid]] = ThreadTimes(
                total.cpu + now.cpu - before.cpu, total.runqueue + now.runqueue - before.runqueue
            )
        self._last = dict(times)
