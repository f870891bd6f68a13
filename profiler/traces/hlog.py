# SPDX-License-Identifier: GPL-2.0-or-later
"""HdrHistogram logs (`.hlog`), as latency tools draw them: an interval a line, tagged.

Tags are `wait.ROLE` and `hold.ROLE`; values are ns, of all acquisitions, uncontended waits being 0.
A file of events gives one interval a second and three significant digits. A recording has
histograms since it began, in buckets 12.5 % wide: one interval, each bucket at its middle.

A histogram on the wire: a base64 text of a cookie, a length and a zlib stream of: a cookie, a
length, an offset (0), digits, lowest and highest value, a ratio (1.0), and the counts up to the
last one that is not 0 as ZigZag LEB128, a run of n zeroes as -n. All numbers are big endian.
"""

import base64
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from profiler.histogram import LOWER_BOUNDS, UPPER_BOUNDS, Histogram
from profiler.model import Snapshot
from profiler.traces.batch import Batch, Column, whole_ns
from profiler.traces.protobuf import varint
from profiler.traces.source import Rings, Source

INTERVAL_SECONDS = 1.0
DIGITS = 3
_COOKIE, _COMPRESSED_COOKIE = 0x1C849313, 0x1C849314
_HALF_BITS = 10  # 2 * 10**DIGITS needs 2048 sub-buckets; half of them are used above the first
_LARGEST = (1 << 53) - 1  # ns, 104 days: exact in a double


def write(source: Source, out: BinaryIO) -> None:
    """Write a log. Constant memory. Raises OSError."""
    clock = source.clock
    start = clock.realtime_ns(source.began) / 1e9
    out.write(
        b"#[Logged with bqlscope]\n#[Histogram log format version 1.3]\n"
        + f"#[StartTime: {start:.3f} (seconds since epoch)]\n".encode()
        + b'"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    )
    intervals = _whole(source.snapshot()) if isinstance(source, Rings) else _seconds(source)
    for interval in intervals:
        for tag in sorted(interval.counts):
            out.write(interval.line(tag).encode())


@dataclass
class _Interval:
    """Counts by tag, and the largest value in ns. Seconds since the start of the log."""

    start: float
    length: float
    counts: dict[str, Column] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, tag: str, values: Column, counts: Column | None = None) -> None:
        """Count values (ns), `counts` times each."""
        values = np.minimum(values, _LARGEST).astype(np.int64)
        used = values if counts is None else values[counts > 0]
        if not len(used):
            return
        self.largest[tag] = max(self.largest[tag], int(used.max()))
        more = np.bincount(count_index(values), weights=counts).astype(np.int64)
        have = self.counts.get(tag, np.zeros(0, np.int64))
        longer, shorter = (more, have) if len(more) > len(have) else (have, more)
        longer = longer.copy()
        longer[: len(shorter)] += shorter
        self.counts[tag] = longer

    def line(self, tag: str) -> str:
        """A line of the log."""
        encoded = encode(self.counts[tag], self.largest[tag])
        return (
            f"Tag={tag},{self.start:.3f},{self.length:.3f},{self.largest[tag] / 1e6:.3f},"
            f"{encoded}\n"
        )


def count_index(values: Column) -> Column:
    """Index of the count for each value (0 to 2**53 - 1)."""
    bits = np.frexp((values | ((1 << _HALF_BITS + 1) - 1)).astype(np.float64))[1].astype(np.int64)
    bucket = bits - (_HALF_BITS + 1)
    return (bucket << _HALF_BITS) + (values >> bucket)


def encode(counts: Column, largest: int) -> str:
    """A histogram on the wire. `largest`: its largest value."""
    payload = bytearray()
    zeroes = 0
    for count in counts[: int(np.flatnonzero(counts)[-1]) + 1].tolist():
        if count == 0:
            zeroes += 1
            continue
        if zeroes:
            payload += varint(2 * zeroes - 1)
            zeroes = 0
        payload += varint(2 * count)
    highest = max(largest, 2)
    head = struct.pack(">iiiiqqd", _COOKIE, len(payload), 0, DIGITS, 1, highest, 1.0)
    stored = zlib.compress(head + payload)
    return base64.b64encode(struct.pack(">ii", _COMPRESSED_COOKIE, len(stored)) + stored).decode()


def _whole(snapshot: Snapshot) -> Iterator[_Interval]:
    interval = _Interval(0.0, snapshot.elapsed_seconds)
    for row in snapshot.rows:
        role = snapshot.role_of(row.who).label
        for name, histogram, largest in (
            ("wait", row.wait_hist, row.max_wait),
            ("hold", row.hold_hist, row.max_hold),
        ):
            _add_histogram(interval, f"{name}.{role}", histogram, largest, snapshot)
    yield interval


def _add_histogram(
    interval: _Interval, tag: str, histogram: Histogram, largest: int, snapshot: Snapshot
) -> None:
    """Each bucket at its middle, but none above the largest value, which is known exactly."""
    used = np.flatnonzero(histogram.counts)
    low, high = LOWER_BOUNDS[used], np.minimum(UPPER_BOUNDS[used], np.uint64(largest))
    middles = low + (np.maximum(high, low) - low) // np.uint64(2)
    interval.add(tag, whole_ns(snapshot.clock, middles), histogram.counts[used].astype(np.int64))


def _seconds(source: Source) -> Iterator[_Interval]:
    ticks = max(1, round(INTERVAL_SECONDS * 1e9 / source.clock.ns_per_tick))
    current = _Interval(0.0, INTERVAL_SECONDS)
    number = 0
    for batch in source.batches():
        passed = (batch.acquired - np.uint64(source.began)).astype(np.int64)
        numbers = np.maximum(passed // ticks, number)  # late ones count in the running interval
        for which in np.unique(numbers):
            if which != number:
                yield current
                number = int(which)
                current = _Interval(number * INTERVAL_SECONDS, INTERVAL_SECONDS)
            _add_events(current, batch.take(numbers == which), source)
    yield current


def _add_events(interval: _Interval, batch: Batch, source: Source) -> None:
    threads, place = np.unique(batch.thread, return_inverse=True)
    roles = np.array([source.names.role(int(index)) for index in threads])[place]
    for role in np.unique(roles):
        mine = batch.take(roles == role)
        interval.add(f"wait.{role}", whole_ns(source.clock, mine.wait))
        interval.add(f"hold.{role}", whole_ns(source.clock, mine.hold))
