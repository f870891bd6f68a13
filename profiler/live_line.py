# SPDX-License-Identifier: GPL-2.0-or-later
"""The live line: who holds the lock right now, readable while nothing else moves."""

import time

import numpy as np

from profiler import decode, layout
from profiler.model import Clock, LiveState
from profiler.recfile import RecordingFile
from profiler.thread_copy import attempts


def read_live(file: RecordingFile, offset: int, alive: bool) -> np.void:
    """The line as it is. Retries while the holder changes; then the latest state counts."""
    live = file.record(offset, layout.LIVE)
    for _ in attempts(alive):
        again = file.record(offset, layout.LIVE)
        settled = (live["holder"], live["since"]) == (again["holder"], again["since"])
        live = again
        if settled:
            break
    return live


def live_state(live: np.void, clock: Clock, alive: bool) -> LiveState:
    """The line as of now. Raises RecordingError, without a path, for nonsense."""
    return LiveState(
        clock=clock,
        taken=max(clock.ticks_at(time.monotonic_ns()), int(live["since"])),
        alive=alive,
        waiters=int(live["waiters"]),
        holder=decode.holder(live),
    )
