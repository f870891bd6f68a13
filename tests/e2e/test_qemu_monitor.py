# SPDX-License-Identifier: GPL-2.0-or-later
"""Monitors of real QEMUs: the client, the memory map, and `bqlscope attach`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from profiler.qemu.mtree import MemoryMap, Space, parse_mtree
from profiler.qemu.peer import require_peer
from profiler.qemu.qmp import Qmp, QmpClosedError, QmpTimeoutError
from tests.support.qemu_vm import ENDLESS, NULL_DISK, command, listens, preloaded
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rig import wait_until

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.qemu,
    pytest.mark.timeout(120),
    pytest.mark.parametrize("qemu", QEMUS, ids=qemu_id),
]
IDLE = f"mode=idle {ENDLESS}"
ATTACH = (sys.executable, "-m", "profiler", "attach")


@dataclass
class Vm:
    process: "subprocess.Popen[str]"
    socket: Path

    @property
    def pid(self) -> str:
        return str(self.process.pid)

    def attach(self, *options: str) -> "subprocess.CompletedProcess[str]":
        words = [*ATTACH, self.pid, "--qmp", str(self.socket), *options]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def statistics(self) -> str:
        """Whether QEMU's statistics are on."""
        with Qmp(str(self.socket)) as qmp:
            return qmp.hmp("sync-profile").strip()


