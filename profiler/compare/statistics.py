# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians with their intervals, and ratios of medians with bootstrap intervals.

The unit of replication is the trial, not the request: a million requests of one run share that
run's luck.

Intervals are percentile bootstraps (10,000 resamples, fixed seed), taken outwards to the next
resample, never interpolated: so an infinite ratio cannot turn into a number.

The interval of a median is widened to that of the sign test where the bootstrap is narrower: two of
the measured values, chosen by rank so that they enclose the true median in at least 95 % of runs
whatever the distribution.  The bootstrap alone promises 95 % and keeps 87 % with seven trials.

The interval of a ratio resamples both sides independently.  Two equal placements get one that
excludes 1 in less than 5 % of runs.  Values are sorted before resampling, so the order of the
trials cannot change a result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
SEED = 20_260_117
CONFIDENCE = 0.95
MIN_TRIALS = 5
"""The whole range of five encloses the median in 93.75 % of runs, that of fewer in less than 88."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A median with its 95 % interval, in the metric's unit, and the trials it came from.

    `median`, `low` and `high` are None when nothing was measured.
    """

    median: float | None
    low: float | None
    high: float | None
    trials: tuple[float, ...] = ()


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians with its 95 % interval; above 1 the candidate is better.

    `value` and `high` may be `math.inf` (the denominator was zero); all are None if a side was not
    measured.  `resolution` is the smallest factor that the metric can tell from 1.
    """

    value: float | None
    low: float | None
    high: float | None
    resolution: float = 1.0

    @property
    def better(self) -> bool:
        """The whole interval lies above 1, by more than the metric's resolution."""
        return self.low is not None and self.low > self.resolution

    @property
    def worse(self) -> bool:
        """The whole interval lies below 1, by more than the metric's resolution."""
        return self.high is not None and self.high * self.resolution < 1


def _resampled_medians(values: FloatArray, stream: int) -> FloatArray:
    """Medians of `RESAMPLES` draws with replacement; `stream` separates independent sides."""
    generator = np.random.default_rng((SEED, stream))
    draws = generator.integers(0, len(values), size=(RESAMPLES, len(values)))
    return np.asarray(np.median(np.sort(values)[draws], axis=1), dtype=np.float64)


def _rank_cut(count: int) -> int:
    """How many values to leave out at each end: as many as 95 % allow, none of five or fewer."""
    tail, cut = 1.0, 0
    while 2 * (tail + math.comb(count, cut + 1)) / 2**count <= 1 - CONFIDENCE:
        cut += 1
        tail += math.comb(count, cut)
    return cut


def _interval(samples: FloatArray, centre: float) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low = float(np.quantile(samples, tail, method="lower"))
    high = float(np.quantile(samples, 1 - tail, method="higher"))
    return min(low, centre), max(high, centre)


def estimate(trials: Sequence[float]) -> Estimate:
    """Median of the trials with its interval; a single trial gives an interval of zero width."""
    if not trials:
        return Estimate(None, None, None)
    values = np.sort(np.asarray(trials, dtype=np.float64))
    median = float(np.median(values))
    low, high = _interval(_resampled_medians(values, 0), median)
    cut = _rank_cut(len(values))
    low, high = min(low, float(values[cut])), max(high, float(values[-1 - cut]))
    return Estimate(median, low, high, tuple(float(value) for value in trials))


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Element-wise quotient with 0/0 = 1 (both sides equally zero) and x/0 = inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = numerator / denominator
    return np.where((numerator == 0) & (denominator == 0), 1.0, quotient)


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Ratio of the medians, both sides resampled independently.  Values must not be negative."""
    if not numerator or not denominator:
        return Ratio(None, None, None)
    top = np.asarray(numerator, dtype=np.float64)
    bottom = np.asarray(denominator, dtype=np.float64)
    centre = float(_divide(np.median(top, keepdims=True), np.median(bottom, keepdims=True))[0])
    samples = _divide(_resampled_medians(top, 1), _resampled_medians(bottom, 2))
    low, high = _interval(samples, centre)
    return Ratio(centre, low, high)


def finite(value: float | None) -> float | None:
    """The value as JSON can hold it: infinity becomes None."""
    return value if value is not None and math.isfinite(value) else None
