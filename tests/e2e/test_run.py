# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope run`` as a user starts it: placements, data, errors and ends."""

import json
import os
import pty
import shlex
import signal
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from profiler import layout
from tests.support.rig import wait_until
from tests.support.vm import (
    ENDLESS,
    PLACEMENTS,
    command_line,
    drive,
    environment,
    holds_pattern,
    make_image,
    run_vm,
    start_vm,
)

BLOCK = 4096
BLOCKS = 512
IMAGE_SIZE = 8 << 20
ACCELERATORS = [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"]
MICRO = ("--kernel", "micro")
IDLE = (*MICRO, "--accel", "qtest", "--append", "mode=idle ms=1")


def verify(seed: int, *more: str) -> str:
    return " ".join((f"rw=verify seed={seed} blocks={BLOCKS} iodepth=16 hammer=none ms=1", *more))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path / "disk.img", IMAGE_SIZE)


@pytest.mark.parametrize("irq", ["irqfd", "mainloop"])
@pytest.mark.parametrize("accel", ACCELERATORS)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_placement_moves_the_right_bytes(
    placement: str, accel: str, irq: str, image: Path, tmp_path: Path
) -> None:
    queues = "queues=2" if placement == "iothread-vq-mapping" else ""
    result = run_vm(
        *MICRO,
        *("--accel", accel, "--append", verify(11, queues, "irq=1")),
        *drive(image, placement, f"irq={irq}", "cache=writeback"),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert result.guest["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    assert (result.guest["blk"]["writes"], result.guest["blk"]["errors"]) == (BLOCKS, 0)
    assert result.report["accel"]["name"] == accel
    assert holds_pattern(image, BLOCKS * BLOCK, seed=11)
    assert image.read_bytes()[BLOCKS * BLOCK :] == b"\xa5" * (IMAGE_SIZE - BLOCKS * BLOCK)
    counted = [sum(queue[name] for queue in result.report["disks"][0]) for name in ("errors",)]
    assert counted == [0]
    kicked = [queue["kicks"] > 0 for queue in result.report["disks"][0]]
    assert kicked == [True] * (2 if queues else 1)


@pytest.mark.parametrize("options", ["cache=none", "aio=threads", "cache=none,aio=threads"])
def test_every_backend_moves_the_right_bytes(options: str, image: Path, tmp_path: Path) -> None:
    result = run_vm(
        *MICRO,
        *("--accel", "qtest", "--append", verify(7)),
        *drive(image, "iothread", options),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert result.guest["verify"]["wrong_bytes"] == 0
    assert holds_pattern(image, BLOCKS * BLOCK, seed=7)


@pytest.mark.parametrize("accel", ACCELERATORS)
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_the_guest_brings_up_as_many_cpus_as_asked(
    accel: str, cpus: int, image: Path, tmp_path: Path
) -> None:
    result = run_vm(
        *MICRO,
        *("--accel", accel, "--smp", str(cpus), "--append", "rw=verify blocks=64"),
        *drive(image, "mainloop"),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert result.guest["smp"] == cpus
    assert len(result.report["cpus"]) == cpus
    assert result.guest["blk"]["writes"] == 64  # after all others had said that they are there
    assert result.guest["access"]["total"]["reads"] == 0 or cpus > 1


def test_injected_disk_errors_reach_the_guest_and_the_process_survives(
    image: Path, tmp_path: Path
) -> None:
    result = run_vm(
        *MICRO,
        *("--accel", "qtest", "--append", verify(3)),
        *drive(image, "mainloop", "error-every=5"),
        report=tmp_path / "report.json",
    )
    assert "Traceback" not in result.stderr
    operations = 2 * BLOCKS + 1  # each block written and read back, and a flush
    assert (result.guest["blk"]["ops"], result.guest["blk"]["errors"]) == (
        operations,
        operations // 5,
    )
    assert result.status == result.report["guest_status"] != 0
    assert result.report["ended"]["kind"] == "debug_exit"


def test_a_read_only_image_keeps_its_bytes(image: Path, tmp_path: Path) -> None:
    image.chmod(0o444)
    result = run_vm(
        *MICRO,
        *("--accel", "qtest", "--append", "ms=20 warmup_ms=1 hammer=none"),
        *drive(image, "iothread", "readonly=on"),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert result.guest["blk"]["errors"] == 0
    written = run_vm(
        *MICRO,
        *("--accel", "qtest", "--append", verify(3)),
        *drive(image, "iothread", "readonly=on"),
    )
    assert written.status != 0
    assert "Traceback" not in written.stderr
    assert image.read_bytes() == b"\xa5" * IMAGE_SIZE


def test_a_second_machine_on_the_same_image_is_refused(image: Path) -> None:
    first = (*MICRO, "--accel", "qtest", "--append", ENDLESS, *drive(image, "mainloop"))
    with start_vm(*first) as vm:
        vm.wait_until_running()
        second = run_vm(*IDLE, *drive(image, "mainloop"))
        assert second.status == 1
        assert str(image) in second.complaint()


def test_an_exception_of_a_python_device_ends_the_machine_with_its_traceback(
    tmp_path: Path,
) -> None:
    recording = tmp_path / "r.bql"
    Path(f"{recording}.begin").mkdir()  # the copy at the window's begin cannot be made
    result = run_vm(
        *(*MICRO, "--accel", "qtest", "--append", "mode=idle ms=3600000 marks=1"),
        *("--recording", str(recording), "--window-recording"),
    )
    assert result.status == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "in copy_sparse" in result.stderr
    assert "in _io_write" in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: device 'bqlscope-mark': IsADirectoryError: ")


@pytest.mark.parametrize("accel", ACCELERATORS)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_the_machine_in_order(
    accel: str, number: signal.Signals, status: int, tmp_path: Path
) -> None:
    options = (*MICRO, "--accel", accel, "--append", ENDLESS)
    before = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").exists() else set()
    with start_vm(*options, runtime=tmp_path / "run", report=tmp_path / "r.json") as vm:
        vm.wait_until_running()
        assert len(vm.recordings()) == 1
        vm.process.send_signal(number)
        result = vm.finish()
        assert (result.status, result.stderr) == (status, "")
        assert vm.recordings() == []
    assert result.report["ended"] == {"kind": "shutdown", "message": f"{number.name} received"}
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == []
    if before:
        assert set(Path("/dev/shm").iterdir()) <= before


def test_json_on_standard_output_is_all_there_is_on_it() -> None:
    result = run_vm(*IDLE, "--json", "-")
    assert json.loads(result.stdout)["ended"]["kind"] == "debug_exit"
    assert '"bqlscope_guest"' in result.stderr


def test_remarks_of_a_drive_and_the_kept_recording_are_told(tmp_path: Path) -> None:
    image = make_image(tmp_path / "odd.img", 1000)
    recording = tmp_path / "r.bql"
    result = run_vm(
        *(*IDLE, "--recording", str(recording), "--keep-recording"),
        *("--drive", f"file={image},readonly=on"),
    )
    told = result.stderr.splitlines()
    assert f"bqlscope: recording: {recording}" in told
    assert any("not a multiple of 512" in line for line in told)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_that_comes_while_the_machine_is_built_is_not_lost(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    with start_vm(*MICRO, "--accel", "qtest", "--append", ENDLESS, runtime=tmp_path / "run") as vm:
        vm.wait_for_signal_handler()  # installed before the machine
        vm.process.send_signal(number)
        assert vm.finish().status == status
        assert vm.recordings() == []


def test_a_background_job_of_a_terminal_runs_without_its_keyboard() -> None:
    keyboard, terminal = pty.openpty()
    job = "set -m; " + shlex.join(command_line(*IDLE)) + " & wait $!"
    done = subprocess.run(
        ["setsid", "--ctty", "--wait", "sh", "-c", job],
        stdin=terminal,
        capture_output=True,
        env=environment(None),
        timeout=60,  # a job that touched the terminal is stopped and never ends
        check=False,
    )
    os.close(keyboard)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert b'"bqlscope_guest"' in done.stdout


def test_a_recording_is_kept_on_request(tmp_path: Path) -> None:
    with start_vm(*IDLE, "--keep-recording", runtime=tmp_path / "run") as vm:
        assert vm.finish().status == 0
        assert [path.name for path in vm.recordings()] == [f"{vm.process.pid}.bql"]


@pytest.mark.parametrize("keep", [True, False])
def test_a_named_recording_is_kept_only_on_request(keep: bool, tmp_path: Path) -> None:
    path = tmp_path / "named.bql"
    options = ["--recording", str(path), *(["--keep-recording"] if keep else [])]
    assert run_vm(*IDLE, *options).status == 0
    assert path.exists() == keep


def test_a_killed_machine_leaves_its_recording(tmp_path: Path) -> None:
    options = (*MICRO, "--accel", "qtest", "--append", "ms=3600000", "--smp", "2")
    disk = ("--drive", "driver=null,size=8M")
    with start_vm(*options, *disk, runtime=tmp_path / "run") as vm:
        vm.wait_until_running()
        vm.wait_for_thread("CPU 1/QTEST")
        vm.process.kill()
        assert vm.finish().status == -signal.SIGKILL
        (recording,) = vm.recordings()
    data = recording.read_bytes()
    assert data[:8] == layout.MAGIC.to_bytes(8, "little")
    assert len(data) == np.frombuffer(data, layout.HEADER, 1)[0]["file_size"]
    assert stat.S_IMODE(recording.stat().st_mode) == 0o600


def test_no_record_makes_no_recording(tmp_path: Path) -> None:
    options = (*MICRO, "--accel", "qtest", "--append", ENDLESS, "--no-record")
    with start_vm(*options, runtime=tmp_path / "run") as vm:
        vm.wait_until_running()
        assert vm.recordings() == []
        vm.process.send_signal(signal.SIGTERM)
        assert vm.finish().status == 0


@pytest.mark.parametrize("policy", ["pthread", "ticket", "mcs"])
def test_every_lock_policy_runs_a_guest(policy: str, image: Path, tmp_path: Path) -> None:
    result = run_vm(
        *(*MICRO, "--accel", "qtest", "--smp", "2", "--bql-policy", policy),
        *("--append", "ms=30 warmup_ms=1", *drive(image, "mainloop")),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert result.guest["blk"]["errors"] == 0


def test_serial_output_goes_to_a_file(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    result = run_vm(*IDLE, "--serial", f"file:{log}", report=tmp_path / "r.json")
    assert (result.status, result.stdout) == (0, "")
    assert log.read_text().startswith('{"bqlscope_guest":1')
    assert result.guest["mode"] == "idle"


def test_a_reader_that_closes_the_pipe_does_not_stop_the_guest(tmp_path: Path) -> None:
    with start_vm(*IDLE, report=tmp_path / "r.json") as vm:
        assert vm.process.stdout is not None
        vm.process.stdout.close()
        vm.process.stdout = None
        result = vm.finish()
    assert result.guest["mode"] == "idle"
    assert "Traceback" not in result.stderr


def test_the_threads_bear_qemus_names(tmp_path: Path) -> None:
    options = (*MICRO, "--accel", "qtest", "--smp", "2", "--append", ENDLESS)
    with start_vm(*options, "--object", "iothread,id=io0") as vm:
        for name in ("CPU 0/QTEST", "CPU 1/QTEST", "IO io0"):
            vm.wait_for_thread(name)
        wait_until(lambda: vm.process.poll() is None, "the machine")
