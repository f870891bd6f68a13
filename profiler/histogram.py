# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-linear histograms: the bucket arithmetic of the recorder, and quantiles of what it counted.

Every power of two is cut into eight buckets of equal width, so a bucket is never wider than an
eighth of its lower bound: whatever value of a bucket stands for the samples in it, the error is
less than 12.5 %. Values below 16 have a bucket of their own and are exact.

    value      0 1 2 … 15 | 16-17 18-19 … 30-31 | 32-35 … 60-63 | …
    bucket     0 1 2 … 15 | 16    17    … 23    | 24    … 31    | …

Bucket 0 also holds what took no time at all: uncontended waits. Quantiles interpolate inside a
bucket as if its samples were spread evenly. Values are clock ticks when they come from a recording,
but nothing here depends on the unit.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SUB_BUCKET_BITS = 3
"""Binary logarithm of the number of buckets a power of two is cut into."""

MAX_BUCKETS = (64 - SUB_BUCKET_BITS + 1) << SUB_BUCKET_BITS
"""Buckets that cover every unsigned 64-bit value."""

_EXACT_BITS = 53
_BITS_OF_BUCKET_0 = (1023 + SUB_BUCKET_BITS - 1) << SUB_BUCKET_BITS

Counts = npt.NDArray[np.uint64]


def _lower_bounds() -> Counts:
    subs = 1 << SUB_BUCKET_BITS
    exact = list(range(subs))
    scaled = [(subs + sub) << shift for shift in range(64 - SUB_BUCKET_BITS) for sub in range(subs)]
    return np.array(exact + scaled, dtype=np.uint64)


LOWER_BOUNDS: Counts = _lower_bounds()
"""Smallest value of each bucket."""

UPPER_BOUNDS: Counts = np.append(
    LOWER_BOUNDS[1:] - np.uint64(1), np.uint64(np.iinfo(np.uint64).max)
)
"""Largest value of each bucket (inclusive)."""

LOWER_BOUNDS.flags.writeable = False
UPPER_BOUNDS.flags.writeable = False


def bucket_index(values: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Bucket of each value (0 to 2**64-1), vectorised.

    What a double holds exactly is a bucket by its bits: exponent and first three bits of the
    mantissa. Larger values are searched for in the table of lower bounds; a floating-point
    logarithm would round some of either into the next bucket.
    """
    array = np.asarray(values, dtype=np.uint64)
    if array.max(initial=0) >= 1 << _EXACT_BITS:
        return np.searchsorted(LOWER_BOUNDS, array, side="right") - 1
    bits = array.astype(np.float64).view(np.int64) >> (_EXACT_BITS - 1 - SUB_BUCKET_BITS)
    return np.where(array < 1 << SUB_BUCKET_BITS, array.astype(np.intp), bits - _BITS_OF_BUCKET_0)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts per bucket; immutable. Two histograms are equal when all their counts are.

    `counts` has at most MAX_BUCKETS elements; missing ones at the end are zero. Where the recorder
    has fewer buckets its last one also counts everything larger: give the observed maximum to
    `quantile` to bound what it answers there.
    """

    counts: Counts

    def __post_init__(self) -> None:
        padded = np.zeros(MAX_BUCKETS, dtype=np.uint64)
        padded[: len(self.counts)] = self.counts
        padded.flags.writeable = False
        object.__setattr__(self, "counts", padded)

    @classmethod
    def of(cls, values: npt.ArrayLike) -> "Histogram":
        """Histogram of samples (0 to 2**64-1)."""
        return cls(
            np.bincount(bucket_index(values).ravel(), minlength=MAX_BUCKETS).astype(np.uint64)
        )

    @classmethod
    def empty(cls) -> "Histogram":
        """Histogram without samples."""
        return cls(np.zeros(0, dtype=np.uint64))

    @classmethod
    def merged(cls, parts: "Iterable[Histogram]") -> "Histogram":
        """Histogram of the samples of all parts together."""
        total = np.zeros(MAX_BUCKETS, dtype=np.uint64)
        for part in parts:
            total += part.counts
        return cls(total)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Histogram) and bool(np.array_equal(self.counts, other.counts))

    def __hash__(self) -> int:
        return hash(self.counts.tobytes())

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.counts + other.counts)

    def __sub__(self, earlier: "Histogram") -> "Histogram":
        """Samples added since `earlier`. Raises ValueError if it is not an earlier state."""
        if np.any(earlier.counts > self.counts):
            raise ValueError("the histogram to subtract has samples that this one lacks")
        return Histogram(self.counts - earlier.counts)

    @property
    def total(self) -> int:
        """Number of samples."""
        return int(self.counts.sum())

    def quantile(self, q: float, maximum: int | None = None) -> float:
        """Sample of rank ceil(q·n), less than 12.5 % off; 0.0 without samples.

        `q` is in [0, 1]; `maximum`, the largest sample where it is known, bounds the answer.
        Raises ValueError for a q outside.
        """
        return self.quantiles([q], maximum)[0]

    def quantiles(self, qs: Sequence[float], maximum: int | None = None) -> list[float]:
        """Like `quantile`, for several ranks at the cost of one."""
        if any(not 0.0 <= q <= 1.0 for q in qs):
            raise ValueError(f"quantiles lie between 0 and 1, not {list(qs)}")
        total = self.total
        if total == 0:
            return [0.0] * len(qs)
        cumulative = np.cumsum(self.counts)
        return [self._at_rank(max(1, math.ceil(q * total)), cumulative, maximum) for q in qs]

    def _at_rank(self, rank: int, cumulative: Counts, maximum: int | None) -> float:
        bucket = int(np.searchsorted(cumulative, np.uint64(rank), side="left"))
        inside = int(self.counts[bucket])
        before = int(cumulative[bucket]) - inside
        low, high = int(LOWER_BOUNDS[bucket]), int(UPPER_BOUNDS[bucket])
        if maximum is not None and maximum >= low:
            high = min(high, maximum)
        return low + (high - low) * ((rank - before - 0.5) / inside)

    def sum_bounds(self) -> tuple[int, int]:
        """Smallest and largest sum that samples with these counts can have, exactly."""
        used = np.flatnonzero(self.counts)
        low = sum(int(self.counts[i]) * int(LOWER_BOUNDS[i]) for i in used)
        high = sum(int(self.counts[i]) * int(UPPER_BOUNDS[i]) for i in used)
        return low, high
