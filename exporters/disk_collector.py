# SPDX-License-Identifier: GPL-2.0-or-later
"""What recordings say about disk queues."""

from collections.abc import Iterable, Iterator

import numpy as np
from prometheus_client import Metric
from prometheus_client.registry import Collector

from exporters import names
from exporters.families import HistogramBlock, Histograms, Labels, Values
from exporters.health import Health, Samples
from exporters.vm import VmSample
from profiler.layout import Request
from profiler.model import QueueStats


class DiskCollector(Collector):
    """Requests, durations and depth of disk queues, by who processes them."""

    def __init__(self, samples: Samples, health: Health) -> None:
        self._samples, self._health = samples, health

    def collect(self) -> Iterable[Metric]:
        """Families of all processes whose samples were taken."""
        with self._health.timed("disk"):
            return list(_families(self._samples.current))
        return []


def _families(samples: list[VmSample]) -> Iterator[Metric]:
    yield _durations(samples)
    requests, errors, sizes, depth = (
        Values(name)
        for name in (names.BLK_REQUESTS, names.BLK_ERRORS, names.BLK_BYTES, names.BLK_DEPTH)
    )
    for sample in samples:
        for queue in sample.table.queues:
            labels = _labels(sample, queue)
            for kind, count in zip(Request, queue.requests, strict=True):
                if count or kind is Request.READ:
                    requests.add((*labels, kind.label), count)
            errors.add(labels, queue.errors)
            sizes.add((*labels, "read"), queue.read_bytes)
            sizes.add((*labels, "written"), queue.written_bytes)
            if sample.process.alive:
                depth.add(labels, queue.inflight)
    yield from (requests, errors, sizes, depth)


def _durations(samples: list[VmSample]) -> Metric:
    family = Histograms(names.BLK_DURATION)
    for sample in samples:
        queues = sample.table.queues
        if not queues:
            continue
        family.blocks.append(
            HistogramBlock(
                labels=[_labels(sample, queue) for queue in queues],
                histograms=np.stack([queue.durations.counts for queue in queues]),
                sums=[sample.scale.seconds(queue.duration_total) for queue in queues],
                slowest=[None] * len(queues),
                scale=sample.scale,
            )
        )
    return family


def _labels(sample: VmSample, queue: QueueStats) -> Labels:
    return sample.vm, queue.key.device, str(queue.key.queue), queue.key.placement
