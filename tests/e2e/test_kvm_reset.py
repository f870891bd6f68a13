# SPDX-License-Identifier: GPL-2.0-or-later
"""What only a CPU has: a reset of its registers, and resets by a triple fault."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.elf import ElfBuilder, Load
from tests.support.machines import drive, machine_config, names, record_events, until
from vmm.machine import Machine
from vmm.requests import RequestKind

pytestmark = pytest.mark.kvm

FAULTS_TWICE = (
    b"\xfe\x05\x00\x90\x00\x00"  # inc byte [0x9000]: memory that a reset leaves alone
    b"\xa0\x00\x90\x00\x00\x3c\x03\x73\x02"  # mov al, [0x9000]; cmp al, 3; jae +2
    b"\x0f\x0b\xe6\xf4\xf4"  # ud2; out 0xf4, al; hlt
)


def test_a_triple_fault_is_a_reset_that_keeps_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(ElfBuilder(loads=[Load(0x10_0000, FAULTS_TWICE, 64)]).build())
    wanted = replace(machine_config(accel="kvm"), kernel=kernel, micro_guest=False)
    with Machine(wanted) as machine:
        events = record_events(machine)
        request = machine.run()
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 3)
    assert names(events) == ["RESUME", "RESET", "RESET", "SHUTDOWN"]
    told = "guest reset after a triple fault on CPU 0 (--no-reboot ends the VM)"
    assert [record.message for record in caplog.records] == [told]


def test_a_reset_puts_a_cpus_registers_back(tmp_path: Path) -> None:
    with Machine(machine_config(accel="kvm")) as machine:
        fresh = [cpu.registers() for cpu in machine.cpus]

        async def act() -> None:
            await until(lambda: machine.cpus[1].registers()["cr0"] != fresh[1]["cr0"])
            machine.control.stop()
            assert machine.cpus[0].registers() != fresh[0]
            machine.control.reset()
            assert [cpu.registers() for cpu in machine.cpus] == fresh
            machine.control.quit()

        drive(machine, act)
