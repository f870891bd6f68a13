# SPDX-License-Identifier: GPL-2.0-or-later
import json
from pathlib import Path
from typing import Any

import pytest

from profiler import cli
from profiler.commands.diff import change_factor
from profiler.compare.metrics import ONE_BUCKET
from profiler.layout import Role
from tests.support.compare import (
    BASE_METRICS,
    BIG_HOST,
    FAST_METRICS,
    SMALL_HOST,
    make_plan,
    make_qemu_plan,
    make_result,
)
from tests.support.recordings import RecordingBuilder
from tests.support.reports import MS, busy, save_comparison

Capture = pytest.CaptureFixture[str]


def diff(capsys: Capture, *arguments: str | Path, status: int = 0) -> str:
    assert cli.main(["diff", *map(str, arguments)]) == status
    shown = capsys.readouterr()
    return shown.err if status else shown.out


def twice_as_long() -> RecordingBuilder:
    """What `busy` does twice in twice the time, and then a long sleep of nobody."""
    build = busy()
    poll, disk = 1, 3
    for _ in range(10):
        build.acquire(0, poll, hold=3 * MS)
        build.acquire(2, disk, hold=2_000, blame=[(0, poll, 4 * MS)], handoff=500_000)
    build.sync()
    return build


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return busy().write(tmp_path / "a.bql"), twice_as_long().write(tmp_path / "b.bql")


def test_recordings_of_other_lengths_are_compared_by_rates(
    capsys: Capture, files: tuple[Path, Path]
) -> None:
    document = json.loads(diff(capsys, *files, "--json", "-"))
    main = next(change for change in document["roles"] if change["role"] == "main")
    length_a, length_b = (document[side]["interval_ns"] for side in ("a", "b"))
    assert main["a"]["hold_share"] == pytest.approx(30 * MS / length_a)
    assert main["b"]["hold_share"] == pytest.approx(60 * MS / length_b)
    assert main["a"]["acquisitions_per_s"] == pytest.approx(10 / (length_a / 1e9))
    assert length_b == pytest.approx(2 * length_a, rel=0.05)


def test_the_largest_changes_come_first(capsys: Capture, tmp_path: Path) -> None:
    build = busy()
    build.acquire(0, 1, hold=2 * MS)
    build.acquire(1, 2, hold=40 * MS)
    build.sync()
    other = build.write(tmp_path / "b.bql")
    document = json.loads(diff(capsys, busy().write(tmp_path / "a.bql"), other, "--json", "-"))
    assert document["sites"][0]["site"] == "serial"
    weights = [
        sum(abs(c["b"][k] - c["a"][k]) for k in ("wait_share", "hold_share"))
        for c in document["sites"]
    ]
    assert weights == sorted(weights, reverse=True)


def test_the_page_has_80_columns_three_lines_a_row_and_its_caveats(
    capsys: Capture, files: tuple[Path, Path]
) -> None:
    out = diff(capsys, *files)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert max(map(len, out.splitlines())) <= 80
    at = lines.index("main loop")
    assert lines[at + 1].startswith("A 129 ")
    assert lines[at + 2].startswith("B ")
    assert lines[at + 3].startswith("change ")
    text = " ".join(out.split())
    assert "Two single recordings have no interval" in text
    assert "A is 77.3 ms long, B 153 ms" in text
    assert "\x1b[" not in out


def test_a_recording_and_itself_do_not_differ(capsys: Capture, tmp_path: Path) -> None:
    path = busy().write(tmp_path / "a.bql")
    out = diff(capsys, path, path)
    changes = [line.split()[1:] for line in out.splitlines() if line.startswith("  change")]
    assert changes == [["="] * 5] * len(changes)
    assert changes


def test_sites_of_one_side_only_are_new_or_gone_and_counted(
    capsys: Capture, tmp_path: Path
) -> None:
    build = busy()
    build.acquire(0, build.site("new.c", 5, "fresh"), hold=MS)
    build.sync()
    paths = busy().write(tmp_path / "a.bql"), build.write(tmp_path / "b.bql")
    assert "0 call sites only in A, 1 only in B" in " ".join(diff(capsys, *paths).split())
    assert "gone" in diff(capsys, *reversed(paths))


def test_sites_are_limited(capsys: Capture, files: tuple[Path, Path]) -> None:
    assert "more call sites, see --sites: 2" in diff(capsys, *files, "--sites", "1")
    assert "call site" not in diff(capsys, *files, "--sites", "0")


