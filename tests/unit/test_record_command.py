# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope record` and `bqlscope ls` against programs that really take the lock."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiler import cli
from profiler.model import Row, Who
from profiler.reader import Recording
from profiler.traces.source import EventFile, open_source
from tests.support.events import begin, compiled, drain, load, relay

THREADS, RATE, SECONDS = 4, 40_000, 0.3


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled recording_load."""
    return compiled("recording_load", tmp_path_factory.mktemp("load"))


@pytest.fixture
def running(program: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    with load(program, tmp_path / "r.bql", THREADS, RATE, SECONDS) as process:
        yield process


def record(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "profiler", "record", *arguments],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def await_head(process: "subprocess.Popen[str]", output: Path) -> None:
    """Wait until the recorder has taken its position in the rings and begun its file."""
    while not output.exists() or output.stat().st_size < 100:
        assert process.poll() is None


def shell(program: Path, recording: Path, end: str) -> list[str]:
    command = f"echo | {program} {recording} {THREADS} {RATE} {SECONDS}; {end}"
    return ["--", "sh", "-c", command]


def comparable(row: Row) -> dict[str, Any]:
    """A row without the one value that may differ: of two equal parts of a wait, which is named."""
    return vars(row) | {"max_wait_by": None}


def check_against_truth(recording: Path, events: Path) -> None:
    """What was drained adds up to exactly what the recorder counted, blame included."""
    with Recording.open(recording) as opened, open_source(events) as source:
        truth, ours = opened.snapshot(), source.snapshot()
    rows = {row.who: comparable(row) for row in truth.rows if row.total}
    assert {row.who: comparable(row) for row in ours.rows} == rows
    blamed = {(entry.waiter, entry.holder): entry for entry in truth.blame}
    assert {(entry.waiter, entry.holder): entry for entry in ours.blame} == blamed


def test_every_acquisition_of_a_command_is_kept_and_its_status_passed_on(
    program: Path, tmp_path: Path
) -> None:
    output, totals = tmp_path / "r.events", tmp_path / "totals.json"
    process = record(
        "-o", str(output), "--json", str(totals), *shell(program, tmp_path / "r.bql", "exit 7")
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 7
    assert "(it ended)" in err or "(it closed its recording)" in err  # one right after the other
    done = int(out.split()[1])
    result = json.loads(totals.read_text())
    assert (result["events"], result["dropped"]) == (done, 0)
    check_against_truth(tmp_path / "r.bql", output)


def test_attaching_keeps_what_comes_from_then_on(
    running: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    process = record("-o", str(tmp_path / "r.events"), str(running.pid))
    await_head(process, tmp_path / "r.events")
    begin(running)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    check_against_truth(tmp_path / "r.bql", tmp_path / "r.events")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_recording_in_order(
    running: "subprocess.Popen[str]", tmp_path: Path, number: int
) -> None:
    output = tmp_path / "r.events"
    process = record("-o", str(output), str(tmp_path / "r.bql"))
    await_head(process, output)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "(until stopped)" in err
    with open_source(output) as source:
        assert isinstance(source, EventFile)
        assert source.reason == "stopped"


def test_a_killed_recorder_leaves_what_it_had_written(
    running: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    output = tmp_path / "r.events"
    process = record("-o", str(output), str(running.pid))
    await_head(process, output)
    process.kill()
    process.communicate(timeout=60)
    with open_source(output) as source:
        assert isinstance(source, EventFile)
        assert source.reason is None
        assert source.process.pid == running.pid
        assert "the end is missing" in source.notes[0] or "cut off" in source.notes[0]


def test_the_duration_ends_it_and_the_process_runs_on(
    running: "subprocess.Popen[str]", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "r.events"
    arguments = ["-o", str(output), "--duration", "0.1", "--json", "-", "--quiet"]
    assert cli.main(["record", str(running.pid), *arguments]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["reason"] == "duration"
    assert printed.err == ""
    assert running.poll() is None


def test_a_live_process_is_listed_wherever_its_recording_lies(
    running: "subprocess.Popen[str]", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ls", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["recordings"]
    (ours,) = [entry for entry in entries if entry["pid"] == running.pid]
    assert (ours["state"], ours["vm_name"]) == ("live", "load")
    assert (ours["threads"], ours["path"]) == (THREADS, str(tmp_path / "r.bql"))


def test_a_command_without_a_recording_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = ["-o", str(tmp_path / "r.events")]
    assert cli.main(["record", *output, "--", "sh", "-c", "exit 3"]) == 3
    assert cli.main(["record", *output, "--", "true"]) == 1
    assert cli.main(["record", *output, "--", "/no/such/program"]) == 127
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        *["bqlscope: the command ended and left no recording to read"] * 2,
        "bqlscope: /no/such/program: no such file or directory",
    ]
    assert not (tmp_path / "r.events").exists()


def test_wrong_usage_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = relay().write(tmp_path / "r.bql")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("profiler.discovery.own_processes", lambda _proc: [])
    output = ["-o", str(tmp_path / "r.events")]
    for arguments, problem in (
        ([str(recording), *output], "process 4000001 has ended; `bqlscope convert"),
        (["4000001", *output], "process 4000001 has no recording in"),
        ([str(tmp_path / "none.bql"), *output], "none.bql: no such file"),
        (output, "no process is recorded now; start a VM"),
        (["-o", "-"], "give -o a file name"),
        (["-o", str(tmp_path / "no" / "r")], "there is no directory"),
        ([*output, "--size-limit", "much"], "'much' is no size; examples: 500M, 2G"),
        ([*output, "--size-limit", "1k"], "a file takes at least 64K"),
    ):
        assert cli.main(["record", *arguments]) == 2
        err = capsys.readouterr().err
        assert problem in err
        assert err.count("\n") == 1


def test_who_is_kept_apart_by_thread_and_site(tmp_path: Path) -> None:
    drain(relay().write(tmp_path / "r.bql"), tmp_path / "r.events")
    with open_source(tmp_path / "r.events") as source:
        rows = source.snapshot().rows
    assert [row.who for row in rows] == [Who(0, 1), Who(1, 2), Who(2, 3)]
    assert os.path.getsize(tmp_path / "r.events") < 2000
