# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner against a stand-in child: order, retry, failure, interruption, leftovers."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from profiler.compare.own import OwnVmm
from profiler.compare.plan import Slot, rotation
from profiler.compare.progress import Silent, reporter
from profiler.compare.runner import Runner, copy_sparse
from profiler.compare.trial import Trial
from profiler.errors import RecordingError, UserError
from tests.support import fake_vmm
from tests.support.compare import make_locks, make_plan


class Notes:
    """Remembers what a reporter is told."""

    def __init__(self) -> None:
        self.started_slots: list[Slot] = []
        self.finished_trials: list[Trial] = []
        self.reasons: list[str] = []

    def started(self, slot: Slot, total: int) -> None:
        assert total == len(make_plan(trials=2))
        self.started_slots.append(slot)

    def finished(self, trial: Trial, total: int) -> None:
        self.finished_trials.append(trial)

    def retried(self, slot: Slot, reason: str) -> None:
        self.reasons.append(reason)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All temporary files of the runner go here."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    return directory


def fake(behaviour: str, directory: Path) -> OwnVmm:
    return OwnVmm((sys.executable, fake_vmm.__file__, behaviour, str(directory)), "0")


MakeRunner = Callable[..., Runner]


@pytest.fixture
def make_runner(tmp_path: Path) -> MakeRunner:
    def make(behaviour: str, keep: Path | None = None) -> Runner:
        plan = make_plan(trials=2, vmm=fake(behaviour, tmp_path))
        return Runner([plan], lambda _recording, _window: make_locks(), keep=keep)

    return make


def test_trials_run_in_the_order_of_the_plan(
    tmp_path: Path, scratch: Path, make_runner: MakeRunner
) -> None:
    notes = Notes()
    trials = make_runner("ok").run(notes)
    assert [trial.slot for trial in trials] == list(rotation([make_plan(trials=2)]))
    assert notes.started_slots == [trial.slot for trial in trials]
    assert notes.finished_trials == trials
    assert [trial.metrics["iops"] for trial in trials] == [251_000, 376_000, 376_000, 251_000]
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert ["--object" in call for call in calls] == [False, True, True, False]
    assert list(scratch.iterdir()) == []


def test_a_failed_trial_is_retried_once(scratch: Path, make_runner: MakeRunner) -> None:
    notes = Notes()
    assert len(make_runner("fail-once").run(notes)) == 4
    assert notes.reasons == ["the VMM ended with exit status 1: vmm: cannot open the frobnicator"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("fail", "exit status 1: vmm: cannot open the frobnicator"),
        ("segfault", "signal 11"),
        ("status", "guest ended with status 7"),
        ("garbage", "cannot be read"),
    ],
)
def test_a_trial_that_fails_twice_ends_the_run_with_one_line(
    scratch: Path, make_runner: MakeRunner, behaviour: str, reason: str
) -> None:
    notes = Notes()
    with pytest.raises(UserError, match=reason) as caught:
        make_runner(behaviour).run(notes)
    assert caught.value.exit_code == 1
    assert "\n" not in caught.value.message
    assert len(notes.reasons) == 1
    assert list(scratch.iterdir()) == []


def test_a_vmm_that_cannot_be_started_is_one_line(scratch: Path) -> None:
    plan = make_plan(vmm=OwnVmm(("/nonexistent/vmm",), "0"))
    runner = Runner([plan], lambda _path, _ns: make_locks())
    with pytest.raises(UserError, match="cannot be started"):
        runner.run(Silent(Console(quiet=True)))


def test_an_unreadable_recording_fails_the_trial(tmp_path: Path, scratch: Path) -> None:
    def refuse(_recording: Path, _window: float | None) -> object:
        raise RecordingError("not a recording")

    runner = Runner([make_plan(vmm=fake("ok", tmp_path))], refuse)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="lock recording cannot be used: not a recording"):
        runner.run(Silent(Console(quiet=True)))


def test_an_interrupt_ends_the_child_and_leaves_nothing(
    tmp_path: Path, scratch: Path, make_runner: MakeRunner
) -> None:
    def interrupt_once_hanging() -> None:
        while not (tmp_path / "hanging").exists():
            time.sleep(0.005)  # polls for a fact, does not order anything
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt_once_hanging)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        make_runner("hang").run(Notes())
    helper.join()
    pid = int((tmp_path / "signalled").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(scratch.iterdir()) == []


def test_kept_files_are_named_after_placement_and_trial(
    tmp_path: Path, scratch: Path, make_runner: MakeRunner
) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    make_runner("ok", keep).run(Notes())
    names = {path.name for path in keep.iterdir()}
    assert len(names) == 4 * 5
    assert {f"iothread-trial2-{part}" for part in ("recording.bql", "result.json")} <= names
    assert {f"mainloop-trial1-recording.bql.{mark}" for mark in ("begin", "end")} <= names


def test_a_sparse_file_stays_sparse_and_equal(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as stream:
        stream.write(b"head")
        stream.seek(64 << 20)
        stream.write(b"middle" * 1000)
        stream.truncate(128 << 20)
    copy_sparse(source, target)
    assert target.stat().st_size == 128 << 20
    assert target.stat().st_blocks * 512 < 1 << 20
    with target.open("rb") as stream:
        assert stream.read(5) == b"head\0"
        stream.seek(64 << 20)
        assert stream.read(6001) == b"middle" * 1000 + b"\0"


def test_without_a_terminal_progress_is_a_line_a_trial(
    scratch: Path, make_runner: MakeRunner, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream, reporter(Console(file=stream), 4, quiet=False) as shown:
        make_runner("ok").run(shown)
    lines = log.read_text().splitlines()
    assert lines[1] == "[2/4] iothread trial 1: 376000 requests/s"
    assert len(lines) == 4


def test_on_a_terminal_progress_is_a_bar(
    scratch: Path, make_runner: MakeRunner, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        console = Console(file=stream, force_terminal=True, width=80)
        with reporter(console, 4, quiet=False) as shown:
            make_runner("fail-once").run(shown)
    text = log.read_text()
    assert "4/4" in text
    assert "failed, retrying" in text
