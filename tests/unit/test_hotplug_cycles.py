# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk is plugged, used and unplugged many times, under a guest that looks for it."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.machines import ACCELS, drive, machine_config, until
from vmm._native import lib
from vmm.guest.pattern import pattern
from vmm.machine import Machine
from vmm.requests import RequestKind

CYCLES = 50
BLOCKS = 64
SIZE = BLOCKS * 4096
STATUS = 0x70
PLACES: list[dict[str, Any]] = [{}, {"iothread": "io1"}, {"ioeventfd": False}]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> list[str]:
    """Names of the machine's threads; the workers of its pool come and go."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found.append((task / "comm").read_text().strip())
    return sorted(name for name in found if name.startswith(("CPU ", "IO ")))


def guest_let_go(machine: Machine) -> bool:
    """Whether the guest is done with its disk: used, reset, and marked with ACKNOWLEDGE."""
    disk = machine.disks[0]
    done = sum(row["requests"] for row in disk.statistics())
    return done >= 2 * BLOCKS and lib.virtio_mmio_read(disk.transport, STATUS, 4) == 1


@pytest.mark.parametrize("accel", ACCELS)
def test_fifty_plugs_and_unplugs_with_io_leave_nothing_behind(accel: str, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(SIZE))
    guest = f"rw=verify plugs={CYCLES} bs=4096 iodepth=16 transport=mmio seed=3"
    wanted = machine_config(guest=guest, accel=accel, objects=("iothread,id=io0",))
    seen: list[tuple[int, list[str]]] = []
    with Machine(wanted) as machine:
        hotplug = machine.hotplug

        async def act() -> None:
            for cycle in range(CYCLES):
                place = PLACES[cycle % len(PLACES)]
                hotplug.object_add("iothread", "io1", {})
                hotplug.blockdev_add(
                    {
                        "driver": "raw",
                        "node-name": "n0",
                        "file": {"driver": "file", "filename": str(image)},
                    }
                )
                hotplug.device_add("virtio-blk-device", "vd0", {"drive": "n0", **place})
                await until(lambda: guest_let_go(machine))
                hotplug.device_del("vd0")
                hotplug.blockdev_del("n0")
                hotplug.object_del("io1")
                assert image.read_bytes() == pattern(0, SIZE, 3 + cycle)
                seen.append((descriptors(), threads()))

        request = drive(machine, act)
        line = machine.serial.result_line
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 0), request
    assert line is not None
    assert json.loads(line)["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    # The guest ends once it is done with its last disk, perhaps before that was unplugged here.
    assert len(seen) in (CYCLES - 1, CYCLES)
    assert image.read_bytes() == pattern(0, SIZE, 3 + CYCLES - 1)
    assert seen[0] == seen[-1]
    assert all(names == seen[0][1] for _, names in seen)


@pytest.mark.parametrize("accel", ACCELS)
def test_an_unplug_with_requests_in_flight_completes_them_first(accel: str, tmp_path: Path) -> None:
    guest = "rw=mixed iodepth=32 bs=4096 ms=3600000"
    drive_text = "driver=null,size=16M,latency-us=2000,iothread=io0"
    with Machine(machine_config(drive_text, guest=guest, accel=accel)) as machine:

        async def act() -> None:
            disk = machine.disks[0]
            await until(lambda: sum(row["requests"] for row in disk.statistics()) > 100)
            machine.hotplug.device_del("disk0")
            machine.control.reset()  # the guest finds no disk now, and says so
            machine.hotplug.object_del("io0")

        request = drive(machine, act)
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 2)
