# SPDX-License-Identifier: GPL-2.0-or-later
"""Histograms of ticks as histograms of seconds: fixed bounds, exact totals, a known error.

The recorder counts in 360 buckets of ticks, eight to a power of two. Monitoring systems want other
buckets: classic ones at CLASSIC_BOUNDS, which are part of the interface and the same on every host
so that they add up across hosts, and native ones of schema 3, eight to a power of two of a second.

Rules
 1. A recorded bucket goes as a whole to where its midpoint lies. No count is ever split: counts are
    whole, sums over threads, sites and hosts are the sums of the parts, and a count never falls.
 2. So a classic bound is off by at most half a recorded bucket: samples up to 6.25 % above it may
    be counted below it, or the other way round. Which, is the same for the life of the process.
 3. A recorded bucket is at most 12.5 % wide, a native one 9.05 %: a quantile from native buckets is
    less than 16 % off (1.0905 × 1.0625). Some native buckets stay empty where recorded ones are
    wider.
 4. Count and sum do not depend on buckets: they are what was recorded.
 5. What ticks are worth is fixed when a process is first seen (`steady_ns_per_tick`): with the
    latest calibration a total that stands still would sometimes fall by a microsecond, and a
    counter that falls means to Prometheus that the process began anew.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from profiler.histogram import LOWER_BOUNDS, UPPER_BOUNDS
from profiler.layout import BUCKETS

CLASSIC_BOUNDS = tuple(250e-9 * 2**power for power in range(23))
"""Seconds: 250 ns, 500 ns, … 1.048576 s; then infinity."""

SCHEMA = 3
PER_OCTAVE = 8

_BITS = 15
"""Bits that are kept of what a tick is worth: at most 0.0031 % off."""

Counts = npt.NDArray[np.uint64]


def steady_ns_per_tick(ns_per_tick: float) -> float:
    """`ns_per_tick` rounded to 15 bits, at most 0.0031 % off.

    Calibrations differ by a millionth from one to the next; their rounded values are nearly always
    the same, so an exporter that was restarted goes on with the same figures.
    """
    mantissa, exponent = math.frexp(ns_per_tick)
    return math.ldexp(round(math.ldexp(mantissa, _BITS)), exponent - _BITS)


def _midpoints() -> npt.NDArray[np.float64]:
    """Ticks in the middle of each bucket; the last one has no upper end."""
    low, high = LOWER_BOUNDS[:BUCKETS].astype(float), UPPER_BOUNDS[:BUCKETS].astype(float)
    middle: npt.NDArray[np.float64] = (low + high) / 2
    middle[-1] = low[-1]
    return middle


@dataclass(frozen=True, eq=False)
class NativeBuckets:
    """Counts of native buckets: a line for each histogram, a column for each of `indices`.

    Bucket i has samples above 2**((i-1)/8) s, up to 2**(i/8) s. `zeros` are those of 0 s.
    """

    indices: npt.NDArray[np.int32]
    zeros: Counts
    counts: Counts


class Scale:
    """The mapping for one value of a tick in nanoseconds."""

    def __init__(self, ns_per_tick: float) -> None:
        self.ns_per_tick = ns_per_tick
        seconds = _midpoints() * (ns_per_tick / 1e9)
        cuts = np.searchsorted(seconds, np.array(CLASSIC_BOUNDS), side="right")
        starts = np.unique(np.append(cuts, 0))
        self._starts = starts[starts < BUCKETS]
        self._upto = np.searchsorted(self._starts, cuts, side="left")
        index = np.ceil(np.log2(seconds[1:]) * PER_OCTAVE).astype(np.int32)
        self._indices, first = np.unique(index, return_index=True)
        self._native_starts = first + 1

    def seconds(self, ticks: float) -> float:
        """A total in seconds."""
        return ticks * self.ns_per_tick / 1e9

    def classic(self, histograms: Counts) -> Counts:
        """Cumulative counts: a line for each histogram, a column for each bound and infinity."""
        parts = np.add.reduceat(histograms, self._starts, axis=1)
        sums = np.zeros((len(histograms), len(self._starts) + 1), dtype=np.uint64)
        np.cumsum(parts, axis=1, out=sums[:, 1:])
        return sums[:, np.append(self._upto, len(self._starts))]

    def native(self, histograms: Counts) -> NativeBuckets:
        """Counts of native buckets."""
        return NativeBuckets(
            indices=self._indices,
            zeros=histograms[:, 0],
            counts=np.add.reduceat(histograms, self._native_starts, axis=1),
        )
