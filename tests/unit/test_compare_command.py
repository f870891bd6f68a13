# SPDX-License-Identifier: GPL-2.0-or-later
"""The command: options, exit statuses, files it leaves and does not leave."""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from profiler.commands import compare as module
from profiler.compare import drive as drive_module
from profiler.compare.own import OwnVmm
from profiler.compare.qemu import QemuVmm
from profiler.compare.runner import Runner
from profiler.compare.workload import Drive
from profiler.errors import UserError
from tests.support import fake_recorder, fake_vmm
from tests.support.compare import BIG_HOST, make_locks

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
        recorder = (sys.executable, "-m", fake_recorder.__name__, behaviour, str(tmp_path))
        monkeypatch.setattr(module, "QemuVmm", functools.partial(QemuVmm, recorder=recorder))
        monkeypatch.setattr(module, "detect_host", lambda: BIG_HOST)
        monkeypatch.setattr(module, "OwnVmm", functools.partial(OwnVmm, program=program))
        monkeypatch.setattr(module, "temporary_drive", small_drive)
        monkeypatch.setattr(module, "read_locks", lambda _path, _ns: make_locks())
        return CliRunner().invoke(module.compare, ["--trials", "1", *arguments])

    return run


@pytest.fixture
def qemu(tmp_path: Path) -> str:
    """A program that answers `--version` as QEMU does."""
    path = tmp_path / "qemu"
    path.write_text("#!/bin/sh\necho 'QEMU emulator version 7.2.22 (Debian 1:7.2)'\n")
    path.chmod(0o755)
    return str(path)


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
        ("--vmm", "xen"),
        ("--vmm", ""),
        ("--vmm", "bqlscope,bqlscope"),
        ("--qemu", "/usr/bin/true"),
        ("--machine", "q35"),
        ("--qemu-aio", "native"),
        ("--qemu-args", "-cpu host"),
        ("--vmm", "qemu", "--accel", "qtest"),
        ("--vmm", "qemu", "--machine", "pc"),
        ("--vmm", "qemu", "--qemu-args", "'"),
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
    target = tmp_path / ("x" * 254)  # a good name, but the temporary one beside it is too long
    result = invoke("--json", str(target))
    assert isinstance(result.exception, UserError)
    assert "File name too long" in result.exception.message


def test_qemu_alone_gives_the_document_of_one_vmm(
    invoke: Invoke, tmp_path: Path, qemu: str
) -> None:
    options = ("--machine", "q35", "--qemu-args", "-cpu host", "--qemu-aio", "threads")
    result = invoke("--vmm", "qemu", "--qemu", qemu, *options, "--json", "-")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["vmm"]["name"] == "qemu"
    assert document["vmm"]["arguments"] == ["-cpu", "host"]
    assert document["workload"]["drive"]["aio"] == "threads"
    assert document["placements"]["iothread"]["config"]["irq"] == "irqfd"
    assert all(call[-2:] == ["-cpu", "host"] for call in calls(tmp_path))


def test_both_vmms_run_interleaved_and_are_saved_side_by_side(
    invoke: Invoke, tmp_path: Path, qemu: str
) -> None:
    target = tmp_path / "saved"
    result = invoke("--vmm", "bqlscope,qemu", "--qemu", qemu, "--save", str(target))
    assert result.exit_code == 0, result.output
    assert "who blocked whom, QEMU mainloop" in result.stdout
    assert ["--" in call for call in calls(tmp_path)] == [False, False, True, True]
    assert list(json.loads((target / "compare.json").read_text())["vmms"]) == ["bqlscope", "qemu"]
    assert (target / "qemu-iothread-trial1-recording.bql").exists()
    assert (target / "bqlscope-iothread-trial1-recording.bql").exists()


@pytest.mark.parametrize(
    ("expression", "status", "lines"),
    [
        ("ratios.iops<1.2", 0, 2),
        ("ratios.iops>1.2", 3, 2),
        ("qemu.ratios.iops>1.2", 3, 1),
        ("bqlscope.ratios.iops<1.2", 0, 1),
    ],
)
def test_fail_if_looks_at_every_vmm_or_the_one_it_names(
    invoke: Invoke, qemu: str, expression: str, status: int, lines: int
) -> None:
    options = ("--vmm", "bqlscope,qemu", "--qemu", qemu, "--fail-if", expression)
    result = invoke(*options)
    assert result.exit_code == status, result.output
    assert result.stderr.count(f"--fail-if {expression} (") == lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--irq", "irqfd"), "always pass through the main loop"),
        (("--placements", "mainloop,iothread-vq-mapping"), "needs QEMU 9.0 or newer"),
    ],
)
def test_what_this_qemu_cannot_do_is_refused_before_anything_runs(
    invoke: Invoke, tmp_path: Path, qemu: str, arguments: tuple[str, ...], words: str
) -> None:
    for vmms in ("qemu", "bqlscope,qemu"):
        result = invoke("--vmm", vmms, "--qemu", qemu, *arguments)
        assert result.exit_code == 2
        assert words in " ".join(result.stderr.split())
    assert calls(tmp_path) == []


def test_a_missing_qemu_ends_with_3_before_anything_runs(
    invoke: Invoke, tmp_path: Path, images: Path
) -> None:
    result = invoke("--vmm", "bqlscope,qemu", "--qemu", "/nonexistent/qemu")
    assert isinstance(result.exception, UserError)
    assert result.exception.exit_code == 3
    assert "apt install qemu-system-x86" in result.exception.message
    assert calls(tmp_path) == []
    assert list(images.iterdir()) == []


def test_without_kvm_qemu_is_refused_and_the_way_out_named(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, qemu: str
) -> None:
    monkeypatch.setattr(module, "find_qemu", lambda _name: pytest.fail("not to be looked for"))
    assert invoke("--trials", "1").exit_code == 0
    monkeypatch.setattr(f"{__name__}.BIG_HOST", replace(BIG_HOST, kvm=False))
    result = invoke("--vmm", "qemu", "--qemu", qemu)
    assert isinstance(result.exception, UserError)
    assert result.exception.exit_code == 2
    assert "--vmm bqlscope --accel qtest" in result.exception.message


def test_the_help_names_every_exit_status() -> None:
    text = CliRunner().invoke(module.compare, ["--help"]).stdout
    assert "Exit status: 0 done, 1" in " ".join(text.split())
