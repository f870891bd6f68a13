# SPDX-License-Identifier: GPL-2.0-or-later
"""Buckets of ticks as buckets of seconds: nothing lost, nothing falls, and how far off it is."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.buckets import CLASSIC_BOUNDS, Counts, Scale, steady_ns_per_tick
from profiler.histogram import LOWER_BOUNDS, UPPER_BOUNDS, bucket_index
from profiler.layout import BUCKETS

RATIOS = st.floats(0.05, 1000.0)
TICKS = st.integers(1, 1 << 46)


def counted(ticks: list[int]) -> Counts:
    line = np.bincount(bucket_index(ticks), minlength=BUCKETS)[:BUCKETS]
    return line.astype(np.uint64)[np.newaxis]


def test_the_bounds_are_powers_of_two_of_250_ns() -> None:
    assert CLASSIC_BOUNDS[0] == 250e-9
    assert CLASSIC_BOUNDS[-1] == pytest.approx(1.048576)
    assert all(b == pytest.approx(2 * a) for a, b in pairwise(CLASSIC_BOUNDS))


@given(st.lists(TICKS | st.just(0), max_size=50), RATIOS)
def test_no_sample_is_lost_or_made(ticks: list[int], ratio: float) -> None:
    scale, histograms = Scale(ratio), counted(ticks)
    classic, native = scale.classic(histograms), scale.native(histograms)
    assert classic.shape == (1, len(CLASSIC_BOUNDS) + 1)
    assert int(classic[0, -1]) == len(ticks)
    assert (np.diff(classic[0].astype(np.int64)) >= 0).all()
    assert int(native.zeros[0] + native.counts.sum()) == len(ticks)
    assert int(native.zeros[0]) == ticks.count(0)


@given(TICKS, RATIOS)
def test_a_classic_bound_is_off_by_half_a_recorded_bucket_at_most(ticks: int, ratio: float) -> None:
    seconds = ticks * ratio / 1e9
    below = Scale(ratio).classic(counted([ticks]))[0]
    for count, bound in zip(below, CLASSIC_BOUNDS, strict=False):
        if seconds <= bound / 1.0625:
            assert count == 1
        if seconds > bound * 1.0625:
            assert count == 0


@given(TICKS, RATIOS)
def test_a_native_bucket_is_off_by_less_than_sixteen_percent(ticks: int, ratio: float) -> None:
    seconds = ticks * ratio / 1e9
    native = Scale(ratio).native(counted([ticks]))
    (column,) = np.flatnonzero(native.counts[0])
    index = int(native.indices[column])
    low, high = 2.0 ** ((index - 1) / 8), 2.0 ** (index / 8)
    assert low / seconds > 1 / 1.16
    assert high / seconds < 1.16


@given(st.lists(TICKS, max_size=20), st.lists(TICKS, max_size=20), RATIOS)
def test_sums_of_histograms_are_histograms_of_sums(
    some: list[int], more: list[int], ratio: float
) -> None:
    scale = Scale(ratio)
    one, two, both = counted(some), counted(more), counted(some + more)
    assert (scale.classic(one) + scale.classic(two) == scale.classic(both)).all()
    assert (scale.native(one).counts + scale.native(two).counts == scale.native(both).counts).all()


def test_recorded_buckets_are_as_wide_as_the_error_assumes() -> None:
    low, high = LOWER_BOUNDS[1:BUCKETS].astype(float), UPPER_BOUNDS[1:BUCKETS].astype(float)
    middle = (low + high) / 2
    assert (middle[:-1] / low[:-1]).max() <= 1.0625
    assert (high[:-1] / middle[:-1]).max() <= 1.0625


@given(st.floats(1e-3, 1e6))
def test_what_a_tick_is_worth_is_rounded_a_little_and_always_the_same(ns: float) -> None:
    steady = steady_ns_per_tick(ns)
    assert abs(steady / ns - 1) <= 3.06e-5
    assert steady_ns_per_tick(steady) == steady


def test_a_round_worth_stays_as_it_is() -> None:
    for ns in (1.0, 0.5, 0.375):
        assert steady_ns_per_tick(ns) == ns
