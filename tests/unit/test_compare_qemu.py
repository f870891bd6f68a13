# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU as a contestant: its command line, what it refuses, what is read out of its leftovers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profiler.compare.placement import Placement, PlanError
from profiler.compare.qemu import MACHINES, QemuVmm, guest_line, micro_guest
from profiler.compare.qemu_program import find_qemu
from profiler.compare.runner import Runner
from profiler.compare.trial import TrialError
from profiler.compare.vmm import Job, TrialFiles
from profiler.compare.workload import Drive, Workload
from profiler.errors import UserError
from tests.support import fake_recorder
from tests.support.compare import MICROVM, Q35, QEMU_7, QEMU_10, make_locks, make_qemu_plan

FILES = TrialFiles(Path("/r"))
IMAGE = Drive(Path("/d,1"), "none", readonly=True)
KINDS = ("mainloop", "vcpu", "iothread", "iothread-vq-mapping")


def words(vmm: QemuVmm, kind: str, irq: str = "") -> list[str]:
    (placement,) = vmm.placements([kind], [irq] if irq else [])
    return vmm.command(Job(placement, Workload(smp=3), vmm.drive(IMAGE), 7), FILES)


def values(command: list[str], option: str) -> list[str]:
    return [command[i + 1] for i, word in enumerate(command) if word == option]


def device(command: list[str]) -> dict[str, Any]:
    (text,) = [value for value in values(command, "-device") if value.startswith("{")]
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_recorder_comes_first_and_the_users_words_last() -> None:
    command = words(replace(MICROVM, recorder=("rec",), arguments=("-cpu", "host")), "mainloop")
    start, end = command.index("--"), len(command)
    assert command[:start] == [
        *("rec", "--quiet", "--window-recording", "--recording", "/r/recording.bql"),
        *("--json", "/r/result.json"),
    ]
    assert command[start + 1] == "/opt/qemu-10"
    assert command[end - 2 :] == ["-cpu", "host"]


@pytest.mark.parametrize(("vmm", "machine"), [(MICROVM, "microvm,pic=off"), (Q35, "q35")])
def test_both_machines_get_the_same_guest_disk_and_exit_device(vmm: QemuVmm, machine: str) -> None:
    command = words(vmm, "mainloop")
    assert values(command, "-M")[0].startswith(machine)
    assert values(command, "-smp") == ["3"]
    assert values(command, "-m")[-1:] == ["128M"]
    assert values(command, "-kernel") == ["/guest.elf"]
    assert values(command, "-append") == [
        "smp=3 rw=read iodepth=32 bs=4096 ms=1000 warmup_ms=200 queues=1 random=1 irq=1 seed=7 "
        "marks=1"
    ]
    assert values(command, "-drive") == [
        "if=none,id=d0,file=/d,,1,format=raw,cache=none,aio=native,readonly=on"
    ]
    assert "isa-debug-exit,iobase=0xf4,iosize=4" in values(command, "-device")
    assert values(command, "-accel") == ["kvm"]


@pytest.mark.parametrize(
    ("vmm", "driver"), [(MICROVM, "virtio-blk-device"), (Q35, "virtio-blk-pci")]
)
def test_a_placement_becomes_device_and_object_options(vmm: QemuVmm, driver: str) -> None:
    plain = {"driver": driver, "drive": "d0", "num-queues": 1, "queue-size": 256}
    assert device(words(vmm, "mainloop")) == plain
    assert device(words(vmm, "iothread")) == {**plain, "iothread": "io0"}
    assert device(words(vmm, "iothread-vq-mapping")) == {
        **plain,
        "num-queues": 2,
        "iothread-vq-mapping": [{"iothread": "io0"}, {"iothread": "io1"}],
    }
    objects = [values(words(vmm, kind), "-object") for kind in KINDS]
    assert [len(found) for found in objects] == [0, 0, 1, 2]
    assert objects[2] == ["iothread,id=io0,poll-max-ns=32768"]


def test_ioeventfd_is_a_property_of_the_transport() -> None:
    microvm, q35 = words(MICROVM, "vcpu"), words(Q35, "vcpu")
    assert "virtio-mmio.ioeventfd=off" in values(microvm, "-global")
    assert "ioeventfd" not in device(microvm)
    assert device(q35)["ioeventfd"] is False
    for vmm in (MICROVM, Q35):
        assert "ioeventfd" not in " ".join(words(vmm, "mainloop"))


@pytest.mark.parametrize(("vmm", "usual"), [(MICROVM, "mainloop"), (Q35, "irqfd")])
def test_the_usual_interrupt_path_is_the_machines_and_has_no_name(vmm: QemuVmm, usual: str) -> None:
    found = vmm.placements(["mainloop", "iothread"], [])
    assert [(p.name, p.irq) for p in found] == [("mainloop", usual), ("iothread", usual)]
    assert vmm.placements(["mainloop", "iothread"], [usual]) == found
    assert " irq=0 " in values(words(vmm, "iothread", "none"), "-append")[0]


@pytest.mark.parametrize(
    ("vmm", "irqs", "why"),
    [
        (MICROVM, ["irqfd"], "always pass through the main loop"),
        (MICROVM, ["irqfd", "mainloop"], "--machine q35"),
        (Q35, ["mainloop"], "MSI-X"),
    ],
)
def test_an_interrupt_path_that_the_machine_lacks_is_refused_with_the_reason(
    vmm: QemuVmm, irqs: list[str], why: str
) -> None:
    with pytest.raises(PlanError, match=why) as caught:
        vmm.placements(["mainloop", "iothread"], irqs)
    assert "\n" not in str(caught.value)


