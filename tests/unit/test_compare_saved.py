# SPDX-License-Identifier: GPL-2.0-or-later
import json
from pathlib import Path
from typing import Any

import pytest

from profiler.compare.placement import Placement, PlanError
from profiler.compare.result import Result, to_json
from profiler.compare.saved import PastVmm, is_comparison, load_comparison
from profiler.compare.verdict import build_verdict
from profiler.errors import UserError
from tests.support.compare import (
    MICROVM,
    Q35,
    make_plan,
    make_qemu_plan,
    make_result,
)
from tests.support.reports import save_comparison

DATE = "2026-11-25T15:12:49+00:00"


def saved_file(tmp_path: Path, result: Result | None = None, **changes: Any) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(to_json(result or make_result(), DATE) | changes))
    return path


@pytest.mark.parametrize(
    "result",
    [
        make_result(),
        make_result(plan=make_qemu_plan(vmm=MICROVM)),
        make_result(plan=make_qemu_plan(vmm=Q35)),
        make_result(
            plan=make_plan([Placement("mainloop"), Placement("iothread", "mainloop", "irqfd")])
        ),
        make_result(plan=make_plan([Placement("mainloop", "none"), Placement("iothread", "none")])),
        make_result(trials=2),
    ],
)
def test_a_result_comes_back_as_it_was_written(tmp_path: Path, result: Result) -> None:
    (loaded,) = load_comparison(saved_file(tmp_path, result)).results
    assert to_json(loaded, DATE) == to_json(result, DATE)
    assert build_verdict(loaded).to_json() == build_verdict(result).to_json()


def test_several_vmms_come_back_in_their_order(tmp_path: Path) -> None:
    saved = load_comparison(
        save_comparison(
            tmp_path, [make_result(), make_result(plan=make_qemu_plan())], recordings=False
        )
    )
    assert saved.several
    assert [result.plan.vmm.identity.title for result in saved.results] == ["bqlscope", "QEMU"]


def test_the_date_is_shown_for_people_and_nonsense_as_it_is(tmp_path: Path) -> None:
    assert load_comparison(saved_file(tmp_path)).when == "2026-11-25 15:12 UTC"
    assert load_comparison(saved_file(tmp_path, date="<soon>")).when == "<soon>"


def test_directories_and_json_files_are_comparisons(tmp_path: Path) -> None:
    assert is_comparison(tmp_path)
    assert is_comparison(saved_file(tmp_path))
    assert not is_comparison(tmp_path / "missing.json")
    assert not is_comparison(tmp_path / "vm.bql")


def test_a_directory_without_a_comparison_says_what_would_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no compare\.json; `bqlscope compare --save"):
        load_comparison(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "is not an object"),
        ("{}", "'schema' is missing"),
        ('{"schema": 2}', "has schema 2, this bqlscope reads 1"),
        ('{"schema": true}', "'schema' is not a number"),
        ('{"schema": 1, "vmms": {}}', "'vmms' is empty"),
        ('{"schema": 1, "vmms": []}', "'vmms' is not an object"),
    ],
)
def test_what_is_no_document_is_refused_in_one_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "compare.json"
    path.write_text(text)
    with pytest.raises(UserError, match=problem) as caught:
        load_comparison(tmp_path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("host", "cpus"), "two"),
        (("host", "cpus"), 1.5),
        (("host", "kvm"), 1),
        (("host", "accel"), []),
        (("workload", "smp"), -1),
        (("workload", "rw"), "erase"),
        (("workload", "trials"), 0),
        (("baseline",), "nowhere"),
        (("vmm", "name"), 7),
        (("vmm", "arguments"), "words"),
        (("placements",), {}),
        (("placements", "mainloop", "config", "kind"), "iothread"),
        (("placements", "mainloop", "iops", "trials"), [1, "2"]),
        (("placements", "mainloop", "iops", "trials"), [float("nan")]),
        (("placements", "mainloop", "iops", "trials"), [10**400]),
        (("blame", "mainloop"), [{"waiter": "CPU 0"}]),
        (("blame",), {}),
    ],
)
def test_every_wrong_value_is_refused_in_one_line(
    tmp_path: Path, keys: tuple[str, ...], value: Any
) -> None:
    document = to_json(make_result(), DATE)
    part = document
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError) as caught:
        load_comparison(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_metric_that_a_document_lacks_was_not_measured(tmp_path: Path) -> None:
    document = to_json(make_result(), DATE)
    for placement in document["placements"].values():
        del placement["iops"]
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    (loaded,) = load_comparison(path).results
    assert loaded.estimates["mainloop"]["iops"].median is None


def test_a_past_vmm_cannot_be_run_again() -> None:
    past = PastVmm(MICROVM.identity)
    with pytest.raises(PlanError, match="cannot be run again"):
        past.placements((), ())
