# SPDX-License-Identifier: GPL-2.0-or-later
"""Bucket arithmetic, and what quantiles promise."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profiler.histogram import LOWER_BOUNDS, MAX_BUCKETS, UPPER_BOUNDS, Histogram, bucket_index

U64_MAX = 2**64 - 1
ticks = st.one_of(st.integers(0, 40), st.integers(0, 2**47), st.integers(0, U64_MAX))
samples = st.lists(ticks, max_size=60)


def bucket_by_bits(value: int) -> int:
    """The definition in the recorder's layout, bit by bit."""
    if value < 8:
        return value
    highest = value.bit_length() - 1
    return (highest - 2) * 8 + ((value >> (highest - 3)) & 7)


@given(ticks)
@example(U64_MAX)
@example(2**53 + 1)
def test_the_bucket_is_that_of_the_recorder(value: int) -> None:
    assert int(bucket_index(value)) == bucket_by_bits(value)


def test_buckets_leave_no_gap_and_end_with_the_largest_number() -> None:
    assert len(LOWER_BOUNDS) == MAX_BUCKETS == 496
    assert [int(b) for b in LOWER_BOUNDS[1:]] == [int(b) + 1 for b in UPPER_BOUNDS[:-1]]
    assert (int(LOWER_BOUNDS[0]), int(UPPER_BOUNDS[-1])) == (0, U64_MAX)


def test_no_bucket_is_wider_than_an_eighth_of_its_lower_bound() -> None:
    for low, high in zip(LOWER_BOUNDS.tolist(), UPPER_BOUNDS.tolist(), strict=True):
        assert (high - low + 1) * 8 <= max(low, 8)


@given(samples.filter(bool), st.floats(0, 1))
def test_a_quantile_is_less_than_an_eighth_off(values: list[int], q: float) -> None:
    rank = max(1, math.ceil(q * len(values)))
    true = sorted(values)[rank - 1]
    histogram = Histogram.of(values)
    for estimate in (histogram.quantile(q), histogram.quantile(q, maximum=max(values))):
        assert abs(estimate - true) <= true * 0.125


@given(samples.filter(bool))
def test_the_highest_quantile_does_not_pass_a_known_maximum(values: list[int]) -> None:
    assert Histogram.of(values).quantile(1.0, maximum=max(values)) <= float(max(values))


@given(samples, samples)
def test_merging_equals_the_histogram_of_all_samples(one: list[int], two: list[int]) -> None:
    together = Histogram.of(one + two)
    assert Histogram.of(one) + Histogram.of(two) == together
    assert Histogram.merged([Histogram.of(one), Histogram.of(two)]) == together
    assert hash(Histogram.of(two + one)) == hash(together)


@given(samples, samples)
def test_subtracting_an_earlier_state_leaves_what_came_later(
    before: list[int], after: list[int]
) -> None:
    assert Histogram.of(before + after) - Histogram.of(before) == Histogram.of(after)


def test_subtracting_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="samples that this one lacks"):
        Histogram.of([3]) - Histogram.of([3, 5])


@given(samples)
def test_the_true_sum_lies_within_its_bounds(values: list[int]) -> None:
    histogram = Histogram.of(values)
    low, high = histogram.sum_bounds()
    assert low <= sum(values) <= high
    assert histogram.total == len(values)


def test_quantiles_of_nothing_are_zero() -> None:
    assert Histogram.empty().quantiles([0.5, 0.99]) == [0.0, 0.0]


@pytest.mark.parametrize("q", [-0.1, 1.01, math.nan])
def test_a_quantile_outside_zero_to_one_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Histogram.of([1]).quantile(q)


def test_interpolation_spreads_the_samples_of_a_bucket() -> None:
    histogram = Histogram.of([1024] * 4)
    assert histogram.quantiles([0.25, 1.0]) == [1024 + 127 * 0.125, 1024 + 127 * 0.875]


def test_a_histogram_cannot_be_changed() -> None:
    counts = np.ones(3, dtype=np.uint64)
    histogram = Histogram(counts)
    counts[0] = 9
    assert histogram.total == 3
    with pytest.raises(ValueError, match="read-only"):
        histogram.counts[0] = np.uint64(1)
