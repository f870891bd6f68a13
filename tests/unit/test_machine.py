# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole machines in this process on the qtest accelerator: sanitizers see every thread."""

import json
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profiler.check import check_snapshot
from profiler.model import Blocked
from profiler.reader import Recording
from tests.support.options import parse_drives, parse_object
from vmm._native import lib
from vmm.config import MachineConfig
from vmm.devices.virtio_slots import VIRTIO_MMIO_BASE
from vmm.errors import VmmError
from vmm.machine import Machine
from vmm.qom import PropertyError
from vmm.requests import RequestKind

CONFIG_SPACE, BLK_SIZE = 0x100, 20
GUEST = "rw=verify blocks=67 iodepth=16 bs=4096 marks=1"
PLACEMENTS = {
    "vcpu": "ioeventfd=off",
    "mainloop": "ioeventfd=on",
    "iothread": "iothread=io0",
    "iothread, interrupts by the main loop": "iothread=io0,irq=mainloop",
    "iothread-vq-mapping": "iothread-vq-mapping=io0+io1,num-queues=2",
}


def config(image: Path, drive: str, *, guest: str = GUEST, **options: Any) -> MachineConfig:
    return MachineConfig(
        kernel=Path("micro"),
        micro_guest=True,
        command_line=f"{guest} smp=2 queues=2",
        cpus=2,
        memory_bytes=64 << 20,
        accel="qtest",
        objects=(parse_object("iothread,id=io0"), parse_object("iothread,id=io1")),
        drives=parse_drives((f"file={image},{drive}",)),
        serial="null",
        **options,
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.mark.parametrize("policy", ["pthread", "ticket", "mcs"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_guest_verifies_its_pattern_and_the_recording_obeys_the_laws(
    placement: str, policy: str, image: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "vm.bql"
    wanted = config(
        image, PLACEMENTS[placement], bql_policy=policy, recording=recording, keep_recording=True
    )
    with Machine(wanted) as machine:
        request = machine.run()
        line = machine.serial.result_line
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 0)
    assert line is not None
    assert json.loads(line)["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    with Recording.open(str(recording)) as opened:
        snapshot = opened.snapshot(events=True)
    assert check_snapshot(snapshot).ok
    assert {"main", "CPU 0/QTEST", "CPU 1/QTEST"} <= {t.name for t in snapshot.threads}


def test_the_disk_is_linked_to_its_iothread_by_path(image: Path) -> None:
    with Machine(config(image, "iothread=io1,bootindex=3")) as machine:
        disk = machine.qom.resolve("/machine/peripheral/disk0")
        assert disk.get("iothread") == "/objects/io1"
        assert disk.get("bootindex") == 3


def test_poll_parameters_and_the_link_change_while_an_iothread_runs(image: Path) -> None:
    with Machine(config(image, "iothread=io0")) as machine:
        iothread = machine.qom.resolve("/objects/io0")
        iothread.set("poll-max-ns", 0)
        assert iothread.get("poll-max-ns") == 0
        disk = machine.qom.resolve("/machine/peripheral/disk0")
        disk.set("iothread", None)
        assert disk.get("iothread") == ""
        with pytest.raises(PropertyError, match="cannot change once realized"):
            disk.set("serial", "other")


def test_a_second_machine_on_the_same_image_is_refused(image: Path) -> None:
    with (
        Machine(config(image, "iothread=io0")),
        pytest.raises(VmmError, match='Failed to get "write" lock'),
    ):
        Machine(config(image, "iothread=io0"))


def machine_threads() -> list[str]:
    """Names of this process's threads that a machine makes."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it ended meanwhile, as io_uring's own threads do
            names.append((task / "comm").read_text().strip())
    return [name for name in names if name.startswith(("CPU ", "IO ", "worker"))]


def test_a_machine_is_built_and_taken_apart_without_running(image: Path) -> None:
    for _ in range(7):
        with Machine(config(image, "iothread=io0")):
            assert sorted(machine_threads()) == ["CPU 0/QTEST", "CPU 1/QTEST", "IO io0", "IO io1"]
    assert machine_threads() == []


def test_no_descriptor_is_left_behind(image: Path) -> None:
    Machine(config(image, "iothread=io0")).close()  # whatever is opened once and kept
    before = len(list(Path("/proc/self/fd").iterdir()))
    Machine(config(image, "iothread=io0")).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(("option", "size"), [("", 512), (",logical-block-size=4096", 4096)])
def test_the_guest_sees_the_logical_block_size(image: Path, option: str, size: int) -> None:
    with Machine(config(image, f"iothread=io0{option}")) as machine:
        machine.bql.unlock()  # the access below takes the lock as a vCPU's exit does
        address = VIRTIO_MMIO_BASE + CONFIG_SPACE + BLK_SIZE
        seen = lib.iospace_read(machine.iospace, lib.IO_MMIO, address, 4)
        machine.bql.lock()
    assert seen == size


def test_writing_the_serial_output_is_marked_as_blocked_on_a_file(
    image: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "vm.bql"
    wanted = config(image, "iothread=io0", recording=recording, keep_recording=True)
    with Machine(replace(wanted, serial=f"file:{tmp_path / 'serial.log'}")) as machine:
        machine.run()
    with Recording.open(str(recording)) as opened:
        rows = opened.snapshot().rows
    assert sum(row.blocked_count[Blocked.FILE_IO] for row in rows) > 0


def test_the_main_loops_wait_for_the_gil_is_its_own_column(image: Path, tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    wanted = config(image, "iothread=io0", recording=recording, keep_recording=True)
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    hog = threading.Thread(target=compute)
    hog.start()
    try:
        with Machine(wanted) as machine:
            machine.run()
    finally:
        stop.set()
        hog.join()
    with Recording.open(str(recording)) as opened:
        rows = opened.snapshot().rows
    assert sum(row.blocked_ticks[Blocked.GIL] for row in rows if row.thread == 0) > 0
