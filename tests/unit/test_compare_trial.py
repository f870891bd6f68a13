# SPDX-License-Identifier: GPL-2.0-or-later
"""A child's files become numbers, or one clear line."""

import contextlib
import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.compare.locks import LockFigures
from profiler.compare.plan import Slot
from profiler.compare.trial import (
    TrialError,
    guest_metrics,
    load_document,
    lock_metrics,
    read_trial,
)
from tests.support.compare import MAINLOOP, make_locks
from tests.support.fake_vmm import guest_line

SLOT = Slot(0, 0, MAINLOOP)


def document(**changes: Any) -> dict[str, Any]:
    return {
        "accel": {"name": "kvm"},
        "host": {},
        "guest": guest_line(False),
        "recording": "x",
        "guest_status": 0,
        "window": {"start_ns": 5, "end_ns": 1_000_000_005},
        **changes,
    }


def read(tmp_path: Path, content: Any, seen: list[float | None] | None = None) -> Any:
    def read_locks(_recording: Path, window_ns: float | None) -> LockFigures:
        if seen is not None:
            seen.append(window_ns)
        return make_locks()

    output = tmp_path / "out.json"
    output.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_trial(SLOT, load_document(output), tmp_path / "rec", read_locks)


def test_guest_and_lock_figures_are_converted_to_the_units_of_their_names(tmp_path: Path) -> None:
    seen: list[float | None] = []
    trial = read(tmp_path, document(), seen)
    assert trial.metrics == {
        "iops": 251_000,
        "blk_lat_p50_us": 118,
        "blk_lat_p99_us": 240,
        "access_p50_us": 40,
        "access_p99_us": 200,
        "access_max_us": 900,
        "accesses_per_s": 18_000,
        "vcpu_bql_wait_share": pytest.approx(0.129),
        "mainloop_bql_hold_share": pytest.approx(0.8),
        "mainloop_hold_p99_us": 97,
    }
    assert seen == [1_000_000_000]


def test_without_register_reads_only_the_disk_is_reported() -> None:
    line = guest_line(False)
    line["access"] = {"total": {"reads": 0}}
    assert set(guest_metrics(line)) == {"iops", "blk_lat_p50_us", "blk_lat_p99_us"}


def test_without_a_recording_there_are_no_lock_figures(tmp_path: Path) -> None:
    trial = read(tmp_path, document(recording=None))
    assert trial.locks is None
    assert "vcpu_bql_wait_share" not in trial.metrics


def test_shares_need_a_window_and_vcpus() -> None:
    assert lock_metrics(LockFigures(0, "whole", 2, 1, 1, None)) == {}
    assert lock_metrics(LockFigures(10, "whole", 0, 1, 1, None)) == {"mainloop_bql_hold_share": 0.1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[]", "not a JSON object"),
        (document(guest_status=9), "status 9"),
        (document(guest={}), "no disk result"),
        (document(guest=[1]), "'guest' is not an object"),
        (document(guest={"blk": {"errors": 3}}), "3 disk errors"),
        (document(guest={"blk": {"errors": True}}), "guest.blk.errors' is not a number"),
        (document(guest={"blk": {"errors": -1}}), "out of range"),
        (document(guest={"blk": {"errors": float("nan")}}), "out of range"),
        (document(window={"start_ns": 5, "end_ns": 5}), "window ends before"),
    ],
)
def test_a_broken_result_is_one_line(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(TrialError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_missing_result_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="wrote no result"):
        load_document(tmp_path / "none")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
PATHS = st.sampled_from(
    [
        ("blk",),
        ("blk", "lat_ns"),
        ("blk", "iops"),
        ("blk", "errors"),
        ("access",),
        ("access", "total"),
    ]
)


@given(PATHS, JSON)
def test_whatever_replaces_a_part_of_the_guest_line_only_a_trial_error_comes_out(
    path: tuple[str, ...], value: object
) -> None:
    line: Any = copy.deepcopy(guest_line(False))
    place = line
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with contextlib.suppress(TrialError):
        assert all(0 <= number < math.inf for number in guest_metrics(line).values())
