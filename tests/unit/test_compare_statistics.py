# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians, intervals and ratios of `bqlscope compare`."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.compare.metrics import METRICS, Metric
from profiler.compare.result import metric_ratio
from profiler.compare.statistics import Ratio, estimate, finite, ratio

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
    # The bootstrap median is the smallest of five with probability 0.058 and the second
    # smallest with more: the 2.5 % point is the smallest, by symmetry the 97.5 % the largest.
    result = estimate([3.0, 1.0, 4.0, 1.5, 9.0])
    assert (result.median, result.low, result.high) == (3.0, 1.0, 9.0)


def test_nine_trials_cut_the_extremes_off() -> None:
    result = estimate([float(value) for value in range(1, 10)])
    assert (result.median, result.low, result.high) == (5.0, 2.0, 8.0)


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
