# SPDX-License-Identifier: GPL-2.0-or-later
"""The keyboard controller as part of a machine: object tree, ports, interrupts, reset."""

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmm._native import lib
from vmm.boot import mptable
from vmm.config import MachineConfig
from vmm.devices.i8042 import COMMAND_PORT, DATA_PORT, I8042, KEYBOARD_IRQ, MOUSE_IRQ
from vmm.display.options import FramebufferOptions
from vmm.input.router import Leds
from vmm.machine import Machine
from vmm.requests import RequestKind


@pytest.fixture(name="machine")
def _machine() -> Iterator[Machine]:
    config = MachineConfig(
        kernel=Path("micro"),
        micro_guest=True,
        command_line="mode=idle ms=1",
        accel="qtest",
        serial="null",
        record=False,
    )
    with Machine(config) as machine:
        machine.input.enabled = True  # as if it ran
        yield machine


def inb(machine: Machine, port: int) -> int:
    machine.bql.unlock()  # the access takes the lock as a vCPU's exit does
    value = int(lib.iospace_read(machine.iospace, lib.IO_PIO, port, 1))
    machine.bql.lock()
    return value


def outb(machine: Machine, port: int, value: int) -> None:
    machine.bql.unlock()
    lib.iospace_write(machine.iospace, lib.IO_PIO, port, value, 1)
    machine.bql.lock()


def test_the_object_tree_has_the_controller_and_its_devices(machine: Machine) -> None:
    found = {row.name: row.type for row in machine.qom.list("/machine/unattached")}
    for name in ("i8042", "ps2-kbd", "ps2-mouse"):
        assert found[name] == f"child<{name}>"
    assert isinstance(machine.qom.resolve("/machine/unattached/i8042"), I8042)


def test_keys_come_through_the_ports_translated(machine: Machine) -> None:
    machine.input.key("a", True)
    machine.input.key("a", False)
    seen = []
    while inb(machine, COMMAND_PORT) & 1:
        seen.append(inb(machine, DATA_PORT))
    assert seen == [0x1E, 0x9E]


def test_the_guests_leds_reach_the_router(machine: Machine) -> None:
    outb(machine, DATA_PORT, 0xED)
    outb(machine, DATA_PORT, 0x04)
    assert machine.input.leds == Leds(caps=True)


def test_a_reset_through_the_controller_is_a_reset_of_the_machine(machine: Machine) -> None:
    outb(machine, COMMAND_PORT, 0xFE)
    loop = machine.main_loop.asyncio
    request = loop.run_until_complete(asyncio.wait_for(machine.requests.wait(), 20))
    assert request.kind is RequestKind.RESET


def test_a_reset_of_the_machine_resets_the_controller_and_its_devices(machine: Machine) -> None:
    outb(machine, DATA_PORT, 0xED)
    outb(machine, DATA_PORT, 0x07)
    machine.input.key("a", True)
    machine.control.reset()
    assert inb(machine, COMMAND_PORT) & 1 == 0
    assert machine.input.leds == Leds()


def test_a_machine_that_does_not_run_takes_no_keys() -> None:
    config = MachineConfig(
        kernel=Path("micro"), micro_guest=True, accel="qtest", serial="null", record=False
    )
    with Machine(config) as machine:
        machine.input.key("a", True)
        assert inb(machine, COMMAND_PORT) & 1 == 0


@pytest.mark.parametrize("irq", [KEYBOARD_IRQ, MOUSE_IRQ])
def test_the_mp_table_routes_the_interrupts_to_the_pins_of_their_numbers(irq: int) -> None:
    table = mptable.build(2)[16:]
    at, routes = 44, {}
    while at < len(table):
        if table[at] == 3:
            kind, _flags, bus, source, _apic, pin = struct.unpack_from("<xBHBBBB", table, at)
            routes[bus, source] = (kind, pin)
        at += 20 if table[at] == 0 else 8
    assert routes[mptable.ISA_BUS, irq] == (0, irq)


def test_absolute_positions_are_those_of_the_screen_in_every_mode() -> None:
    config = MachineConfig(
        kernel=Path("micro"),
        micro_guest=True,
        command_line="mode=idle ms=1",
        accel="qtest",
        serial="null",
        record=False,
        framebuffer=FramebufferOptions(320, 200),
    )
    with Machine(config) as machine:
        assert machine.input.screen == (320, 200)
        assert machine.framebuffer is not None
        for offset, value in ((0x10, 640), (0x14, 480), (0x18, 0), (0x1C, 1)):
            machine.framebuffer.write(offset, value, 4)
        machine.console.settle()
        assert machine.input.screen == (640, 480)
