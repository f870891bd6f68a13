# SPDX-License-Identifier: GPL-2.0-or-later
"""The protobuf format: the only one in which Prometheus takes native histograms.

Every histogram has both: native buckets of schema 3, and the classic ones for scrapers that asked
for this format for another reason. With a line for each thread the classic ones are left out: they
would be nine tenths of the work, and who asks for single threads wants the finer ones.

    counts as a matrix -> used buckets of all lines at once -> spans and deltas
                       -> their bytes, also at once (`Packed`) -> a slice of them for each line

Rules
 1. Native counts are written as differences along runs of buckets, the spans. Up to GAP empty
    buckets between two used ones are written as well: a new span costs more than they do.
 2. Messages are put behind one another by their bytes: a family is its head and its metrics, a
    metric is its labels, which never change and are kept, and its value. What there are thousands
    of in a scrape (values, native buckets) is packed by numpy; the `protobuf` package writes the
    rest, and the tests read all of it back with that.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import Metric

from exporters import schema
from exporters.buckets import CLASSIC_BOUNDS, SCHEMA, NativeBuckets
from exporters.families import HistogramBlock, Histograms, Labels, Slowest, Values, mark

GAP = 2
ZERO_THRESHOLD = 2.0**-128
_BOUNDS = (*CLASSIC_BOUNDS, float("inf"))

# Tags: number of the field << 3 | type of what follows (0 varint, 1 eight bytes, 2 a length first).
_METRIC = b"\x22"  # MetricFamily.metric
_HISTOGRAM = b"\x3a"  # Metric.histogram
_VALUES = {"gauge": b"\x12\x09\x09", "counter": b"\x1a\x09\x09"}  # Metric.gauge, its value
_SAMPLE_COUNT, _ZERO_COUNT, _SPAN, _OFFSET, _LENGTH, _DELTA = 0x08, 0x38, 0x62, 0x08, 0x10, 0x6A
_SUM = b"\x11"
_SCHEMA = bytes((0x28, SCHEMA << 1, 0x31)) + struct.pack("<d", ZERO_THRESHOLD)

Numbers = npt.NDArray[np.uint64]


def varint(value: int) -> bytes:
    """A length as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_sizes(values: Numbers) -> npt.NDArray[np.intp]:
    """Bytes that each number takes."""
    sizes = np.ones(values.shape, dtype=np.intp)
    for shift in range(7, 64, 7):
        more = values >= np.uint64(1 << shift)
        if not more.any():
            break
        sizes += more
    return sizes


class Packed:
    """Varints of a sequence of numbers, to be taken in slices."""

    def __init__(self, values: Numbers) -> None:
        sizes = varint_sizes(values)
        self.ends = np.append(0, np.cumsum(sizes))
        out = np.empty(int(self.ends[-1]), dtype=np.uint8)
        for number in range(int(sizes.max(initial=0))):
            here = np.flatnonzero(sizes > number)
            byte = values[here] >> np.uint64(7 * number) & np.uint64(0x7F)
            byte |= np.where(sizes[here] > number + 1, np.uint64(0x80), np.uint64(0))
            out[self.ends[here] + number] = byte
        self._bytes = out.tobytes()

    def cut(self, ends: npt.NDArray[np.intp]) -> list[bytes]:
        """The bytes of the numbers between each two of `ends`, which count numbers."""
        at = self.ends[ends].tolist()
        return [self._bytes[begin:end] for begin, end in pairwise(at)]


def zigzag(values: npt.NDArray[np.int64]) -> Numbers:
    """Signed numbers as protobuf's sint writes them."""
    return ((values << 1) ^ (values >> 63)).astype(np.uint64)


