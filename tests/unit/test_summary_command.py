# SPDX-License-Identifier: GPL-2.0-or-later
import json
from pathlib import Path

import pytest

from profiler import cli
from profiler.commands.summary import SLEEP_WORDS, duration
from profiler.layout import Blocked, Role
from tests.support.recordings import RecordingBuilder, example


def summary(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert cli.main(["summary", *arguments]) == status
    return capsys.readouterr().out


def test_the_tables_name_roles_devices_and_who_was_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = example().write(tmp_path / "r.bql")
    out = summary(capsys, str(path))
    assert "vcpu, serial" in out
    assert "waited for" in out
    assert "handoff" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b[" not in out


def test_the_json_blames_every_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = example().write(tmp_path / "r.bql")
    document = json.loads(summary(capsys, str(path), "--json", "-"))
    waits = {line["role"]: line["wait"]["total_ns"] for line in document["roles"]}
    blamed = {waiter: sum(cells.values()) for waiter, cells in document["blame_ns"].items()}
    assert blamed["vcpu"] == pytest.approx(waits["vcpu"])
    assert {"main", "vcpu", "handoff", "unknown"} == set(document["blame_ns"]["vcpu"])


def test_call_sites_beyond_the_limit_are_counted_and_none_are_shown_for_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(example().write(tmp_path / "r.bql"))
    assert "more call sites, see --sites: 3" in summary(capsys, path, "--sites", "1")
    assert "call site" not in summary(capsys, path, "--sites", "0")


def test_sleeps_inside_holds_are_shown_with_what_they_are_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = RecordingBuilder(ticks_per_ns=1.0)
    main = build.thread(Role.MAIN, "qemu")
    drain, screen = build.site("runstate.c", 867, ""), build.site("ui.c", 5, "")
    build.acquire(main, drain, hold=4_000, blocked={Blocked.POLL: 3_000, Blocked.FILE_IO: 50})
    build.acquire(main, screen, hold=1_000)
    lines = [
        " ".join(line.split())
        for line in summary(capsys, str(build.write(tmp_path / "r.bql"))).splitlines()
    ]
    assert "main, runstate.c:867 a poll 3 µs 75%" in lines
    assert "main, runstate.c:867 file I/O 50 ns 1%" in lines
    assert not any(
        "ui.c:5" in line
        for line in lines[lines.index("slept while holding for time of its hold") :]
    )


def test_a_recording_without_waits_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = RecordingBuilder().write(tmp_path / "r.bql")
    assert "nobody waited" in summary(capsys, str(path))


def test_a_missing_recording_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["summary", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0.0, "0"),
        (7.0, "7 ns"),
        (1_250.0, "1.25 µs"),
        (88e6, "88 ms"),
        (999.6e6, "1 s"),
        (2.5e9, "2.5 s"),
        (3_725e9, "3720 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(ns: float, text: str) -> None:
    assert duration(ns) == text


def test_every_reason_to_sleep_has_words() -> None:
    assert set(SLEEP_WORDS) == set(Blocked) - {Blocked.NONE}