def test_what_makes_recordings_incomparable_is_said(capsys: Capture, tmp_path: Path) -> None:
    build = busy()
    build.header["process_name"] = b"bqlscope"
    build.header["rows_lost"] = 3
    build.row(2, 3)["wait_total"] += 5
    build.thread(Role.VCPU, "CPU 2/KVM")
    paths = busy().write(tmp_path / "a.bql"), build.write(tmp_path / "b.bql")
    text = " ".join(diff(capsys, *paths).split())
    assert "A is of qemu-system-x86, B of bqlscope" in text
    assert "A has 2 vCPUs, B 3" in text
    assert "B does not add up" in text
    assert "B had no room for everything" in text


def test_an_empty_recording_is_compared_without_a_number(capsys: Capture, tmp_path: Path) -> None:
    empty = RecordingBuilder().write(tmp_path / "empty.bql")
    out = diff(capsys, empty, busy().write(tmp_path / "b.bql"))
    assert "new" in out


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (1, 1, "="),
        (0, 3, "from 0"),
        (3, 0, "to 0"),
        (2, 5, "×2.5"),
        (22, 2, "÷11"),
        (100, 100.1, "="),
    ],
)
def test_factors_say_which_way(before: float, after: float, text: str) -> None:
    assert change_factor(before, after) == text


def test_quantiles_of_neighbouring_buckets_are_the_same() -> None:
    assert change_factor(100, 112, ONE_BUCKET) == "="
    assert change_factor(100, 114, ONE_BUCKET) == "×1.14"


def comparisons(tmp_path: Path, *results: Any) -> list[Path]:
    paths = []
    for name, result in zip("ab", results, strict=True):
        directory = tmp_path / name
        directory.mkdir()
        paths.append(save_comparison(directory, [result], recordings=False))
    return paths


def test_comparisons_get_ratios_with_intervals_decided_ones_first(
    capsys: Capture, tmp_path: Path
) -> None:
    faster = {**FAST_METRICS, "iops": FAST_METRICS["iops"] * 2}
    paths = comparisons(tmp_path, make_result(), make_result(faster))
    document = json.loads(diff(capsys, *paths, "--json", "-"))
    iothread = next(p for p in document["placements"] if p["placement"] == "iothread")
    assert next(iter(iothread["metrics"])) == "iops"
    iops = iothread["metrics"]["iops"]
    assert iops["decided"]
    assert iops["times_better"]["value"] == pytest.approx(2)
    assert iops["times_better"]["low"] > 1.8
    others = [m["decided"] for key, m in iothread["metrics"].items() if key != "iops"]
    assert not any(others)
    out = diff(capsys, *paths)
    assert max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    assert "iothread: B is better in disk requests." in text
    assert "mainloop: no difference that the trials can show." in text
    assert "A and B were not interleaved" in text


def test_less_latency_is_better_and_more_is_worse(capsys: Capture, tmp_path: Path) -> None:
    slow = {**FAST_METRICS, "access_p99_us": FAST_METRICS["access_p99_us"] * 3}
    text = " ".join(diff(capsys, *comparisons(tmp_path, make_result(), make_result(slow))).split())
    assert "iothread: B is worse in register read p99." in text


def test_gains_within_each_are_side_by_side(capsys: Capture, tmp_path: Path) -> None:
    paths = comparisons(tmp_path, make_result(), make_result(BASE_METRICS))
    document = json.loads(diff(capsys, *paths, "--json", "-"))
    gain = next(g for g in document["gains"] if g["metric"] == "iops")
    assert gain["a"]["value"] == pytest.approx(FAST_METRICS["iops"] / BASE_METRICS["iops"])
    assert gain["b"]["value"] == pytest.approx(1)


def test_few_trials_decide_nothing(capsys: Capture, tmp_path: Path) -> None:
    faster = {**FAST_METRICS, "iops": FAST_METRICS["iops"] * 2}
    paths = comparisons(tmp_path, make_result(), make_result(faster, trials=3))
    text = " ".join(diff(capsys, *paths).split())
    assert "3 trials cannot support a 95 % interval" in text
    assert "iothread: no difference that the trials can show." in text


def test_other_settings_are_named(capsys: Capture, tmp_path: Path) -> None:
    one = make_result(host=BIG_HOST)
    other = make_result(host=SMALL_HOST, plan=make_plan(smp=4))
    text = " ".join(diff(capsys, *comparisons(tmp_path, one, other)).split())
    assert "A and B differ in vCPUs (2 against 4); CPUs (8 against 2)." in text


def test_things_that_cannot_be_compared_are_refused(capsys: Capture, tmp_path: Path) -> None:
    path = busy().write(tmp_path / "a.bql")
    own, qemu = comparisons(tmp_path, make_result(), make_result(plan=make_qemu_plan()))
    assert "one is a comparison, the other a recording" in diff(capsys, path, own, status=2)
    assert "have no VMM and placement in common" in diff(capsys, own, qemu, status=2)
    assert "no such file" in diff(capsys, path, tmp_path / "none.bql", status=2)