class ProtobufEncoder:
    """Writes families. Not for several threads at once."""

    def __init__(self, classic: bool = True) -> None:
        """`classic`: histograms also have the classic buckets."""
        self._classes = schema.classes()
        self._classic = classic
        self._sizes = [varint(length) for length in range(1 << 14)]
        self._known: dict[Labels, dict[Labels, bytes]] = {}
        self._used: dict[Labels, dict[Labels, bytes]] = {}

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

    def _labels(self, names: Sequence[str]) -> Callable[[Labels], bytes]:
        """A function that gives the labels of a metric as they are written, by their values."""
        names = tuple(names)
        known, used = self._known.get(names, {}), self._used.setdefault(names, {})
        metric, pair = self._classes["Metric"], self._classes["LabelPair"]

        def find(values: Labels) -> bytes:
            found = known.get(values)
            if found is None:
                pairs = [pair(name=n, value=v) for n, v in zip(names, values, strict=True)]
                found = metric(label=pairs).SerializeToString()
            used[values] = found
            return found

        return find

    def _values(self, family: Values, metrics: list[bytes]) -> None:
        begin = _VALUES["counter" if family.type == "counter" else "gauge"]
        values = np.array(family.values, dtype="<f8").tobytes()
        find = self._labels(family.label_names)
        for index, labels in enumerate(family.labels):
            kept = find(labels)
            size = self._size(len(kept) + 11)
            metrics += (_METRIC, size, kept, begin, values[8 * index : 8 * index + 8])

    def _foreign(self, family: Metric, metrics: list[bytes]) -> None:
        """Samples of prometheus-client's own families, one by one; kinds we do not know untyped."""
        field = family.type if family.type in ("counter", "gauge") else "untyped"
        metric, value_of = self._classes["Metric"], self._classes[field.capitalize()]
        for sample in family.samples:
            body = metric(**{field: value_of(value=sample.value)}).SerializeToString()
            kept = self._labels(tuple(sample.labels))(tuple(sample.labels.values()))
            metrics += (_METRIC, varint(len(kept) + len(body)), kept, body)

    def _histograms(
        self, names: Sequence[str], block: HistogramBlock, metrics: list[bytes]
    ) -> None:
        classic: Any = [b""] * len(block.labels)
        if self._classic:
            counts = block.scale.classic(block.histograms).tolist()
            classic = map(self._buckets, counts, block.slowest)
        lines = native_bodies(block.scale.native(block.histograms), block)
        find = self._labels(names)
        for labels, native, buckets in zip(block.labels, lines, classic, strict=True):
            kept, size = find(labels), self._size(len(native) + len(buckets))
            length = len(kept) + 1 + len(size) + len(native) + len(buckets)
            metrics += (_METRIC, self._size(length), kept, _HISTOGRAM, size, native, buckets)

    def _size(self, length: int) -> bytes:
        return self._sizes[length] if length < len(self._sizes) else varint(length)

    def _buckets(self, counts: Sequence[int], slowest: Slowest | None) -> bytes:
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
        body: bytes = self._classes["Histogram"](bucket=buckets).SerializeToString()
        return body


def native_bodies(native: NativeBuckets, block: HistogramBlock) -> list[bytes]:
    """The Histogram message of each line without classic buckets."""
    count = len(block.labels)
    lines = np.arange(count + 1) * 2
    totals = block.histograms.sum(axis=1)
    begins = Packed(_pairs(_SAMPLE_COUNT, totals)).cut(lines)
    sums = np.array(block.sums, dtype="<f8").tobytes()
    zeros = Packed(_pairs(_ZERO_COUNT, native.zeros)).cut(lines)
    spans, deltas = packed_buckets(native)
    sizes = np.array([len(part) for part in deltas], dtype=np.uint64)
    heads = Packed(_pairs(_DELTA, sizes)).cut(lines)
    return [
        b"".join(
            (
                begins[i],
                _SUM,
                sums[8 * i : 8 * i + 8],
                _SCHEMA,
                zeros[i],
                spans[i],
                heads[i],
                deltas[i],
            )
        )
        for i in range(count)
    ]


def _pairs(tag: int, values: Numbers) -> Numbers:
    """A tag before each number."""
    pairs = np.full((len(values), 2), tag, dtype=np.uint64)
    pairs[:, 1] = values
    return pairs.reshape(-1)


def packed_buckets(native: NativeBuckets) -> tuple[list[bytes], list[bytes]]:
    """Of each line: its spans, as the messages they are, and its deltas, as packed numbers.

    A span has the number of empty buckets before it (the first one: its index) and its length; a
    delta is the count of a bucket less that of the one before.
    """
    used = _closed(native.counts > 0)
    width = used.shape[1]
    flat = np.flatnonzero(used)
    lines, columns = flat // width, flat % width
    counts = native.counts.reshape(-1)[flat].astype(np.int64)
    index = native.indices[columns].astype(np.int64)
    first = np.ones(len(flat), dtype=bool)
    first[1:] = lines[1:] != lines[:-1]
    deltas = np.diff(counts, prepend=0)
    deltas[first] = counts[first]
    steps = np.diff(index, prepend=0)
    begins = np.flatnonzero(first | (steps != 1))
    fields = np.empty((len(begins), 6), dtype=np.uint64)
    offsets = zigzag(np.where(first[begins], index[begins], steps[begins] - 1))
    lengths = np.diff(begins, append=len(flat)).astype(np.uint64)
    # Every one of the six is a varint, tags and size as well.
    fields[:, (0, 2, 4)] = _SPAN, _OFFSET, _LENGTH
    fields[:, 3], fields[:, 5] = offsets, lengths
    fields[:, 1] = 2 + varint_sizes(offsets) + varint_sizes(lengths)
    wanted = np.arange(len(native.counts) + 1)
    span_ends = np.searchsorted(lines[begins], wanted) * 6
    return (
        Packed(fields.reshape(-1)).cut(span_ends),
        Packed(zigzag(deltas)).cut(np.searchsorted(lines, wanted)),
    )


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
