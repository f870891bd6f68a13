# SPDX-License-Identifier: GPL-2.0-or-later
"""`/debug/pprof/mutex`: what Go serves there, for the big locks of the recorded processes."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from profiler.errors import RecordingError
from profiler.model import Process, Snapshot
from profiler.reader import Recording
from profiler.traces.mutex import MUTEX_DEFAULT, MUTEX_TYPES, mutex_samples
from profiler.traces.profile import write_profile

MOST_SECONDS = 300.0

Named = tuple[str, Process]


def mutex_profile(
    processes: Sequence[Named],
    seconds: float,
    wait: Callable[[float], bool],
    fail: Callable[[str], None],
) -> bytes:
    """A gzipped profile of these processes: of the next `seconds`, or with 0 since their start.

    `wait` sleeps, and returns True if it was told to stop: the profile is then shorter. A recording
    that cannot be read is left out and given to `fail`.
    """
    begin = time.time_ns()
    samples = []
    with ExitStack() as stack:
        opened = []
        for vm, process in processes:
            try:
                recording = stack.enter_context(Recording.open(process.path))
                first = recording.snapshot() if seconds else None
            except RecordingError as error:
                fail(error.message)
                continue
            opened.append((vm, recording, first))
        if seconds:
            wait(seconds)
        for vm, recording, first in opened:
            try:
                samples += mutex_samples(_grown(recording.snapshot(), first), vm)
            except (RecordingError, ValueError) as error:
                fail(f"{recording.process.path}: {error}")
    duration = time.time_ns() - begin if seconds else 0
    return write_profile(samples, MUTEX_TYPES, MUTEX_DEFAULT, time_ns=begin, duration_ns=duration)


def _grown(last: Snapshot, first: Snapshot | None) -> Snapshot:
    return last.since(first) if first else last
