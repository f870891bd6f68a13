# SPDX-License-Identifier: GPL-2.0-or-later
import os
from pathlib import Path

import pytest

from profiler import cli
from profiler.reports.hosts import host_facts
from tests.support.compare import make_qemu_plan, make_result
from tests.support.pages import Parsed
from tests.support.reports import busy, recording, save_comparison

Capture = pytest.CaptureFixture[str]


def report(capsys: Capture, *arguments: str | Path, status: int = 0) -> str:
    assert cli.main(["report", *map(str, arguments)]) == status
    shown = capsys.readouterr()
    return shown.err if status else shown.out


def test_a_report_is_written_and_its_verdict_printed(capsys: Capture, tmp_path: Path) -> None:
    target = tmp_path / "vm.html"
    out = report(capsys, recording(tmp_path), "-o", target)
    assert out.startswith(f"{target} (")
    assert "The big lock is a serious bottleneck of this VM" in out
    assert Parsed(target.read_text(encoding="utf-8")).all("h1")


def test_a_dash_is_standard_output(capsys: Capture, tmp_path: Path) -> None:
    out = report(capsys, recording(tmp_path), "-o", "-")
    assert out.startswith("<!doctype html>")
    Parsed(out)


def test_the_default_is_a_file_here(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report(capsys, recording(tmp_path))
    assert (tmp_path / "report.html").exists()


def test_what_cannot_be_read_or_written_is_told_in_one_line(
    capsys: Capture, tmp_path: Path
) -> None:
    assert "no such file" in report(capsys, tmp_path / "none.bql", status=2)
    error = report(capsys, recording(tmp_path), "-o", tmp_path / "no/r.html", status=2)
    assert "there is no directory" in error
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there is no compare.json" in report(capsys, empty, status=2)
    events = tmp_path / "vm.events"
    events.write_bytes(b"BQLEVT1\0 and more")
    assert "this program reads version 1" in report(capsys, events, status=2)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".html")]


def test_a_saved_comparison_has_verdict_metrics_and_each_placement(
    capsys: Capture, tmp_path: Path
) -> None:
    parsed = Parsed(report(capsys, save_comparison(tmp_path), "-o", "-"))
    seen = parsed.seen()
    assert "Moving virtio-blk from mainloop to iothread pays: 1.5 times as many disk" in seen
    rows = {row[0]: row[1:] for row in parsed.rows("iothread against mainloop")}
    assert rows["disk requests, k/s"] == [
        "251 [246\N{EN DASH}259]",
        "376 [368\N{EN DASH}387]",
        "+1.5 [1.45\N{EN DASH}1.54]",
    ]
    titles = [heading.text for heading in parsed.all("h2")]
    assert titles == [
        "What the guest got",
        "How long threads wait, and hold",
        "In mainloop: who makes whom wait",
        "In iothread: who makes whom wait",
        "How it was measured",
        "What was not measured",
        "Host",
    ]
    assert "Sums of 5 trials." in seen
    assert parsed.rows("Waiters and holders by place")[0][:3] == ["CPU 1", "main loop", "200 ms"]


def test_the_trials_are_points_of_the_plot(capsys: Capture, tmp_path: Path) -> None:
    parsed = Parsed(report(capsys, save_comparison(tmp_path), "-o", "-"))
    plot = next(
        svg
        for svg in parsed.all("svg")
        if "251 [246\N{EN DASH}259] k/s" in (svg.attributes.get("aria-label") or "")
    )
    trials = [part for part in plot.children if "trial" in part.classes]
    medians = [part for part in plot.children if "median" in part.classes]
    assert (len(trials), len(medians)) == (10, 2)


def test_several_vmms_stand_side_by_side(capsys: Capture, tmp_path: Path) -> None:
    results = [make_result(), make_result(plan=make_qemu_plan())]
    parsed = Parsed(report(capsys, save_comparison(tmp_path, results), "-o", "-"))
    titles = [heading.text for heading in parsed.all("h2")]
    assert "In QEMU iothread: who makes whom wait" in titles
    assert parsed.rows("QEMU: iothread against mainloop")
    seen = parsed.seen()
    assert "bqlscope: Moving virtio-blk" in seen
    assert "QEMU: Moving virtio-blk" in seen
    assert "The VMMs differ in interrupt path" in seen


def test_a_comparison_without_recordings_says_so(capsys: Capture, tmp_path: Path) -> None:
    directory = save_comparison(tmp_path, recordings=False)
    for source in (directory, directory / "compare.json"):
        seen = Parsed(report(capsys, source, "-o", "-")).seen()
        assert "The recordings of its trials are not beside the result." in seen
        assert "1.5 times as many disk" in seen


def test_a_damaged_recording_of_a_trial_is_left_out_and_named(
    capsys: Capture, tmp_path: Path
) -> None:
    directory = save_comparison(tmp_path)
    (directory / "mainloop-trial3-recording.bql").write_bytes(b"nonsense")
    seen = Parsed(report(capsys, directory, "-o", "-")).seen()
    assert "A recording cannot be used:" in seen
    assert "Sums of 4 trials." in seen


def test_the_host_of_a_comparison_is_the_one_it_ran_on(capsys: Capture, tmp_path: Path) -> None:
    facts = Parsed(report(capsys, save_comparison(tmp_path), "-o", "-")).facts()
    assert facts["Kernel"] == "Linux 6.18.0"
    assert facts["CPU"] == "unknown model, 8 of them usable, x86_64"


def test_host_facts_need_nothing_to_be_there(tmp_path: Path) -> None:
    facts = dict(host_facts(tmp_path))
    assert facts["CPU"].startswith("unknown model, ")
    assert facts["KVM"] == "/dev/kvm does not open here"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nmodel name\t: A <CPU>\n")
    assert dict(host_facts(tmp_path))["CPU"].startswith("A <CPU>, ")


def test_a_recording_beside_its_window_copies_of_another_process_is_used_whole(
    capsys: Capture, tmp_path: Path
) -> None:
    path = recording(tmp_path)
    for mark in ("begin", "end"):
        busy(pid=7).write(tmp_path / f"vm.bql.{mark}")
    facts = Parsed(report(capsys, path, "-o", "-")).facts()
    assert facts["Part"] == "the whole recording"
