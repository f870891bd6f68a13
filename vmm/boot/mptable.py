# SPDX-License-Identifier: GPL-2.0-or-later
"""The MP table: how a kernel without ACPI finds CPUs, IOAPIC and interrupt routing.

Source: Intel MultiProcessor Specification 1.4, chapter 4. It lies at the top of base memory, where
the specification has kernels look for it, and describes what the in-kernel irqchip has: one local
APIC a CPU (id = index), one IOAPIC of 24 pins, each interrupt on the pin of its own number.
"""

import struct

from vmm.memory import GuestMemory

MP_TABLE_ADDRESS = 0x9_FC00
LOCAL_APIC_ADDRESS = 0xFEE0_0000
IOAPIC_ADDRESS = 0xFEC0_0000
IOAPIC_PINS = 24
APIC_VERSION = 0x14
IOAPIC_VERSION = 0x11
ISA_BUS = 0
_SPEC_REVISION = 4
_POINTER = struct.Struct("<4sIBBBB4x")
_HEADER = struct.Struct("<4sHBB8s12sIHHIHBx")
_PROCESSOR = struct.Struct("<BBBBII8x")
_BUS = struct.Struct("<BB6s")
_IOAPIC = struct.Struct("<BBBBI")
_INTERRUPT = struct.Struct("<BBHBBBB")
_CPU_ENABLED, _CPU_BOOT = 1, 2
_FAMILY_6, _FPU_AND_APIC = 0x600, 0x201
_VECTORED, _NMI, _EXTERNAL = 0, 1, 3
_ALL_APICS = 0xFF


def _entries(cpus: int) -> list[bytes]:
    ioapic_id = cpus
    rows = [
        _PROCESSOR.pack(
            0,
            index,
            APIC_VERSION,
            _CPU_ENABLED | (_CPU_BOOT if index == 0 else 0),
            _FAMILY_6,
            _FPU_AND_APIC,
        )
        for index in range(cpus)
    ]
    rows.append(_BUS.pack(1, ISA_BUS, b"ISA   "))
    rows.append(_IOAPIC.pack(2, ioapic_id, IOAPIC_VERSION, 1, IOAPIC_ADDRESS))
    rows += [
        _INTERRUPT.pack(3, _VECTORED, 0, ISA_BUS, pin, ioapic_id, pin) for pin in range(IOAPIC_PINS)
    ]
    rows.append(_INTERRUPT.pack(4, _EXTERNAL, 0, ISA_BUS, 0, 0, 0))
    rows.append(_INTERRUPT.pack(4, _NMI, 0, ISA_BUS, 0, _ALL_APICS, 1))
    return rows


def _with_checksum(data: bytes, at: int) -> bytes:
    """Set the byte at ``at`` so that all bytes sum up to 0 modulo 256."""
    return data[:at] + bytes([-sum(data) & 0xFF]) + data[at + 1 :]


def build(cpus: int, address: int = MP_TABLE_ADDRESS) -> bytes:
    """The floating pointer and the table behind it, to be placed at ``address``."""
    rows = _entries(cpus)
    body = b"".join(rows)
    table_address = address + _POINTER.size
    header = _HEADER.pack(
        b"PCMP",
        _HEADER.size + len(body),
        _SPEC_REVISION,
        0,
        b"BQLSCOPE",
        b"VMM         ",
        0,
        0,
        len(rows),
        LOCAL_APIC_ADDRESS,
        0,
        0,
    )
    pointer = _POINTER.pack(b"_MP_", table_address, 1, _SPEC_REVISION, 0, 0)
    return _with_checksum(pointer, 10) + _with_checksum(header + body, 7)


def write(memory: GuestMemory, cpus: int) -> None:
    """Put the table into guest memory."""
    memory.write(MP_TABLE_ADDRESS, build(cpus))
