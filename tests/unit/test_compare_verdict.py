# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict says better, worse, mixed or nothing, and is honest about what limits it."""

from pathlib import Path

import pytest

from profiler.compare.metrics import HEADLINES
from profiler.compare.plan import Plan
from profiler.compare.result import build_result
from profiler.compare.verdict import build_verdict
from profiler.compare.workload import Drive, Workload
from tests.support.compare import (
    BASE_METRICS,
    BIG_HOST,
    FAST_METRICS,
    IOTHREAD,
    MAINLOOP,
    OWN,
    SMALL_HOST,
    make_locks,
    make_plan,
    make_result,
    make_trials,
)


def test_a_clear_gain_is_named_with_factor_and_interval() -> None:
    verdict = build_verdict(make_result())
    assert verdict.decided
    assert verdict.sentence.startswith("Moving virtio-blk from mainloop to iothread pays: ")
    assert "1.5 times as many disk requests per second [1.45\N{EN DASH}1.54]" in verdict.sentence
    assert "a p99 of register reads that is 2.05 times shorter" in verdict.sentence
    assert "129 times less waiting of vCPUs for the BQL" in verdict.sentence
    assert set(verdict.candidates["iothread"].better) == set(BASE_METRICS)
    assert verdict.caveats == ()


def test_equal_placements_show_no_difference() -> None:
    verdict = build_verdict(make_result(BASE_METRICS))
    assert not verdict.decided
    assert "no difference that 5 trials can show" in verdict.sentence
    assert set(verdict.candidates["iothread"].undecided) == set(BASE_METRICS)


@pytest.mark.parametrize("neighbour", [127.0, 143.0, 159.0, 255.0, 287.0])
def test_a_quantile_one_histogram_bucket_away_is_no_finding(neighbour: float) -> None:
    """The ends of neighbouring buckets, each the same in all five trials."""
    ends = [111.0, 119.0, 127.0, 143.0, 159.0, 175.0, 239.0, 255.0, 287.0, 319.0]
    at = ends.index(neighbour)
    for other, found in ((ends[at - 1], False), (ends[at + 1], False), (2 * neighbour, True)):
        trials = [
            *make_trials(MAINLOOP, {"access_p99_us": neighbour}, [1.0] * 5),
            *make_trials(IOTHREAD, {"access_p99_us": other}, [1.0] * 5),
        ]
        verdict = build_verdict(build_result(make_plan(), BIG_HOST, trials))
        assert verdict.decided is found


def test_a_slower_candidate_is_called_worse() -> None:
    worse = {
        k: v / 2 if k in ("iops", "accesses_per_s") else v * 2 for k, v in BASE_METRICS.items()
    }
    verdict = build_verdict(make_result(worse))
    assert verdict.decided
    assert "makes things worse: 2 times fewer disk requests per second" in verdict.sentence
    assert "2 times more waiting of vCPUs" in verdict.sentence
    assert verdict.candidates["iothread"].better == ()


def test_gain_and_loss_are_both_told() -> None:
    verdict = build_verdict(make_result({**FAST_METRICS, "access_p99_us": 402.0}))
    assert "is mixed: " in verdict.sentence
    assert "but a p99 of register reads that is 2 times longer" in verdict.sentence


@pytest.mark.parametrize(
    ("base", "candidate", "words"),
    [
        (0.129, 0.0, "'vCPU waits for BQL' is zero now"),
        (0.0, 0.129, "'vCPU waits for BQL' was zero before"),
    ],
)
def test_a_wait_that_is_zero_on_one_side_is_said_without_a_factor(
    base: float, candidate: float, words: str
) -> None:
    trials = [
        *make_trials(MAINLOOP, {**BASE_METRICS, "vcpu_bql_wait_share": base}),
        *make_trials(IOTHREAD, {**BASE_METRICS, "vcpu_bql_wait_share": candidate}),
    ]
    assert words in build_verdict(build_result(make_plan(), BIG_HOST, trials)).sentence


def test_an_interval_open_at_the_top_says_so() -> None:
    trials = make_trials(MAINLOOP, BASE_METRICS)
    for index, trial in enumerate(make_trials(IOTHREAD, BASE_METRICS)):
        share = 0.0 if index < 2 else 0.01
        metrics = {**trial.metrics, "vcpu_bql_wait_share": share}
        trials.append(type(trial)(trial.slot, metrics, None))
    verdict = build_verdict(build_result(make_plan(), BIG_HOST, trials))
    assert "less waiting of vCPUs for the BQL [at least 12.6]" in verdict.sentence


def test_too_few_trials_decide_nothing() -> None:
    verdict = build_verdict(make_result(trials=4))
    assert not verdict.decided
    assert "4 trials cannot support a 95 % interval" in verdict.sentence
    assert verdict.candidates["iothread"].better == ()


def test_few_cpus_and_a_nested_host_are_caveats() -> None:
    caveats = " ".join(build_verdict(make_result(host=SMALL_HOST)).caveats)
    assert "4 threads shared 2 CPUs" in caveats
    assert "nested (kvm_pvm)" in caveats


def test_page_cache_missing_marks_qtest_and_no_recording_are_caveats() -> None:
    plan = Plan(OWN, (MAINLOOP, IOTHREAD), Workload(), Drive(Path("disk"), "writeback"), 5)
    whole = make_locks()
    whole = type(whole)(1e9, "whole", 2, 1.0, 1.0, 1.0)
    for locks, words in ((whole, "not marked"), (None, "No lock recording")):
        trials = [
            type(t)(t.slot, t.metrics, t.locks, {"name": "qtest"})
            for p in (MAINLOOP, IOTHREAD)
            for t in make_trials(p, BASE_METRICS, locks=locks)
        ]
        caveats = " ".join(build_verdict(build_result(plan, SMALL_HOST, trials)).caveats)
        assert "page cache" in caveats
        assert "No virtual CPU ran" in caveats
        assert words in caveats


def test_each_headline_has_both_phrases() -> None:
    assert [metric.key for metric in HEADLINES] == ["iops", "access_p99_us", "vcpu_bql_wait_share"]
    assert all("{r}" in metric.better and "{r}" in metric.worse for metric in HEADLINES)
