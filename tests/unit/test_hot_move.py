# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that is in use moves between the main loop and iothreads: nothing lost, nothing doubled.

The guest is the judge: it complains about a completion it did not ask for and about one that does
not come, and ``rw=verify`` compares every byte.
"""

import json
import random
import struct
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from profiler.check import check_snapshot
from profiler.reader import Recording
from tests.support.machines import (
    ACCELS,
    ENDLESS,
    drive,
    machine_config,
    progress,
    requests_done,
    until,
)
from vmm._native import lib
from vmm.errors import VmmError
from vmm.guest.pattern import pattern
from vmm.machine import Machine
from vmm.requests import RequestKind

MOVES = 100
SIZE = 8 << 20
ENDLESS_IO = "rw=mixed iodepth=64 queues=2 bs=4096 ms=3600000"
PLACES = [None, "io0", "io1"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(SIZE))
    return path


def guest_result(machine: Machine) -> dict[str, object]:
    line = machine.serial.result_line
    assert line is not None
    result: dict[str, object] = json.loads(line)
    return result


@pytest.mark.parametrize("accel", ACCELS)
@pytest.mark.parametrize("backend", ["aio=io_uring", "aio=threads", "delay-us=100"])
@pytest.mark.parametrize("irq", ["irqfd", "mainloop"])
def test_a_hundred_moves_under_load_lose_nothing(
    accel: str, backend: str, irq: str, image: Path
) -> None:
    """A guest that sees a completion which it did not ask for, or none for 10 s, ends the VM."""
    drive_text = f"file={image},id=d0,num-queues=2,irq={irq},{backend}"
    with Machine(machine_config(drive_text, guest=f"{ENDLESS_IO} irq=1", accel=accel)) as machine:
        places = random.Random(7)

        async def act() -> None:
            for _ in range(MOVES):
                machine.hotplug.set_iothread("d0", places.choice(PLACES))
                await progress(machine)
            machine.control.stop()
            machine.control.quit()

        request = drive(machine, act)
        errors = [row["errors"] for row in machine.disks[0].statistics()]
    assert request.kind is RequestKind.SHUTDOWN, request
    assert errors == [0, 0]


@pytest.mark.parametrize("accel", ACCELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_written_and_read_across_moves_is_right(accel: str, seed: int, image: Path) -> None:
    guest = f"rw=verify bs=4096 iodepth=32 queues=2 seed={seed}"
    moves = 0
    drive_text = f"file={image},id=d0,num-queues=2,iothread=io0,delay-us=300"
    with Machine(machine_config(drive_text, guest=guest, accel=accel)) as machine:
        places = random.Random(seed)

        async def act() -> None:
            nonlocal moves
            while True:
                await progress(machine, 5)
                machine.hotplug.set_iothread("d0", places.choice(PLACES))
                moves += 1

        request = drive(machine, act)
        result = guest_result(machine)
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 0), request
    assert result["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    assert image.read_bytes() == pattern(0, SIZE, seed)
    assert moves >= 20


def test_requests_are_booked_on_the_placement_they_ran_in(image: Path, tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    drive_text = f"file={image},id=d0"
    wanted = machine_config(drive_text, guest=ENDLESS_IO, recording=recording, keep_recording=True)
    done = []
    with Machine(wanted) as machine:

        async def act() -> None:
            for place in ("io0", None, "io1"):
                done.append(requests_done(machine))
                await until(lambda: requests_done(machine) > done[-1] + 50)
                machine.control.stop()
                done.append(requests_done(machine))
                machine.hotplug.set_iothread("d0", place)
                machine.control.cont()
            machine.control.stop()
            machine.control.quit()

        drive(machine, act)
        total = requests_done(machine)
    with Recording.open(str(recording)) as opened:
        snapshot = opened.snapshot()
    assert check_snapshot(snapshot).ok
    by_placement = {q.key.placement: q.total for q in snapshot.queues}
    assert by_placement["mainloop"] == done[1] + (done[5] - done[3])
    assert by_placement["iothread"] == (done[3] - done[1]) + (total - done[5])


def test_the_iothread_property_is_the_same_switch(image: Path) -> None:
    with Machine(machine_config(f"file={image},id=d0,iothread-vq-mapping=io0+io1")) as machine:
        disk = machine.qom.resolve("/machine/peripheral/disk0")
        machine.hotplug.set_property(disk.path, "iothread", "/objects/io1")
        assert disk.get("iothread") == "/objects/io1"
        assert disk.get("iothread-vq-mapping") == []
        machine.hotplug.set_property(disk.path, "iothread", "io0")
        assert disk.get("iothread") == "/objects/io0"
        machine.hotplug.set_property(disk.path, "iothread", "")
        assert disk.get("iothread") == ""
        machine.hotplug.set_iothread("d0", "io1", force=True)
        assert disk.get("iothread") == "/objects/io1"


def test_a_move_that_cannot_be_is_refused_and_changes_nothing(image: Path) -> None:
    with Machine(machine_config(f"file={image},id=d0,ioeventfd=off")) as machine:
        with pytest.raises(VmmError, match=r"^Cannot find iothread io7$"):
            machine.hotplug.set_iothread("d0", "io7")
        with pytest.raises(VmmError, match=r"^Failed to find node with node-name='d9'$"):
            machine.hotplug.set_iothread("d9", None)
        with pytest.raises(VmmError, match="ioeventfd=off has the vCPUs process its queues"):
            machine.hotplug.set_iothread("d0", "io0")
        assert machine.disks[0].get("iothread") == ""


class ScriptedDriver(threading.Thread):
    """CPU 1, which the guest leaves alone, starts the disk, reads one sector, and resets it."""

    RINGS, DATA = 0x10_0000, 0x20_0000

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._vcpu = machine.cpus[1].native
        self._memory = machine.memory
        self._base = machine.disks[0].address

    def _write(self, register: int, value: int) -> None:
        lib.qtest_access(self._vcpu, lib.IO_MMIO, True, self._base + register, value, 4)

    def run(self) -> None:
        """Body of the thread; the last write waits until the request is through."""
        memory, rings, data = self._memory, self.RINGS, self.DATA
        memory.write(data, struct.pack("<IIQ", 0, 0, 0))
        chain = [(data, 16, 1, 1), (data + 16, 512, 3, 2), (data + 528, 1, 2, 0)]
        memory.write(rings, b"".join(struct.pack("<QIHH", *each) for each in chain))
        memory.write(rings + 0x1000, struct.pack("<HHH", 0, 1, 0))
        for status in (1, 3):
            self._write(0x70, status)
        self._write(0x24, 1)
        self._write(0x20, 1)  # VERSION_1
        self._write(0x70, 11)
        for register, value in ((0x38, 8), (0x80, rings), (0x90, rings + 0x1000)):
            self._write(register, value)
        self._write(0xA0, rings + 0x2000)
        self._write(0x44, 1)
        self._write(0x70, 15)
        self._write(0x50, 0)
        self._write(0x70, 0)


def test_a_move_waits_for_a_vcpu_that_is_in_a_reset_of_the_device(image: Path) -> None:
    wanted = machine_config(f"file={image},id=d0,delay-us=30000", guest=ENDLESS)
    wanted = replace(wanted, command_line=ENDLESS)  # CPU 1 runs no guest
    with Machine(wanted) as machine:
        disk = machine.disks[0]
        driver = ScriptedDriver(machine)

        async def act() -> None:
            driver.start()
            await until(lambda: lib.virtio_mmio_read(disk.transport, 0, 4) == 0)  # it is busy
            assert requests_done(machine) == 0
            machine.hotplug.set_iothread("d0", "io0")
            assert requests_done(machine) == 1
            assert disk.get("iothread") == "/objects/io0"
            await until(lambda: not driver.is_alive())
            machine.control.quit()

        drive(machine, act)
        driver.join()


def test_a_move_within_somebody_elses_drain_is_refused_and_undone(image: Path) -> None:
    with Machine(machine_config(f"file={image},id=d0,iothread=io1")) as machine:
        native = machine.disks[0].native
        lib.virtio_blk_drain_begin(native)
        with pytest.raises(VmmError, match=r"^Device 'disk0' is busy$"):
            machine.hotplug.set_iothread("d0", "io0")
        lib.virtio_blk_drain_end(native)
        assert machine.disks[0].get("iothread") == "/objects/io1"
