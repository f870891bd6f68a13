# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians, intervals and ratios by round; the order of interleaved rounds."""

import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.bench.rounds import interleave
from vmm.bench.statistics import estimate, ratio_of_rounds

VALUES = st.lists(st.floats(1.0, 1e9), min_size=1, max_size=15)


@given(VALUES)
def test_the_interval_holds_the_median_and_stays_within_the_values(values: list[float]) -> None:
    found = estimate(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_the_trials_changes_nothing(values: list[float], rng: random.Random) -> None:
    shuffled = list(values)
    rng.shuffle(shuffled)
    first, second = estimate(values), estimate(shuffled)
    assert (first.median, first.low, first.high) == (second.median, second.low, second.high)
    assert first.trials == tuple(values)


def test_a_single_trial_has_an_interval_of_zero_width() -> None:
    assert estimate([7.0]).as_dict(trials=True) == {
        "median": 7.0,
        "ci95": [7.0, 7.0],
        "trials": [7.0],
    }


def test_a_wild_trial_moves_the_interval_and_not_the_median() -> None:
    calm, wild = estimate([10, 11, 12, 13, 14]), estimate([10, 11, 12, 13, 1000])
    assert calm.median == wild.median == 12
    assert wild.high > calm.high


def test_drift_between_rounds_cancels_in_their_ratios() -> None:
    numerator, denominator = [100.0, 200.0, 50.0], [80.0, 160.0, 40.0]
    found = ratio_of_rounds(numerator, denominator)
    assert (found.median, found.low, found.high) == (1.25, 1.25, 1.25)


@pytest.mark.parametrize(
    ("numerator", "denominator"), [([], []), ([1.0], []), ([1.0, 2.0], [1.0]), ([1.0], [0.0])]
)
def test_a_ratio_needs_a_positive_partner_in_every_round(
    numerator: list[float], denominator: list[float]
) -> None:
    with pytest.raises(ValueError, match=r"values|round|positive"):
        ratio_of_rounds(numerator, denominator)


def test_every_contestant_has_every_place_in_the_round_equally_often() -> None:
    ran: list[str] = []

    def contestant(name: str) -> int:
        ran.append(name)
        return len(ran)

    told: list[str] = []
    pauses: list[float] = []
    found = interleave(
        {name: partial(contestant, name) for name in "abc"}, 3, told.append, pauses.append
    )
    assert "".join(ran) == "abcbcacab"
    assert found == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}
    assert told[0] == "round 1 of 3: a"
    assert len(told) == len(pauses) == 9