@contextmanager
def running(words: list[str], directory: Path) -> Iterator[Vm]:
    """A QEMU with a monitor, not recorded."""
    socket = directory / "qmp"
    process = subprocess.Popen(
        [*words, "-qmp", f"unix:{socket},server=on,wait=off", "-serial", "null"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: listens(socket) or process.poll() is not None, "a monitor")
        yield Vm(process, socket)
    finally:
        process.kill()
        process.communicate()


def test_the_client_talks_to_a_real_monitor(qemu: Path, tmp_path: Path) -> None:
    with running(command(qemu, "-name", "vm1", words=IDLE, cpus=2), tmp_path) as vm:
        with Qmp(str(vm.socket)) as qmp:
            assert qmp.execute("query-name") == {"name": "vm1"}
            assert qmp.peer_pid == vm.process.pid
            assert len(qmp.thread_ids()) == 2
            assert qmp.version.split(".")[0] in ("7", "8", "9", "10", "11")
            assert "\r" not in qmp.hmp("info version")
            require_peer(qmp, vm.process.pid)


def test_a_killed_qemu_is_noticed_and_a_stopped_one_costs_the_limit(
    qemu: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(command(qemu, words=IDLE), tmp_path) as vm:
        with Qmp(str(vm.socket), command_timeout=0.5) as qmp:
            vm.process.send_signal(signal.SIGSTOP)
            with pytest.raises(QmpTimeoutError):
                qmp.execute("query-name")
            vm.process.send_signal(signal.SIGCONT)
            wait_until(lambda: _answers(qmp), "an answer")
            vm.process.kill()
            vm.process.wait()
            with pytest.raises(QmpClosedError):
                qmp.execute("query-name")
    assert capfd.readouterr() == ("", "")


def _answers(qmp: Qmp) -> bool:
    try:
        qmp.execute("query-name")
    except QmpTimeoutError:
        return False
    return True


def _map_of(vm: Vm) -> MemoryMap:
    with Qmp(str(vm.socket)) as qmp:
        return parse_mtree(qmp.hmp("info mtree -f"))


def _name(found: MemoryMap, space: Space, address: int) -> str | None:
    part = found.find(space, address)
    return part.name if part else None


def test_the_map_of_a_microvm_numbers_its_disks_as_qemu_does(qemu: Path, tmp_path: Path) -> None:
    with running(command(qemu, *NULL_DISK, words=IDLE), tmp_path) as vm:
        found = _map_of(vm)
        with Qmp(str(vm.socket)) as qmp:
            tree = qmp.hmp("info qtree").splitlines()
    disk = next(i for i, line in enumerate(tree) if "dev: virtio-blk-device" in line)
    bus = next(line for line in reversed(tree[:disk]) if "bus: virtio-mmio-bus." in line)
    number = int(bus.rpartition(".")[2])
    assert _name(found, Space.MEMORY, 0xFEB00000 + 0x200 * number) == f"virtio-mmio[{number}]"
    assert _name(found, Space.IO, 0x3F8) == "serial"
    assert _name(found, Space.IO, 0x80) is None


def test_the_map_of_a_pc_is_read(qemu: Path, tmp_path: Path) -> None:
    words = ["-M", "q35", "-accel", "kvm", "-m", "64", "-nodefaults", "-display", "none", "-S"]
    with running([str(qemu), *words, "-device", "VGA"], tmp_path) as vm:
        found = _map_of(vm)
    assert _name(found, Space.IO, 0x3F8) == "serial"
    assert _name(found, Space.IO, 0xCFC) == "pci-conf-data"
    assert _name(found, Space.MEMORY, 0xFED000F0) == "hpet"
    assert _name(found, Space.MEMORY, 0xFEC00010) == "kvm-ioapic"


def test_attach_measures_and_leaves_the_statistics_off(qemu: Path, tmp_path: Path) -> None:
    with running(command(qemu, words=IDLE, cpus=2), tmp_path) as vm:
        done = vm.attach("--duration", "0.6", "--interval", "0.2", "--json", "-")
        assert (done.returncode, vm.statistics()) == (0, "sync-profile is off")
    document = json.loads(done.stdout)
    sites = {site["site"]: site for site in document["sites"] if site["bql"]}
    (device,) = (site for name, site in sites.items() if "physmem.c" in name)
    assert device["count"] > 0
    assert any("main-loop.c" in name for name in sites)
    assert document["ended"] == "duration"
    assert done.stderr.count("BQL waits/s") == document["polls"]


def test_attach_leaves_statistics_on_that_were_on(qemu: Path, tmp_path: Path) -> None:
    with running(command(qemu, "-enable-sync-profile", words=IDLE), tmp_path) as vm:
        done = vm.attach("--duration", "0.1", "--json", "-")
        assert (done.returncode, vm.statistics()) == (0, "sync-profile is on")
    assert json.loads(done.stdout)["was_on"]


@contextmanager
def attached(vm: Vm) -> Iterator["subprocess.Popen[str]"]:
    """`bqlscope attach` that has polled at least once."""
    words = [*ATTACH, vm.pid, "--qmp", str(vm.socket), "--interval", "0.1"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "BQL waits/s" in process.stderr.readline()
        yield process


def test_ctrl_c_ends_attach_in_order(qemu: Path, tmp_path: Path) -> None:
    with running(command(qemu, words=IDLE, cpus=2), tmp_path) as vm:
        with attached(vm) as process:
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate()
        assert (process.returncode, vm.statistics()) == (0, "sync-profile is off")
    assert "physmem.c" in out


def test_the_end_of_qemu_ends_attach_with_what_was_measured(qemu: Path, tmp_path: Path) -> None:
    with running(command(qemu, words=IDLE, cpus=2), tmp_path) as vm:
        with attached(vm) as process:
            vm.process.kill()
            out, err = process.communicate()
    assert process.returncode == 0
    assert "QEMU ended" in out
    assert "physmem.c" in out
    assert "Traceback" not in err


def test_attach_refuses_a_qemu_that_is_recorded(qemu: Path, tmp_path: Path) -> None:
    with preloaded(qemu, tmp_path, words=IDLE) as vm:
        vm.recording  # noqa: B018 (waits until it is there)
        words = [*ATTACH, str(vm.process.pid), "--qmp", str(tmp_path / "qmp")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"bqlscope summary {vm.process.pid}" in done.stderr
    assert os.fspath(tmp_path) not in done.stderr
