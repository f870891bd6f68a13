# SPDX-License-Identifier: GPL-2.0-or-later
"""The protobuf format: the only one in which Prometheus takes native histograms.

Every histogram has both: native buckets of schema 3, and the classic ones for scrapers that asked
for this format for another reason. With a line for each thread the classic ones are left out: they
would be nine tenths of the work, and who asks for single threads wants the finer ones.

    counts as a matrix -> used buckets of all lines at once (numpy) -> spans and deltas of each line

Rules
 1. Native counts are written as differences along runs of buckets, the spans. Up to GAP empty
    buckets between two used ones are written as well: a new span costs more than they do.
 2. Messages are put behind one another by their bytes: a family is its head and its metrics, a
    metric is its labels, which never change and are kept, and its value.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import Metric

from exporters import schema
from exporters.buckets import CLASSIC_BOUNDS, SCHEMA, NativeBuckets
from exporters.families import HistogramBlock, Histograms, Labels, Slowest, Values, mark

GAP = 2
ZERO_THRESHOLD = 2.0**-128
_METRIC_TAG = b"\x22"  # field 4 of MetricFamily, length-delimited
_HISTOGRAM_TAG = b"\x3a"  # field 7 of Metric, length-delimited
_BOUNDS = (*CLASSIC_BOUNDS, float("inf"))


def varint(value: int) -> bytes:
    """A length as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class ProtobufEncoder:
    """Writes families. Not for several threads at once."""

    def __init__(self, classic: bool = True) -> None:
        """`classic`: histograms also have the classic buckets."""
        self._classes = schema.classes()
        self._classic = classic
        self._known: dict[Labels, bytes] = {}
        self._used: dict[Labels, bytes] = {}

    def encode(self, families: Iterable[Metric]) -> bytes:
        """All families as one document."""
        self._used = {}
        parts: list[bytes] = []
        for family in families:
            name = family.entry.name if isinstance(family, Values) else family.name
            metrics: list[bytes] = []
            if isinstance(family, Histograms):
                for block in family.blocks:
                    self._histograms(family.label_names, block, metrics)
            elif isinstance(family, Values):
                self._values(family, metrics)
            else:
                name = _foreign_name(family)
                self._foreign(family, metrics)
            head = self._classes["MetricFamily"](
                name=name,
                help=family.documentation,
                type=schema.TYPES.get(family.type, schema.TYPES["unknown"]),
                unit=family.unit,
            ).SerializeToString()
            if metrics:  # a family without metrics is an error to Prometheus
                body = b"".join(metrics)
                parts += (varint(len(head) + len(body)), head, body)
        self._known = self._used
        return b"".join(parts)

    def _labels(self, names: Sequence[str], labels: Labels) -> bytes:
        key = (*names, *labels)
        found = self._known.get(key)
        if found is None:
            pair = self._classes["LabelPair"]
            pairs = [pair(name=n, value=v) for n, v in zip(names, labels, strict=True)]
            found = self._classes["Metric"](label=pairs).SerializeToString()
        self._used[key] = found
        return found

    def _values(self, family: Values, metrics: list[bytes]) -> None:
        field = "counter" if family.type == "counter" else "gauge"
        metric, value_of = self._classes["Metric"], self._classes[field.capitalize()]
        for labels, value in zip(family.labels, family.values, strict=True):
            body = metric(**{field: value_of(value=value)}).SerializeToString()
            _append(metrics, self._labels(family.label_names, labels), body)

    def _foreign(self, family: Metric, metrics: list[bytes]) -> None:
        """Samples of prometheus-client's own families, one by one; kinds we do not know untyped."""
        field = family.type if family.type in ("counter", "gauge") else "untyped"
        metric, value_of = self._classes["Metric"], self._classes[field.capitalize()]
        for sample in family.samples:
            body = metric(**{field: value_of(value=sample.value)}).SerializeToString()
            names = tuple(sample.labels)
            _append(metrics, self._labels(names, tuple(sample.labels.values())), body)

    def _histograms(
        self, names: Sequence[str], block: HistogramBlock, metrics: list[bytes]
    ) -> None:
        native = block.scale.native(block.histograms)
        totals = block.histograms.sum(axis=1).tolist()
        zeros = native.zeros.tolist()
        spans = Spans(native)
        classic = block.scale.classic(block.histograms).tolist() if self._classic else None
        make = self._classes["Histogram"]
        for line, labels in enumerate(block.labels):
            body = make(
                sample_count=totals[line],
                sample_sum=block.sums[line],
                schema=SCHEMA,
                zero_threshold=ZERO_THRESHOLD,
                zero_count=zeros[line],
                positive_delta=spans.deltas(line),
                positive_span=spans.spans(line),
                bucket=self._buckets(classic[line], block.slowest[line]) if classic else (),
            ).SerializeToString()
            _append(metrics, self._labels(names, labels), _HISTOGRAM_TAG + varint(len(body)) + body)

    def _buckets(self, counts: Sequence[int], slowest: Slowest | None) -> list[Any]:
        make = self._classes["Bucket"]
        buckets = [
            make(cumulative_count=count, upper_bound=bound)
            for count, bound in zip(counts, _BOUNDS, strict=True)
        ]
        if slowest is not None:
            exemplar = buckets[mark(slowest)].exemplar
            exemplar.value = slowest.seconds
            exemplar.label.add(name="tid", value=str(slowest.tid))
            if slowest.at:
                exemplar.timestamp.seconds = int(slowest.at)
                exemplar.timestamp.nanos = int(slowest.at % 1 * 1e9)
        return buckets


class Spans:
    """Spans and deltas of all histograms of a matrix, worked out at once."""

    def __init__(self, native: NativeBuckets) -> None:
        used = _closed(native.counts > 0)
        lines, columns = np.nonzero(used)
        counts = native.counts[lines, columns].astype(np.int64)
        index = native.indices[columns].astype(np.int64)
        first = np.ones(len(lines), dtype=bool)
        first[1:] = lines[1:] != lines[:-1]
        deltas = np.diff(counts, prepend=0)
        deltas[first] = counts[first]
        steps = np.diff(index, prepend=0)
        begins = np.flatnonzero(first | (steps != 1))
        offsets = np.where(first[begins], index[begins], steps[begins] - 1)
        self._deltas = deltas.tolist()
        self._spans = np.stack([offsets, np.diff(begins, append=len(lines))], axis=1).tolist()
        wanted = np.arange(len(native.counts) + 1)
        self._bucket_ends = np.searchsorted(lines, wanted).tolist()
        self._span_ends = np.searchsorted(lines[begins], wanted).tolist()

    def deltas(self, line: int) -> list[int]:
        """Count of each bucket less that of the one before, in the order of the spans."""
        found: list[int] = self._deltas[self._bucket_ends[line] : self._bucket_ends[line + 1]]
        return found

    def spans(self, line: int) -> list[dict[str, int]]:
        """Runs of buckets: empty ones before it (for the first: its index), and its length."""
        return [
            {"offset": offset, "length": length}
            for offset, length in self._spans[self._span_ends[line] : self._span_ends[line + 1]]
        ]


def _closed(used: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The same with gaps of up to GAP columns filled."""
    closed = used.copy()
    for width in range(1, GAP + 1):
        both = used[:, : -width - 1] & used[:, width + 1 :]
        for inside in range(1, width + 1):
            closed[:, inside : inside + both.shape[1]] |= both
    return closed


def _foreign_name(family: Metric) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return family.name + suffix


def _append(metrics: list[bytes], labels: bytes, value: bytes) -> None:
    metrics += (_METRIC_TAG, varint(len(labels) + len(value)), labels, value)
