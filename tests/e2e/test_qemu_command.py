# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope qemu` with real QEMUs: QEMU does not notice, and what it did is in the recording."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from profiler.check import check_snapshot
from profiler.model import Role, Snapshot
from profiler.qemu.qmp import Qmp
from profiler.reader import Recording
from tests.support.micro_guest import ELF
from tests.support.qemu_vm import ENDLESS, NULL_DISK, command, listens, recording_in
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rig import wait_until

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.qemu,
    pytest.mark.timeout(180),
    pytest.mark.parametrize("qemu", QEMUS, ids=qemu_id),
]
BQLSCOPE = (sys.executable, "-m", "profiler")
IDLE = f"mode=idle {ENDLESS}"
SHORT = "mode=idle ms=300 marks=1 hammer=pio:0x3fd:1,mmio:0xfeb00000:4"
SERIAL = ("-serial", "stdio")
GUEST_OK = 1  # as isa-debug-exit encodes 0


def words(options: tuple[str, ...], *qemu: str) -> list[str]:
    return [*BQLSCOPE, "qemu", *options, "--", *qemu]


def environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "XDG_RUNTIME_DIR": str(directory)}


def run(
    directory: Path, *qemu: str, options: tuple[str, ...] = (), stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run to the end, with recordings below `directory`."""
    return subprocess.run(
        words(options, *qemu),
        env=environment(directory),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def started(
    directory: Path, *qemu: str, options: tuple[str, ...] = ()
) -> Iterator["subprocess.Popen[str]"]:
    """`bqlscope qemu` that records by now."""
    process = subprocess.Popen(
        words(options, *qemu),
        env=environment(directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        recording_in(directory)
        yield process
    finally:
        for pid in {recorded_pid(directory), process.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def recorded_pid(directory: Path) -> int:
    with Recording.open(recording_in(directory)) as recording:
        return recording.process.pid


def snapshot_of(path: Path) -> Snapshot:
    with Recording.open(path) as recording:
        return recording.snapshot(events=True)


def devices(directory: Path) -> set[str]:
    return {site.device for site in snapshot_of(recording_in(directory)).sites} - {""}


def sockets_left(directory: Path) -> list[Path]:
    return list(directory.glob("bqlscope-*"))


def test_the_guest_runs_as_without_us_and_its_devices_have_names(
    qemu: Path, tmp_path: Path
) -> None:
    result = tmp_path / "result.json"
    guest = command(qemu, *SERIAL, "-name", "vm1", *NULL_DISK, words=SHORT, cpus=2)
    done = run(
        tmp_path, *guest, options=("--json", str(result), "--window-recording", "--sites", "3")
    )
    assert done.returncode == GUEST_OK
    assert json.loads(done.stdout)["bqlscope_guest"] == 1  # nothing else is on standard output
    assert "vcpu, serial 0x3fd" in done.stderr
    assert "more call sites, see --sites" in done.stderr
    document: dict[str, Any] = json.loads(result.read_text())
    assert document["schema"] == 1
    assert document["exit"] == {"status": GUEST_OK, "signal": None}
    assert document["qemu"]["symbol"].endswith("bql_mutex_lock_func")
    assert document["qemu"]["version"] in done.stderr
    assert document["regions"] > 20
    window = document["window"]["end_ns"] - document["window"]["start_ns"]
    assert 300e6 <= window == pytest.approx(document["summary"]["interval_ns"], rel=0.001)
    summary = document["summary"]
    assert (summary["vm_name"], summary["pid"]) == ("vm1", document["pid"])
    named = {line["device"]: line["region"] for line in summary["sites"]}
    assert named["virtio-mmio[0] 0xfeb00000"] == "mmio 0xfeb00000"
    recording = Path(document["recording"])
    assert recording == tmp_path / "bqlscope" / f"{document['pid']}.bql"
    snapshot = snapshot_of(recording)
    assert check_snapshot(snapshot).ok
    assert {t.name for t in snapshot.threads if t.role is Role.VCPU} == {"CPU 0/KVM", "CPU 1/KVM"}
    assert sockets_left(tmp_path) == []


def test_without_a_monitor_the_addresses_stay_raw(qemu: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    guest = command(qemu, *SERIAL, words=SHORT, cpus=2)
    done = run(tmp_path, *guest, options=("--json", str(result), "--no-monitor", "--quiet"))
    assert done.returncode == GUEST_OK
    assert "bqlscope" not in done.stderr
    document = json.loads(result.read_text())
    assert document["regions"] is None
    assert document["window"] is None
    assert {line["device"] for line in document["summary"]["sites"]} == {None}
    assert "pio 0x3fd" in {line["region"] for line in document["summary"]["sites"]}


def test_a_recording_by_name_with_all_that_belongs_to_it_can_be_discarded(
    qemu: Path, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    place = ("--recording", str(tmp_path / "results" / "vm.bql"), "--window-recording")
    guest = command(qemu, *SERIAL, words=SHORT, cpus=2)
    assert run(tmp_path, *guest, options=place).returncode == GUEST_OK
    assert sorted(os.listdir(tmp_path / "results")) == [
        *("vm.bql", "vm.bql.begin", "vm.bql.end", "vm.bql.regions.json"),
    ]
    done = run(tmp_path, *guest, options=(*place, "--discard"))
    assert done.returncode == GUEST_OK
    assert "vcpu, serial 0x3fd" in done.stderr
    assert os.listdir(tmp_path / "results") == []


def test_standard_input_is_qemus(qemu: Path, tmp_path: Path) -> None:
    guest = command(qemu, "-monitor", "stdio", words=IDLE)
    done = run(tmp_path, *guest, stdin="info name\nquit\n")
    assert done.returncode == 0
    assert "(qemu) " in done.stdout


def test_the_users_monitor_and_name_are_kept(qemu: Path, tmp_path: Path) -> None:
    socket = tmp_path / "mine"
    own = ("-qmp", f"unix:{socket},server=on,wait=off", "-name", "vm1,debug-threads=off")
    with started(tmp_path, *command(qemu, *own, words=IDLE)):
        wait_until(lambda: listens(socket), "the user's monitor")
        with Qmp(str(socket)) as qmp:
            assert qmp.execute("query-name") == {"name": "vm1"}
        (private,) = sockets_left(tmp_path)
        assert private.stat().st_mode & 0o777 == 0o700
        with Qmp(str(private / "qmp.sock")) as qmp:
            assert qmp.peer_pid == recorded_pid(tmp_path)
        tasks = Path(f"/proc/{recorded_pid(tmp_path)}/task").glob("*/comm")
        assert not any(task.read_text().startswith("CPU") for task in tasks)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_qemu_as_without_us(qemu: Path, tmp_path: Path, number: int) -> None:
    with started(tmp_path, *command(qemu, words=IDLE, cpus=2)) as process:
        wait_until(lambda: bool(devices(tmp_path)), "devices")  # the main loop runs
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 0
    assert f"terminating on signal {int(number)}" in err
    assert "look further with" in err
    assert snapshot_of(recording_in(tmp_path)).closed


def test_a_killed_qemu_leaves_a_recording_that_adds_up(qemu: Path, tmp_path: Path) -> None:
    with started(tmp_path, *command(qemu, words=IDLE, cpus=2)) as process:
        wait_until(lambda: bool(devices(tmp_path)), "devices")
        os.kill(recorded_pid(tmp_path), signal.SIGKILL)
        _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGKILL
    assert "look further with" in err
    checked = subprocess.run(
        [*BQLSCOPE, "check", str(recording_in(tmp_path))], capture_output=True, check=False
    )
    assert checked.returncode == 0
    assert sockets_left(tmp_path) == []


def test_a_stopped_qemu_does_not_keep_us_from_passing_signals_on(
    qemu: Path, tmp_path: Path
) -> None:
    with started(tmp_path, *command(qemu, words=IDLE)) as process:
        wait_until(lambda: bool(devices(tmp_path)), "devices")  # QEMU handles signals by now
        pid = recorded_pid(tmp_path)
        os.kill(pid, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: signal.SIGTERM in pending(pid), "a pending SIGTERM")
        os.kill(pid, signal.SIGCONT)
        process.communicate()
    assert process.returncode == 0


def pending(pid: int) -> set[int]:
    """Signals that wait for a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return {number for number in range(1, 65) for mask in masks if mask >> (number - 1) & 1}


def test_a_daemon_goes_on_and_is_found(qemu: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    guest = command(qemu, "-daemonize", "-serial", "null", words=IDLE, cpus=2)
    done = run(tmp_path, *guest, options=("--json", str(result)))
    assert done.returncode == 0
    document = json.loads(result.read_text())
    pid = document["pid"]
    try:
        assert f"QEMU went on as process {pid}" in done.stderr
        assert f"bqlscope summary {pid}" in done.stderr
        assert document["regions"] > 20
        assert document["summary"] is None
        assert recording_in(tmp_path) == Path(document["recording"])
        assert snapshot_of(recording_in(tmp_path)).process.alive
        (private,) = sockets_left(tmp_path)
        with Qmp(str(private / "qmp.sock")) as qmp:
            assert qmp.peer_pid == pid
        shown = subprocess.run(
            [*BQLSCOPE, "summary", str(pid)],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "vcpu, serial 0x3fd" in shown.stdout
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_sandboxed_qemu_is_recorded_too(qemu: Path, tmp_path: Path) -> None:
    sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    guest = command(qemu, *SERIAL, "-sandbox", sandbox, words=SHORT, cpus=2)
    done = run(tmp_path, *guest)
    assert done.returncode == GUEST_OK
    assert "vcpu, serial 0x3fd" in done.stderr


def test_a_wrapper_that_waits_for_qemu_is_seen_through(qemu: Path, tmp_path: Path) -> None:
    script = tmp_path / "start-vm"
    script.write_text(f'#!/bin/sh\n"{qemu}" "$@"\nexit $(($? + 40))\n')
    script.chmod(0o755)
    guest = command(script, *SERIAL, words="mode=idle ms=2500", cpus=2)
    done = run(tmp_path, *guest)
    assert done.returncode == 40 + GUEST_OK
    assert "vcpu, serial 0x3fd" in done.stderr
    shown = re.search(r"bqlscope summary (\d+)", done.stderr)
    assert shown
    assert recording_in(tmp_path).name == f"{shown[1]}.bql"


def test_devices_that_the_guest_maps_later_get_names(qemu: Path, tmp_path: Path) -> None:
    machine = ["-M", "q35", "-bios", "qboot.rom", "-accel", "kvm", "-cpu", "qemu64", "-m", "128"]
    machine += ["-nodefaults", "-no-user-config", "-vga", "none", "-display", "none"]
    disk = ["-drive", "if=none,id=d0,driver=null-co,size=64M"]
    disk += ["-device", "virtio-blk-pci,drive=d0"]
    guest = ["-kernel", str(ELF), "-append", f"irq=1 {ENDLESS}"]
    with started(tmp_path, str(qemu), *machine, *disk, *guest):
        wait_until(
            lambda: any(name.startswith("virtio-pci-") for name in devices(tmp_path)),
            "a PCI device by name",
        )


def test_a_wrong_option_is_qemus_own_error(qemu: Path, tmp_path: Path) -> None:
    done = run(tmp_path, str(qemu), "-M", "nonsense")
    assert done.returncode == 1
    assert "unsupported machine type" in done.stderr
    assert "Traceback" not in done.stderr
