# SPDX-License-Identifier: GPL-2.0-or-later
"""The grammar of `--fail-if` and what its checks decide."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.compare.fail_if import OPERATORS, Check, FailIfError, evaluate, parse_checks
from profiler.compare.metrics import METRIC_KEYS
from profiler.compare.placement import Placement
from profiler.compare.result import build_result
from tests.support.compare import (
    BASE_METRICS,
    BIG_HOST,
    FAST_METRICS,
    IOTHREAD,
    MAINLOOP,
    make_plan,
    make_qemu_plan,
    make_result,
    make_trials,
)

TWO = (MAINLOOP, IOTHREAD)
THREE = (*TWO, Placement("iothread", "mainloop"))
SEVERAL = {"bqlscope": THREE, "qemu": TWO}


def parse_check(text: str, placements: Sequence[Placement]) -> Check:
    (check,) = parse_checks(text, {"bqlscope": placements})
    return check


@given(
    st.sampled_from(METRIC_KEYS),
    st.sampled_from(["mainloop.", "iothread.", "iothread/irq=mainloop.", "ratios.iothread."]),
    st.sampled_from(["", ".low", ".high"]),
    st.tuples(st.sampled_from(sorted(OPERATORS)), st.sampled_from(["", " "])),
    st.floats(-1e9, 1e9),
)
def test_every_well_formed_expression_is_taken(
    key: str, prefix: str, bound: str, sign_and_space: tuple[str, str], limit: float
) -> None:
    sign, space = sign_and_space
    check = parse_check(f"{space}{prefix}{key}{bound}{space}{sign}{space}{limit!r}", THREE)
    assert (check.metric, check.operator, check.limit) == (key, sign, limit)
    assert check.bound == (bound[1:] or None)
    assert f"{check.placement or f'ratios.{check.candidate}'}." == prefix


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iothread.iops",
        "iothread.iops=3",
        "iothread.iops>",
        "iothread.iops>>3",
        "iothread.iops>3>4",
        "iothread.iops>fast",
        "iothread.iops>nan",
        "iothread.iops>inf",
        "vcpu.iops>3",
        "iothread.iop>3",
        "iothread.iops.middle>3",
        "ratios.mainloop.iops>3",
    ],
)
def test_a_malformed_expression_is_refused(text: str) -> None:
    with pytest.raises(FailIfError):
        parse_check(text, TWO)


def test_a_misspelt_metric_gets_a_suggestion() -> None:
    with pytest.raises(FailIfError, match=r"did you mean 'iothread.access_p99_us'"):
        parse_check("iothread.acess_p99>5", TWO)


def test_the_flat_ratio_exists_with_two_placements_only() -> None:
    assert parse_check("ratios.iops>1", TWO).candidate == "iothread"
    with pytest.raises(FailIfError):
        parse_check("ratios.iops>1", THREE)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("mainloop.iops>251000", False),
        ("mainloop.iops>=251000", True),
        ("mainloop.iops<251000", False),
        ("mainloop.iops<=251000", True),
        ("mainloop.iops.low<251000", True),
        ("mainloop.iops.high>251000", True),
        ("ratios.iops<1.2", False),
        ("ratios.iops.high>1.2", True),
    ],
)
def test_a_check_fails_when_its_comparison_holds(text: str, failed: bool) -> None:
    outcome = evaluate(parse_check(text, TWO), make_result())
    assert outcome.failed is failed
    assert text in outcome.line()


def test_what_was_not_measured_fails() -> None:
    metrics = {key: value for key, value in BASE_METRICS.items() if key != "access_p99_us"}
    trials = [*make_trials(MAINLOOP, metrics), *make_trials(IOTHREAD, FAST_METRICS)]
    result = build_result(make_plan(), BIG_HOST, trials)
    for text in ("mainloop.access_p99_us>1", "ratios.access_p99_us<1"):
        outcome = evaluate(parse_check(text, TWO), result)
        assert outcome.failed
        assert "not measured" in outcome.line()


def test_an_unbounded_ratio_is_larger_than_any_limit() -> None:
    result = make_result({**FAST_METRICS, "vcpu_bql_wait_share": 0.0})
    outcome = evaluate(parse_check("ratios.vcpu_bql_wait_share>1e300", TWO), result)
    assert outcome.failed


@pytest.mark.parametrize(
    ("text", "vmms"),
    [
        ("iothread.iops>1", ["bqlscope", "qemu"]),
        ("ratios.iothread.iops.low<1", ["bqlscope", "qemu"]),
        ("qemu.iothread.iops>1", ["qemu"]),
        ("qemu.ratios.iops.high>1", ["qemu"]),
        ("bqlscope.ratios.iothread.iops>1", ["bqlscope"]),
        ("iothread/irq=mainloop.iops>1", ["bqlscope"]),
        ("ratios.iops<1", ["qemu"]),
    ],
)
def test_with_several_vmms_an_expression_is_about_all_that_have_it_or_the_one_named(
    text: str, vmms: list[str]
) -> None:
    assert [check.vmm for check in parse_checks(text, SEVERAL)] == vmms


def test_the_key_of_the_only_vmm_may_be_written() -> None:
    assert parse_check("bqlscope.iothread.iops>1", TWO).placement == "iothread"


def test_a_metric_of_a_vmm_that_does_not_run_is_refused() -> None:
    with pytest.raises(FailIfError, match="did you mean"):
        parse_checks("qemu.iothread/irq=mainloop.iops>1", SEVERAL)
    with pytest.raises(FailIfError):
        parse_check("qemu.iothread.iops>1", TWO)


def test_the_line_of_a_check_can_name_its_vmm() -> None:
    (check,) = parse_checks("qemu.iothread.iops>1", SEVERAL)
    result = make_result(plan=make_qemu_plan())
    assert evaluate(check, result).line_with_vmm().startswith("qemu.iothread.iops>1 (qemu): value")
