# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording says of disk queues: requests, their durations, and how deep the queue is.

Durations are ticks of the recording's clock, from the batch in which a request was taken from the
ring to the batch in which it was completed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from profiler.histogram import Histogram


class QueueKey(NamedTuple):
    """A queue of a device while it had one placement: `vcpu`, `mainloop` or `iothread`."""

    device: str
    queue: int
    placement: str


@dataclass(frozen=True)
class QueueStats:
    """Requests of one queue; `requests` is indexed by `layout.Request`.

    `inflight` is of the instant of the copy, `max_inflight` and `max_duration` are of all time.
    """

    key: QueueKey
    requests: tuple[int, ...]
    errors: int
    read_bytes: int
    written_bytes: int
    inflight: int
    max_inflight: int
    duration_total: int
    max_duration: int
    durations: Histogram
    settled: bool = True
    """False: the copy was made, or the process killed, in the middle of counting a request."""

    @property
    def total(self) -> int:
        """Requests of all kinds."""
        return sum(self.requests)

    def since(self, earlier: "QueueStats") -> "QueueStats":
        """What was added after `earlier`, a state of the same queue."""
        added = (
            np.maximum(self.durations.counts, earlier.durations.counts) - earlier.durations.counts
        )
        return replace(
            self,
            requests=tuple(a - b for a, b in zip(self.requests, earlier.requests, strict=True)),
            errors=self.errors - earlier.errors,
            read_bytes=self.read_bytes - earlier.read_bytes,
            written_bytes=self.written_bytes - earlier.written_bytes,
            duration_total=self.duration_total - earlier.duration_total,
            durations=Histogram(added),
        )


def queues_since(
    later: Sequence[QueueStats], earlier: Sequence[QueueStats]
) -> tuple[QueueStats, ...]:
    """What each queue added."""
    before = {queue.key: queue for queue in earlier}
    return tuple(
        queue.since(before[queue.key]) if queue.key in before else queue for queue in later
    )