def test_a_mapping_needs_a_newer_qemu() -> None:
    old = replace(MICROVM, program=QEMU_7)
    with pytest.raises(PlanError, match=r"needs QEMU 9.0 or newer, /opt/qemu-7 is 7.2.22"):
        old.placements(["mainloop", "iothread-vq-mapping"], [])
    assert len(old.placements(["mainloop", "vcpu", "iothread"], [])) == 3


def test_the_backend_follows_from_the_image_unless_it_is_named() -> None:
    cached = replace(IMAGE, cache="writeback")
    assert MICROVM.drive(IMAGE).aio == "native"
    assert MICROVM.drive(cached).aio == "threads"
    assert replace(MICROVM, aio="io_uring").drive(cached).aio == "io_uring"
    with pytest.raises(PlanError, match="needs O_DIRECT"):
        replace(MICROVM, aio="native").drive(cached)


def test_the_guest_is_found_without_importing_the_vmm() -> None:
    code = (
        "import sys; from profiler.compare.qemu import micro_guest; print(micro_guest());"
        "assert not [name for name in sys.modules if name.startswith('vmm')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == micro_guest()


def test_a_guest_that_is_not_built_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiler.compare.qemu.find_spec", lambda _name: None)
    with pytest.raises(UserError, match="make build"):
        micro_guest()


# ---- what a trial leaves behind -----------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def run(behaviour: str, directory: Path) -> Any:
    """All trials of main loop against iothread with the stand-in recorder."""
    recorder = (sys.executable, "-m", fake_recorder.__name__, behaviour, str(directory))
    plan = make_qemu_plan(1, replace(MICROVM, recorder=recorder))
    reasons: list[str] = []

    class Notes:
        def started(self, *_: object) -> None: ...
        def finished(self, *_: object) -> None: ...
        def retried(self, _slot: object, reason: str) -> None:
            reasons.append(reason)

    runner = Runner([plan], lambda _recording, _window: make_locks())
    try:
        return runner.run(Notes())
    except UserError:
        return reasons[0]


def test_the_guests_line_and_the_recording_become_a_trial(directory: Path) -> None:
    base, other = run("ok", directory)
    assert (base.metrics["iops"], other.metrics["iops"]) == (251_000, 376_000)
    assert base.metrics["vcpu_bql_wait_share"] == pytest.approx(0.129)
    assert base.slot.vmm == "qemu"
    assert base.accel["name"] == "kvm"


def test_without_a_recording_the_lock_figures_are_missing(directory: Path) -> None:
    assert run("unrecorded", directory)[0].locks is None


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("refuse", "the recorder ended with exit status 2: bqlscope: QEMU has no lock pointer"),
        ("no-result", "no result, QEMU ended with exit status 1: qemu: no such device"),
        ("error", "the guest ended with status 3"),
        ("torn", 'no result, QEMU ended with exit status 1: {"bqlscope_guest": 1, "bl'),
        ("reset", "no result, QEMU ended with exit status 0"),
        ("killed", "no result, QEMU ended with exit status 137"),
    ],
)
def test_a_failed_trial_says_who_ended_how(directory: Path, behaviour: str, reason: str) -> None:
    assert run(behaviour, directory).startswith(reason)


@pytest.mark.parametrize(
    "end", [None, {}, {"status": "1"}, {"status": True}, {"status": 1, "signal": 9}]
)
def test_a_report_without_a_usable_exit_is_no_result(tmp_path: Path, end: Any) -> None:
    files = TrialFiles(tmp_path)
    files.log.write_text('{"bqlscope_guest":1}\n')
    files.output.write_text(json.dumps({"exit": end}))
    with pytest.raises(TrialError, match="no result"):
        MICROVM.collect(files, 1)


def test_only_a_whole_line_that_is_an_object_is_the_guests(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b'\xff noise\r\n{"bqlscope_guest":1,"x":2}\r\n')
    assert guest_line(log) == {"bqlscope_guest": 1, "x": 2}
    log.write_text('x {"bqlscope_guest":1}\n')
    assert guest_line(log) is None


# ---- finding QEMU -------------------------------------------------------------------------------


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_missing_qemu_ends_with_3_and_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UserError, match="apt install qemu-system-x86") as caught:
        find_qemu()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("answer", "version", "package"),
    [
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2)", "10.0.2", "Debian 1:10.0.2"),
        ("QEMU emulator version 9.1", "9.1", None),
    ],
)
def test_qemu_is_asked_for_its_version(
    tmp_path: Path, answer: str, version: str, package: str | None
) -> None:
    found = find_qemu(str(program(tmp_path / "q", f"echo '{answer}'")))
    assert (found.version, found.package) == (version, package)
    assert found.major == int(version.partition(".")[0])


@pytest.mark.parametrize("script", ["echo hello", "echo QEMU version 9.1; exit 1"])
def test_another_program_is_no_qemu(tmp_path: Path, script: str) -> None:
    with pytest.raises(UserError, match="does not answer as QEMU does") as caught:
        find_qemu(str(program(tmp_path / "q", script)))
    assert caught.value.exit_code == 2


def test_a_program_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "q"
    path.write_bytes(b"\x7fELF but not really")
    path.chmod(0o755)
    with pytest.raises(UserError, match="--version"):
        find_qemu(str(path))


def test_the_identity_tells_machine_and_transport() -> None:
    microvm, q35 = MICROVM.identity, Q35.identity
    assert (microvm.machine, microvm.transport) == ("microvm", "virtio-mmio")
    assert (q35.machine, q35.transport) == ("q35", "virtio-pci")
    assert (microvm.program, microvm.package) == (QEMU_10.path, QEMU_10.package)
    assert set(MACHINES) == {"microvm", "q35"}
    assert Placement("iothread", "mainloop", "mainloop").name == "iothread"
