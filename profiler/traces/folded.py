# SPDX-License-Identifier: GPL-2.0-or-later
"""Folded stacks: one line a stack, as flame graph programs read them, in whole microseconds.

The waiter's stack, `[blocked by]`, the holder's stack; `[handoff]` and `[unknown]` where nobody can
be named. Parts below half a microsecond are left out.
"""

from collections.abc import Iterator
from typing import BinaryIO

from profiler.model import Snapshot
from profiler.traces.fold import fold, folded_lines
from profiler.traces.source import Source


def write(source: Source, out: BinaryIO) -> None:
    """Write the waits of a source. Raises OSError."""
    for line in lines(source.snapshot()):
        out.write(f"{line}\n".encode())


def lines(snapshot: Snapshot) -> Iterator[str]:
    """The waits of a snapshot or an interval, sorted by stack."""
    yield from folded_lines(fold(snapshot))
