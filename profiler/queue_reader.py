# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies the rows of disk queues out of a recording that goes on being written."""

import numpy as np

from profiler import decode, layout
from profiler.geometry import Part
from profiler.histogram import Histogram
from profiler.queues import QueueKey, QueueStats
from profiler.recfile import RecordingFile
from profiler.thread_copy import attempts


def read_queues(file: RecordingFile, part: Part, count: int, alive: bool) -> tuple[QueueStats, ...]:
    """The first `count` queues; `alive`: somebody may be writing them. Raises RecordingError."""
    rows = [_copy(file, part.at(row), alive) for row in range(count)]
    return tuple(_decode(row, settled) for row, settled in rows if int(row["in_use"]) == 1)


def _copy(file: RecordingFile, at: int, alive: bool) -> tuple[np.void, bool]:
    """A row, and whether it is of one piece. Partner: bqlrec_queue_done()."""
    row = file.record(at, layout.QUEUE)
    for _ in attempts(alive):
        before = file.u32(at)
        row = file.record(at, layout.QUEUE)
        if before % 2 == 0 and file.u32(at) == before:
            return row, True
    return row, False


def _decode(row: np.void, settled: bool) -> QueueStats:
    return QueueStats(
        key=QueueKey(decode.text(row["device"]), int(row["index"]), decode.text(row["placement"])),
        requests=tuple(int(n) for n in row["requests"]),
        errors=int(row["errors"]),
        read_bytes=int(row["read_bytes"]),
        written_bytes=int(row["written_bytes"]),
        inflight=int(row["inflight"]),
        max_inflight=int(row["max_inflight"]),
        duration_total=int(row["duration_total"]),
        max_duration=int(row["max_duration"]),
        durations=Histogram(row["duration_hist"]),
        settled=settled,
    )
