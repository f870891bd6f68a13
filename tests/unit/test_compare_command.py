# SPDX-License-Identifier: GPL-2.0-or-later
"""The command: options, exit statuses, files it leaves and does not leave."""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from profiler.commands import compare as module
from profiler.compare import drive as drive_module
from profiler.compare.own import OwnVmm
from profiler.compare.runner import Runner
from profiler.compare.workload import Drive
from profiler.errors import UserError
from tests.support import fake_vmm
from tests.support.compare import make_locks

Invoke = Callable[..., Result]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    directory = tmp_path / "images"
    directory.mkdir()
    return directory


@pytest.fixture
def invoke(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run the command on the stand-in VMM, with small temporary images in `images`."""

    @contextmanager
    def small_drive() -> Iterator[Drive]:
        with drive_module.temporary_drive(1 << 16, [images]) as drive:
            yield drive

    def run(*arguments: str, behaviour: str = "ok") -> Result:
        program = (sys.executable, fake_vmm.__file__, behaviour, str(tmp_path))
        monkeypatch.setattr(module, "OwnVmm", functools.partial(OwnVmm, program=program))
        monkeypatch.setattr(module, "temporary_drive", small_drive)
        monkeypatch.setattr(module, "read_locks", lambda _path, _ns: make_locks())
        return CliRunner().invoke(module.compare, ["--trials", "1", *arguments])

    return run


def calls(tmp_path: Path) -> list[Any]:
    path = tmp_path / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_run_prints_the_table_and_leaves_no_image(invoke: Invoke, images: Path) -> None:
    result = invoke()
    assert result.exit_code == 0, result.output
    assert "who blocked whom, mainloop" in result.stdout
    assert "[1/2] mainloop trial 1" in result.stderr
    assert list(images.iterdir()) == []


def test_json_on_standard_output_moves_the_table_to_standard_error(invoke: Invoke) -> None:
    result = invoke("--json", "-")
    assert json.loads(result.stdout)["schema"] == 1
    assert "who blocked whom" in result.stderr


def test_json_goes_to_a_file(invoke: Invoke, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert invoke("--json", str(target)).exit_code == 0
    assert json.loads(target.read_text())["placements"]["iothread"]["iops"]["median"] == 376_000


def test_quiet_prints_the_verdict_only(invoke: Invoke) -> None:
    result = invoke("--quiet")
    assert result.stdout.startswith("Moving virtio-blk from mainloop to iothread")
    assert "who blocked whom" not in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(("expression", "status"), [("ratios.iops<1.2", 0), ("ratios.iops>1.2", 3)])
def test_fail_if_decides_the_exit_status(invoke: Invoke, expression: str, status: int) -> None:
    result = invoke("--fail-if", expression)
    assert result.exit_code == status
    assert f"--fail-if {expression}: value 1.49801" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--fail-if", "iothread.speed>1"),
        ("--placements", "mainloop"),
        ("--placements", "mainloop,disk"),
        ("--irq", "msi"),
        ("--trials", "0"),
        ("--smp", "99"),
        ("--block-size", "4x"),
        ("--rw", "erase"),
        ("--drive", "/nonexistent/image"),
        ("--drive", "/"),
        ("--drive", "/dev/null"),
        ("--poll-max-ns", "99999999999999999999"),
        ("--json", "/nonexistent/result.json"),
        ("--json", "/"),
        ("--json", ""),
    ],
)
def test_a_wrong_command_line_ends_with_2_before_anything_runs(
    invoke: Invoke, tmp_path: Path, images: Path, arguments: tuple[str, ...]
) -> None:
    assert invoke(*arguments).exit_code == 2
    assert calls(tmp_path) == []
    assert list(images.iterdir()) == []


def test_the_users_image_is_written_with_permission_only(invoke: Invoke, tmp_path: Path) -> None:
    image = tmp_path / "mine.raw"
    image.write_bytes(bytes(4096))
    refused = invoke("--drive", str(image), "--rw", "write")
    assert refused.exit_code == 2
    assert "--allow-write" in refused.stderr
    assert calls(tmp_path) == []
    assert invoke("--drive", str(image), "--rw", "write", "--allow-write").exit_code == 0
    assert all("readonly" not in " ".join(call) for call in calls(tmp_path))
    assert image.exists()


def test_save_keeps_recordings_and_the_document(invoke: Invoke, tmp_path: Path) -> None:
    target = tmp_path / "saved"
    assert invoke("--save", str(target)).exit_code == 0
    names = {path.name for path in target.iterdir()}
    assert {"compare.json", "mainloop-trial1-recording.bql", "iothread-trial1-result.json"} <= names
    assert not any(name.startswith(".") for name in names)
    second = invoke("--save", str(target))
    assert isinstance(second.exception, UserError)
    assert "already" in second.exception.message


def test_a_failed_run_saves_nothing(invoke: Invoke, tmp_path: Path, images: Path) -> None:
    target = tmp_path / "saved"
    result = invoke("--save", str(target), "--json", str(tmp_path / "j"), behaviour="fail")
    assert isinstance(result.exception, UserError)
    assert result.exception.exit_code == 1
    assert "failed, retrying" in result.stderr
    assert not target.exists()
    assert not (tmp_path / "j").exists()
    assert list(images.iterdir()) == []


@pytest.mark.parametrize("ending", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(
    invoke: Invoke,
    tmp_path: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: tuple[signal.Signals, int],
) -> None:
    number, status = ending

    def interrupt(self: Runner, reporter: object) -> None:
        assert list(images.iterdir()) != []
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 5)  # the handler raises before this returns

    monkeypatch.setattr(Runner, "run", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    result = invoke("--save", str(tmp_path / "saved"))
    assert result.exit_code == status
    assert signal.getsignal(signal.SIGTERM) is before
    assert list(images.iterdir()) == []
    assert not (tmp_path / "saved").exists()


def test_a_json_file_that_became_unwritable_is_one_line(invoke: Invoke, tmp_path: Path) -> None:
    target = tmp_path / ("x" * 250)  # a good name, but the temporary one beside it is too long
    result = invoke("--json", str(target))
    assert isinstance(result.exception, UserError)
    assert "File name too long" in result.exception.message


def test_the_help_names_every_exit_status() -> None:
    text = CliRunner().invoke(module.compare, ["--help"]).stdout
    assert "Exit status: 0 done, 1" in " ".join(text.split())
