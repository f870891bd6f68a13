# SPDX-License-Identifier: GPL-2.0-or-later
"""Every law is seen to hold, to break, and to tolerate what a kill leaves behind."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from profiler import cli
from profiler.check import LAWS, Report, Verdict, check_snapshot
from profiler.layout import FileState, Hist
from profiler.model import Blocked, Integrity, Snapshot
from profiler.reader import Recording
from tests.support.recordings import RecordingBuilder, example

Damage = Callable[[RecordingBuilder], None]


def snap(build: RecordingBuilder, folder: Path) -> Snapshot:
    with Recording.open(build.write(folder / "r.bql")) as recording:
        return recording.snapshot(events=True)


def check_path(path: Path) -> Report:
    with Recording.open(path) as recording:
        return check_snapshot(recording.snapshot(events=True))


def violated(report: Report) -> set[str]:
    return {check.law for check in report.checks if check.verdict is Verdict.VIOLATED}


def test_a_good_recording_keeps_every_law(tmp_path: Path) -> None:
    report = check_snapshot(snap(example(), tmp_path))
    assert report.ok
    assert {check.law for check in report.checks} == set(LAWS)
    assert {check.verdict for check in report.checks} == {Verdict.HOLDS}


def one_hold_sample_more(build: RecordingBuilder) -> None:
    build.count(build.row_number(0, 1), Hist.HOLD, bucket=0)


def one_wait_sample_less(build: RecordingBuilder) -> None:
    row = build.row(2, 2)
    build.count(build.row_number(2, 2), Hist.WAIT, row["near"][0, Hist.WAIT].argmax(), count=-1)


def one_contended_less(build: RecordingBuilder) -> None:
    build.row(2, 2)["contended"] -= 1


def one_contended_more_than_all(build: RecordingBuilder) -> None:
    build.row(2, 2)["contended"] += 1


def one_tick_of_blame_less(build: RecordingBuilder) -> None:
    build.blame[2]["ticks"][0] -= 1


def one_event_less(build: RecordingBuilder) -> None:
    build.threads["events_head"][2] -= 1


def an_event_one_tick_longer(build: RecordingBuilder) -> None:
    build.events[2]["hold"][3] += 1


def an_event_that_waited_less(build: RecordingBuilder) -> None:
    build.events[2]["wait"][3] -= 1


def a_hold_sum_beyond_its_histogram(build: RecordingBuilder) -> None:
    build.row(0, 1)["hold_total"] += 23 * 7_000 // 8


def a_wait_sum_beyond_its_histogram(build: RecordingBuilder) -> None:
    build.row(1, 3)["wait_total"] += 5 * 1_009 // 4


def a_sleep_longer_than_all_holds(build: RecordingBuilder) -> None:
    row = build.row(1, 3)
    row["blocked_ticks"][0][Blocked.DRAIN] = row["hold_total"][0] + 1


def one_request_more(build: RecordingBuilder) -> None:
    build.queues["requests"][0][0] += 1


def durations_beyond_their_histogram(build: RecordingBuilder) -> None:
    build.queues["duration_total"][0] *= 2


def holds_longer_than_the_time(build: RecordingBuilder) -> None:
    build.acquire(0, 1, hold=3_000_000)
    build.now -= 3_000_000
    build.acquire(2, 2, hold=3_000_000)


BROKEN: list[tuple[Damage, set[str]]] = [
    (one_hold_sample_more, {"hold-histogram"}),
    (one_wait_sample_less, {"wait-histogram", "wait-sum"}),
    (one_contended_less, {"wait-histogram"}),
    (one_contended_more_than_all, {"contended"}),
    (one_tick_of_blame_less, {"blame"}),
    (one_event_less, {"events", "event-hold", "event-wait"}),
    (an_event_one_tick_longer, {"event-hold"}),
    (an_event_that_waited_less, {"event-wait"}),
    (a_hold_sum_beyond_its_histogram, {"hold-sum", "event-hold"}),
    (a_wait_sum_beyond_its_histogram, {"wait-sum", "blame", "event-wait"}),
    (a_sleep_longer_than_all_holds, {"blocked"}),
    (one_request_more, {"requests"}),
    (durations_beyond_their_histogram, {"duration-sum"}),
    (holds_longer_than_the_time, {"wall-time"}),
]


@pytest.mark.parametrize(("damage", "laws"), BROKEN)
def test_a_broken_law_is_found_and_named(tmp_path: Path, damage: Damage, laws: set[str]) -> None:
    build = example()
    damage(build)
    assert violated(check_snapshot(snap(build, tmp_path))) == laws


def test_every_law_is_broken_by_some_damage() -> None:
    assert set().union(*(laws for _, laws in BROKEN)) == set(LAWS)


def tear(build: RecordingBuilder) -> None:
    build.threads["seq"][2] = 5
    build.row(2, 2)["seq"] = 5


TEARABLE = [
    one_wait_sample_less,
    one_contended_less,
    one_contended_more_than_all,
    one_tick_of_blame_less,
    one_event_less,
    an_event_one_tick_longer,
    an_event_that_waited_less,
    a_wait_sum_beyond_its_histogram,
    a_sleep_longer_than_all_holds,
]


@pytest.mark.parametrize("damage", TEARABLE)
def test_a_torn_row_may_miss_one_acquisition(tmp_path: Path, damage: Damage) -> None:
    build = example()
    damage(build)
    tear(build)
    build.threads["seq"][1] = build.row(1, 3)["seq"] = 3
    report = check_snapshot(snap(build, tmp_path))
    assert report.ok
    assert report.count(Verdict.TOLERATED) >= 1
    assert report.torn_threads == ("CPU 0/KVM", "CPU 1/KVM")


def test_a_torn_histogram_may_miss_a_carry(tmp_path: Path) -> None:
    build = example()
    tear(build)
    build.row(2, 2)["acquisitions"][0, 0] += 1 << 16
    build.threads["events_lost"][2] += 1 << 16
    report = check_snapshot(snap(build, tmp_path))
    tolerated = {c.law for c in report.checks if c.verdict is Verdict.TOLERATED}
    assert (report.ok, "hold-histogram" in tolerated) == (True, True)
    build.row(2, 2)["acquisitions"][0, 0] += 2
    assert "hold-histogram" in violated(check_snapshot(snap(build, tmp_path)))


def test_a_torn_row_may_not_miss_two(tmp_path: Path) -> None:
    build = example()
    tear(build)
    build.count(build.row_number(2, 2), Hist.HOLD, bucket=0, count=2)
    assert violated(check_snapshot(snap(build, tmp_path))) == {"hold-histogram"}


def test_the_other_rows_of_a_torn_thread_stay_exact(tmp_path: Path) -> None:
    build = example()
    build.threads["seq"][2] = 5
    one_tick_of_blame_less(build)
    assert violated(check_snapshot(snap(build, tmp_path))) == {"blame"}


def test_what_spans_a_moving_record_is_skipped_not_guessed(tmp_path: Path) -> None:
    build = example()
    one_tick_of_blame_less(build)
    one_event_less(build)
    snapshot = snap(build, tmp_path)
    moving = tuple(replace(t, integrity=Integrity.MOVING) for t in snapshot.threads)
    report = check_snapshot(replace(snapshot, threads=moving))
    assert report.ok
    assert report.count(Verdict.SKIPPED, "blame") == 4
    assert report.count(Verdict.SKIPPED, "hold-histogram") == 0
    assert len(report.moving_threads) == 3


def test_in_a_copy_of_an_open_recording_only_what_adds_up_is_judged(tmp_path: Path) -> None:
    build = example()
    one_tick_of_blame_less(build)
    one_event_less(build)
    path = build.write(tmp_path / "r.bql")
    inode = path.stat().st_ino & 0xFFFF_FFFF
    build.header["inode"] = inode
    path.write_bytes(build.data)
    assert violated(check_path(path)) == {"blame", "events", "event-hold", "event-wait"}
    copy = tmp_path / "copy.bql"
    copy.write_bytes(build.data)
    report = check_path(copy)
    assert (report.ok, report.copied) == (True, True)
    assert report.count(Verdict.SKIPPED, "blame") == 1
    assert report.count(Verdict.HOLDS, "blame") == 3
    build.header["state"] = FileState.CLOSED
    copy.write_bytes(build.data)
    assert violated(check_path(copy)) == {"blame", "events", "event-hold", "event-wait"}


def test_sites_without_a_row_share_that_of_site_zero(tmp_path: Path) -> None:
    build = RecordingBuilder()
    thread, site = build.thread(2, "CPU 0/KVM"), build.site("a.c", 1, "a")  # type: ignore[arg-type]
    build.row(thread, 0)
    build.threads["row_of_site"][thread][site] = thread + 1
    build.acquire(thread, site, hold=1, blame=[(thread, site, 7)])
    build.acquire(thread, 0, hold=1, blame=[(thread, site, 11)])
    build.sync()
    assert check_snapshot(snap(build, tmp_path)).ok


def test_samples_beyond_the_last_bucket_do_not_break_the_sum(tmp_path: Path) -> None:
    build = example()
    build.acquire(0, 1, hold=1 << 50)
    build.sync()
    assert check_snapshot(snap(build, tmp_path)).ok


def test_the_command_ends_with_0_1_or_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, none = tmp_path / "good.bql", tmp_path / "bad.bql", tmp_path / "none.bql"
    example().write(good)
    build = example()
    one_tick_of_blame_less(build)
    build.write(bad)
    assert cli.main(["check", str(good)]) == 0
    assert "all laws hold" in capsys.readouterr().out
    assert cli.main(["check", str(bad)]) == 1
    assert "violated: blame: CPU 1/KVM @ serial: expected" in " ".join(
        capsys.readouterr().out.split()
    )
    assert cli.main(["check", str(none)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_the_table_fits_80_columns_without_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    build = example()
    for damage, _ in BROKEN[:-1]:
        damage(build)
    assert cli.main(["check", str(build.write(tmp_path / "r.bql"))]) == 1
    output = capsys.readouterr().out
    assert max(len(line) for line in output.splitlines()) <= 80
    assert "\x1b" not in output


def test_json_has_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = example().write(tmp_path / "r.bql"), tmp_path / "out.json"
    assert cli.main(["check", str(path), "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    assert content["ok"] is True
    assert {check["law"] for check in content["checks"]} == set(LAWS)
    assert content["checks"][0].keys() == {"law", "scope", "expected", "actual", "verdict"}
    capsys.readouterr()
    assert cli.main(["check", str(path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == content


def test_a_json_file_that_cannot_be_written_is_a_user_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = example().write(tmp_path / "r.bql")
    assert cli.main(["check", str(path), "--json", str(tmp_path / "no" / "out.json")]) == 2
    assert "there is no directory" in capsys.readouterr().err
