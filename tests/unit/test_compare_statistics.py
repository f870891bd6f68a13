# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians, intervals and ratios of `bqlscope compare`."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.compare import statistics
from profiler.compare.metrics import METRICS, Metric
from profiler.compare.result import metric_ratio
from profiler.compare.statistics import FloatArray, Ratio, estimate, finite, ratio

VALUES = st.lists(st.floats(0.001, 1e9), min_size=1, max_size=9)


@given(VALUES)
def test_the_interval_contains_the_median_and_lies_within_the_trials(values: list[float]) -> None:
    result = estimate(values)
    assert result.median is not None
    assert result.low is not None
    assert result.high is not None
    assert min(values) <= result.low <= result.median <= result.high <= max(values)


@given(VALUES.flatmap(lambda values: st.tuples(st.just(values), st.permutations(values))))
def test_the_order_of_the_trials_does_not_matter(orders: tuple[list[float], list[float]]) -> None:
    values, shuffled = orders
    first, second = estimate(values), estimate(shuffled)
    assert (first.median, first.low, first.high) == (second.median, second.low, second.high)
    assert ratio(values, [1.0, 2.0]) == ratio(shuffled, [1.0, 2.0])


@given(VALUES, VALUES, st.integers(-20, 20))
def test_a_ratio_does_not_depend_on_the_unit(a: list[float], b: list[float], power: int) -> None:
    factor = 2.0**power  # exact in binary floating point
    assert ratio(a, b) == ratio([v * factor for v in a], [v * factor for v in b])


@given(VALUES, VALUES)
def test_a_ratio_lies_in_its_interval(a: list[float], b: list[float]) -> None:
    result = ratio(a, b)
    assert result.value is not None
    assert result.low is not None
    assert result.high is not None
    assert result.low <= result.value <= result.high
    assert result.low >= min(a) / max(b)
    assert result.high <= max(a) / min(b)


def test_five_trials_give_the_hand_computed_interval() -> None:
    # All five lie on one side of the true median in 1 run of 16: there is nothing to leave out.
    result = estimate([3.0, 1.0, 4.0, 1.5, 9.0])
    assert (result.median, result.low, result.high) == (3.0, 1.0, 9.0)


def test_nine_trials_cut_the_extremes_off() -> None:
    result = estimate([float(value) for value in range(1, 10)])
    assert (result.median, result.low, result.high) == (5.0, 2.0, 8.0)


SHAPES: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "normal": lambda rng, n: rng.normal(100, 10, n),
    "skewed": lambda rng, n: np.exp(rng.normal(0, 0.5, n)),
    "heavy": lambda rng, n: 1 + rng.pareto(1.5, n),
    "two modes": lambda rng, n: rng.normal(np.where(rng.random(n) < 0.7, 100, 200), 3),
}
RUNS = 400
CHANCE = 3 * math.sqrt(0.05 * 0.95 / RUNS)  # three standard errors of a share of 5 %


@pytest.mark.parametrize("count", [6, 7, 9, 15])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_encloses_the_true_median_in_95_of_100_runs(shape: str, count: int) -> None:
    rng = np.random.default_rng(count)
    true = float(np.median(SHAPES[shape](np.random.default_rng(23), 200_001)))
    found = [estimate(SHAPES[shape](rng, count).tolist()) for _ in range(RUNS)]
    enclosed = sum((one.low or 0) <= true <= (one.high or 0) for one in found)
    assert enclosed / RUNS >= 0.95 - CHANCE


@pytest.mark.parametrize("count", [5, 7, 9])
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_placements_seldom_differ(
    shape: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    rng = np.random.default_rng(count)
    draw = SHAPES[shape]
    found = [ratio(draw(rng, count).tolist(), draw(rng, count).tolist()) for _ in range(RUNS)]
    assert sum(one.better or one.worse for one in found) / RUNS <= 0.05 + CHANCE


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(7)
    found = [
        ratio(rng.normal(130, 10, 5).tolist(), rng.normal(100, 10, 5).tolist()) for _ in range(50)
    ]
    assert sum(one.better for one in found) >= 45
    assert not any(one.worse for one in found)


def test_without_trials_nothing_is_estimated() -> None:
    assert estimate([]).median is None
    assert ratio([], [1.0]) == Ratio(None, None, None)
    assert ratio([1.0], []) == Ratio(None, None, None)


def test_a_zero_denominator_gives_infinity_with_a_lower_bound() -> None:
    result = ratio([8.0, 9.0, 10.0, 11.0, 12.0], [0.0, 0.0, 2.0, 2.0, 2.0])
    assert result.value == 5.0
    assert result.low == 4.0
    assert result.high == math.inf
    assert ratio([1.0], [0.0]).value == math.inf
    assert finite(math.inf) is None


def test_zero_on_both_sides_is_no_difference() -> None:
    assert ratio([0.0] * 5, [0.0] * 5) == Ratio(1.0, 1.0, 1.0)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)
def test_a_ratio_above_one_means_the_candidate_is_better(metric: Metric) -> None:
    small, large = [1.0] * 5, [2.0] * 5
    result = metric_ratio(metric, small, large)
    assert result.better is metric.more_is_better
    assert result.worse is not metric.more_is_better
    assert metric.ratio_of.startswith("candidate") is metric.more_is_better
