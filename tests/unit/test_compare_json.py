# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON document and its description have the same keys."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profiler.commands.compare_output import build_document
from profiler.compare.fail_if import evaluate, parse_checks
from profiler.compare.metrics import METRIC_KEYS
from profiler.compare.placement import Placement
from profiler.compare.result import Result, build_result
from profiler.compare.verdict import build_verdict
from tests.support.compare import (
    BASE_METRICS,
    BIG_HOST,
    FAST_METRICS,
    IOTHREAD,
    MAINLOOP,
    MICROVM,
    SMALL_HOST,
    make_locks,
    make_plan,
    make_qemu_plan,
    make_result,
    make_trials,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "compare-json.md"
IN_QEMU = make_qemu_plan()
WITH_ARGUMENTS = replace(MICROVM, arguments=("-cpu", "host"))
OPAQUE = ("host.accel", "host.vmm_host")
PLACEMENTS = ("mainloop", "iothread", "iothread/irq=mainloop")


def document(*results: Result) -> dict[str, Any]:
    by_vmm = {result.plan.key: result for result in results}
    placements = {key: result.plan.placements for key, result in by_vmm.items()}
    checks = parse_checks("iothread.iops>1", placements)
    outcomes = [evaluate(check, by_vmm[check.vmm]) for check in checks]
    produced = build_document([(r, build_verdict(r)) for r in results], outcomes)
    again: dict[str, Any] = json.loads(json.dumps(produced, allow_nan=False))
    return again


def three_placements() -> Result:
    third = Placement("iothread", "mainloop")
    trials = [
        *make_trials(MAINLOOP, BASE_METRICS, locks=make_locks()),
        *make_trials(IOTHREAD, FAST_METRICS, locks=make_locks()),
        *make_trials(third, FAST_METRICS, locks=make_locks()),
    ]
    return build_result(make_plan((MAINLOOP, IOTHREAD, third)), BIG_HOST, trials)


def leaves(value: Any, path: str = "") -> set[str]:
    """Paths of all scalars, variable parts replaced by the names the description uses."""
    if path in OPAQUE:
        return {f"{path}.*"}
    if isinstance(value, dict):
        found = set()
        for key, inner in value.items():
            if key in METRIC_KEYS:
                name = "<metric>"
            elif key in PLACEMENTS:
                above = path.partition(".")[0]
                name = "<candidate>" if above in ("ratios", "verdict") else "<placement>"
            else:
                name = key
            found |= leaves(inner, f"{path}.{name}" if path else name)
        return found
    if isinstance(value, list):
        return set().union(*(leaves(inner, f"{path}[]") for inner in value))
    return {path}


def described() -> set[str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    first_table = text.partition("## Several VMMs")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", first_table, re.MULTILINE))


def test_every_key_is_described_and_every_described_key_exists() -> None:
    produced = document(make_result(host=SMALL_HOST))
    extra = document(make_result({**FAST_METRICS, "iops": 1.0}))  # for the list `worse`
    equal = document(make_result({**FAST_METRICS, "iops": BASE_METRICS["iops"]}))
    qemu = document(make_result(plan=make_plan(IN_QEMU.placements, vmm=WITH_ARGUMENTS)))
    found = set().union(*(leaves(one) for one in (produced, extra, equal, qemu)))
    assert found == described()


def test_several_vmms_have_a_document_each_under_their_keys() -> None:
    own, qemu = make_result(), make_result(plan=IN_QEMU)
    both = document(own, qemu)
    assert set(both) == {"schema", "vmms"}
    assert list(both["vmms"]) == ["bqlscope", "qemu"]
    for key, result in (("bqlscope", own), ("qemu", qemu)):
        alone = document(result)
        assert {**both["vmms"][key], "date": ""} == {**alone, "date": ""}
        assert leaves(both["vmms"][key]) <= described()
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"`{key}`" in text for key in ("vmms", *both["vmms"]))


def test_a_vmm_says_what_it_is() -> None:
    assert document(make_result(plan=IN_QEMU))["vmm"] == {
        "name": "qemu",
        "version": "10.0.2",
        "transport": "virtio-mmio",
        "machine": "microvm",
        "program": "/opt/qemu-10",
        "package": "Debian 1:10.0.2",
        "arguments": [],
    }
    assert document(make_result())["vmm"]["machine"] is None
    assert document(make_result(plan=IN_QEMU))["workload"]["drive"]["aio"] == "native"


def test_the_metrics_are_described() -> None:
    second_table = DOCUMENT.read_text(encoding="utf-8").partition("## Metric keys")[2]
    assert tuple(re.findall(r"^\| `(\w+)` \|", second_table, re.MULTILINE)) != ()
    assert set(re.findall(r"^\| `(\w+)` \|", second_table, re.MULTILINE)) == set(METRIC_KEYS)


def test_ratios_are_flat_with_two_placements_only() -> None:
    two, three = document(make_result()), document(three_placements())
    assert two["ratios"]["iops"] == two["ratios"]["iothread"]["iops"]
    assert set(three["ratios"]) == {"iothread", "iothread/irq=mainloop"}
    assert leaves(three) <= described()


def test_infinity_becomes_null_and_unbounded_with_a_lower_bound() -> None:
    result = make_result({**FAST_METRICS, "vcpu_bql_wait_share": 0.0})
    ratio = document(result)["ratios"]["vcpu_bql_wait_share"]
    assert ratio == {
        "median": None,
        "ci95": [None, None],
        "unbounded": True,
        "of": "baseline/candidate",
    }


def test_a_bounded_lower_end_is_kept_when_the_upper_is_infinite() -> None:
    trials = make_trials(MAINLOOP, BASE_METRICS)
    for index, trial in enumerate(make_trials(IOTHREAD, BASE_METRICS)):
        metrics = {**trial.metrics, "vcpu_bql_wait_share": 0.0 if index < 2 else 0.01}
        trials.append(type(trial)(trial.slot, metrics, None))
    produced = document(build_result(make_plan(), BIG_HOST, trials))
    ratio = produced["ratios"]["vcpu_bql_wait_share"]
    assert ratio["unbounded"]
    assert ratio["median"] == pytest.approx(12.9)
    assert ratio["ci95"] == [pytest.approx(12.642), None]


def test_the_document_holds_nulls_for_missing_metrics() -> None:
    metrics = {"iops": 3.0}
    trials = [t for p in (MAINLOOP, IOTHREAD) for t in make_trials(p, metrics)]
    again = document(build_result(make_plan(), BIG_HOST, trials))
    assert again["placements"]["mainloop"]["access_p99_us"] == {
        "median": None,
        "ci95": None,
        "trials": [],
    }
    assert again["ratios"]["access_p99_us"]["median"] is None
    assert again["window"] is None


def test_blame_shares_of_a_placement_add_up_to_one() -> None:
    pairs = document(make_result())["blame"]["mainloop"]
    assert sum(pair["share"] for pair in pairs) == pytest.approx(1)
    assert [pair["wait_ns"] for pair in pairs] == sorted(
        (pair["wait_ns"] for pair in pairs), reverse=True
    )
