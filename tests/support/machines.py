# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole machines in the test's process, and what a monitor would do to them while they run::

    def scenario(machine: Machine) -> ...:
        async def act() -> None:
            machine.control.stop()
            ...
        request = drive(machine, act)

``act`` runs in the machine's main loop, under the BQL, from the moment the machine runs; the
machine ends when the guest ends it, or by ``machine.control.quit()``.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.options import parse_drives, parse_object
from vmm.config import MachineConfig
from vmm.events import Event
from vmm.guest.image import micro_guest_path
from vmm.machine import Machine
from vmm.requests import Request
from vmm.runstate import RunOptions

PATIENCE_SECONDS = 40.0
KVM_HERE = os.environ.get("BQLSCOPE_VARIANT") != "tsan"
"""ThreadSanitizer keeps signals back until it sees fit, and a vCPU in KVM_RUN is stopped by one."""
ACCELS = ["qtest", pytest.param("kvm", marks=pytest.mark.kvm)] if KVM_HERE else ["qtest"]
ENDLESS = "mode=idle ms=3600000"


def machine_config(
    *drives: str,
    guest: str = ENDLESS,
    accel: str = "qtest",
    objects: tuple[str, ...] = ("iothread,id=io0", "iothread,id=io1"),
    run: RunOptions | None = None,
    **options: Any,
) -> MachineConfig:
    """A machine of two vCPUs with the micro-guest; ``drives`` are texts of --drive."""
    return MachineConfig(
        kernel=micro_guest_path() if accel == "kvm" else Path("micro"),
        micro_guest=True,
        command_line=f"{guest} smp=2",
        cpus=2,
        memory_bytes=64 << 20,
        accel=accel,
        objects=tuple(parse_object(text) for text in objects),
        drives=parse_drives(drives),
        serial="null",
        run=run or RunOptions(),
        **options,
    )


def record_events(machine: Machine) -> list[Event]:
    """The events of a machine from now on."""
    events: list[Event] = []
    machine.events.subscribe(events.append)
    return events


def names(events: list[Event]) -> list[str]:
    """Their names."""
    return [event.name for event in events]


def drive(machine: Machine, act: Callable[[], Awaitable[None]]) -> Request:
    """Run the machine and ``act`` in its loop; what ``act`` raises comes out here."""
    loop = machine.main_loop.asyncio
    errors: list[BaseException] = []

    async def guarded() -> None:
        try:
            await asyncio.wait_for(_call(act), PATIENCE_SECONDS)
        except BaseException as error:
            errors.append(error)
            machine.control.quit()

    task = loop.create_task(guarded())
    request = machine.run()
    if errors:
        raise errors[0]
    if not task.done():  # the guest ended the machine before act() was through
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    return request


async def _call(act: Callable[[], Awaitable[None]]) -> None:
    await act()


async def until(condition: Callable[[], bool]) -> None:
    """Let the machine run until ``condition`` holds; ``drive`` limits the time."""
    while not condition():
        await asyncio.sleep(0.001)


def requests_done(machine: Machine, disk: int = 0) -> int:
    """Requests that a disk has completed, over all queues."""
    return sum(row["requests"] for row in machine.disks[disk].statistics())


async def progress(machine: Machine, more: int = 0) -> None:
    """Let the machine run until its first disk has completed more than ``more`` requests."""
    before = requests_done(machine)
    await until(lambda: requests_done(machine) > before + more)
