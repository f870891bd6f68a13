# SPDX-License-Identifier: GPL-2.0-or-later
"""Metric families as columns: labels, values, histograms as matrices.

prometheus-client has an object for every sample, which costs 10 µs each: more than a second for the
histograms of 64 threads at 50 sites. These families are its `Metric`, so its registry and its
encoders take them (`samples` is made on demand), and our encoders read the columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from prometheus_client import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from exporters.buckets import CLASSIC_BOUNDS, Counts, Scale
from exporters.names import Metric as Name

Labels = tuple[str, ...]


def float_text(value: float) -> str:
    """A number as Go writes it, which is what both text formats want."""
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


BOUND_TEXTS = (*map(float_text, CLASSIC_BOUNDS), "+Inf")
"""The upper bounds of classic buckets, as labels."""


class Slowest(NamedTuple):
    """The longest sample of a histogram so far: seconds, whose, and when (epoch, 0: not known)."""

    seconds: float
    tid: int
    at: float


class SlowestOf(Sequence[Slowest | None]):
    """The longest samples of many histograms; objects are made only where somebody looks.

    `seconds` of 0 is none.
    """

    def __init__(self, seconds: Sequence[float], tids: Sequence[int], at: Sequence[float]) -> None:
        self._columns = (seconds, tids, at)

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, index: Any) -> Any:
        seconds, tids, at = (column[index] for column in self._columns)
        return Slowest(seconds, tids, at) if seconds else None


@dataclass(frozen=True, eq=False)
class HistogramBlock:
    """Histograms of one process: `histograms` in buckets of ticks, a line for each of `labels`.

    `sums` are in seconds.
    """

    labels: Sequence[Labels]
    histograms: Counts
    sums: Sequence[float]
    slowest: Sequence[Slowest | None]
    scale: Scale


class Family(Metric):
    """A metric family by its entry in the table of names."""

    def __init__(self, name: Name, per_thread: bool = False) -> None:
        super().__init__(name.family, name.help, name.kind, name.unit)
        self.entry = name
        self.label_names = name.label_names(per_thread)


class Values(Family):
    """Counters, gauges and infos: `labels[i]` has the value `values[i]`."""

    def __init__(self, name: Name, per_thread: bool = False) -> None:
        self.labels: list[Labels] = []
        self.values: list[float] = []
        super().__init__(name, per_thread)

    def add(self, labels: Labels, value: float) -> None:
        """One more sample; labels in the order of `label_names`."""
        self.labels.append(labels)
        self.values.append(value)

    @property
    def samples(self) -> list[Sample]:
        """What prometheus-client's own encoders read."""
        return [
            Sample(self.entry.name, dict(zip(self.label_names, labels, strict=True)), value)
            for labels, value in zip(self.labels, self.values, strict=True)
        ]

    @samples.setter
    def samples(self, _: object) -> None:
        """The base class begins with an empty list."""


class Histograms(Family):
    """Histograms of several processes, a block for each."""

    def __init__(self, name: Name, per_thread: bool = False) -> None:
        self.blocks: list[HistogramBlock] = []
        super().__init__(name, per_thread)

    @property
    def samples(self) -> list[Sample]:
        """What prometheus-client's own encoders read."""
        found: list[Sample] = []
        for block in self.blocks:
            counts = block.scale.classic(block.histograms).tolist()
            for line, values in enumerate(counts):
                labels = dict(zip(self.label_names, block.labels[line], strict=True))
                marked = mark(block.slowest[line])
                found += [
                    Sample(
                        f"{self.name}_bucket",
                        {**labels, "le": text},
                        value,
                        None,
                        _exemplar(block.slowest[line]) if index == marked else None,
                    )
                    for index, (text, value) in enumerate(zip(BOUND_TEXTS, values, strict=True))
                ]
                found.append(Sample(f"{self.name}_count", labels, values[-1]))
                found.append(Sample(f"{self.name}_sum", labels, block.sums[line]))
        return found

    @samples.setter
    def samples(self, _: object) -> None:
        """The base class begins with an empty list."""


def mark(slowest: Slowest | None) -> int:
    """Number of the classic bucket that an exemplar belongs to; -1 without one."""
    if slowest is None:
        return -1
    return next(
        (i for i, b in enumerate(CLASSIC_BOUNDS) if slowest.seconds <= b), len(BOUND_TEXTS) - 1
    )


def _exemplar(slowest: Slowest | None) -> Exemplar | None:
    if slowest is None:
        return None
    return Exemplar({"tid": str(slowest.tid)}, slowest.seconds, slowest.at or None)
