# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians with bootstrap intervals, and ratios taken round by round."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 10_000
SEED = 20_261_123
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A median, the 95 % interval of it, and the values it came from, in the values' unit."""

    median: float
    low: float
    high: float
    trials: tuple[float, ...]

    def as_dict(self, *, trials: bool = False) -> dict[str, Any]:
        """``median`` and ``ci95`` for JSON, and ``trials`` in the order of the rounds if wanted."""
        found: dict[str, Any] = {"median": self.median, "ci95": [self.low, self.high]}
        if trials:
            found["trials"] = list(self.trials)
        return found


def estimate(values: Sequence[float]) -> Estimate:
    """Median with the percentile bootstrap's interval.

    The seed is fixed and the values are sorted first, so neither chance nor the order of the trials
    changes a result. The bounds are values that resampling met, never interpolated.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values to take a median of")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    draws = np.random.default_rng(SEED).integers(0, len(ordered), size=(RESAMPLES, len(ordered)))
    medians = np.median(ordered[draws], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low = float(np.quantile(medians, tail, method="lower"))
    high = float(np.quantile(medians, 1 - tail, method="higher"))
    return Estimate(float(np.median(ordered)), low, high, tuple(float(v) for v in values))


def ratio_of_rounds(numerator: Sequence[float], denominator: Sequence[float]) -> Estimate:
    """Quotients of values measured in the same round, then their median: drift cancels out.

    Raises:
        ValueError: the two sides differ in length or are empty, or a denominator is not positive.
    """
    if len(numerator) != len(denominator):
        raise ValueError("both sides of a ratio need one value a round")
    if any(value <= 0 for value in denominator):
        raise ValueError("a denominator is not positive")
    return estimate([top / bottom for top, bottom in zip(numerator, denominator, strict=True)])
