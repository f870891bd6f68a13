# SPDX-License-Identifier: GPL-2.0-or-later
"""Folded stacks: one line a stack, as flame graph programs read them, in whole microseconds.

The waiter's stack, `[blocked by]`, the holder's stack; `[handoff]` and `[unknown]` where nobody can
be named. Parts below half a microsecond are left out.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import BinaryIO

from profiler.model import Snapshot
from profiler.traces.source import Source
from profiler.traces.stacks import wait_parts, wait_stack


def write(source: Source, out: BinaryIO) -> None:
    """Write the waits of a source. Raises OSError."""
    for line in lines(source.snapshot()):
        out.write(f"{line}\n".encode())


def lines(snapshot: Snapshot) -> Iterator[str]:
    """The waits of a snapshot or an interval, sorted by stack."""
    ticks: dict[str, int] = defaultdict(int)
    for part in wait_parts(snapshot):
        names = (frame.name.replace(";", ":") for frame in wait_stack(snapshot, part))
        ticks[";".join(names)] += part.ticks
    for stack in sorted(ticks):
        microseconds = round(snapshot.clock.ns(ticks[stack]) / 1e3)
        if microseconds:
            yield f"{stack} {microseconds}"
