# SPDX-License-Identifier: GPL-2.0-or-later
"""The micro-guest's PCI driver against a bus that may lie: it works, or it ends with one line."""

import json
import struct
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cffi import FFI
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_pci import (
    COMMON_CAP,
    DEVICE_CAP,
    ISR_CAP,
    MSIX_BAR,
    MSIX_CAP,
    NOTIFY_CAP,
    RAM_BASE,
    RAM_SIZE,
    REGISTERS_BAR,
    VERSION_1,
    Bar,
    FakePc,
    Function,
    VirtioBlk,
)
from vmm.guest.pattern import pattern

GUEST = Path(__file__).resolve().parents[2] / "vmm" / "guest"
SLOT = 3 * 8
DISK_BYTES = 64 * 512
OK, DEVICE_FAILED = 0, 2
VERIFY = "rw=verify bs=4096 iodepth=4"
NO_REGISTERS = "the PCI device has no virtio 1.0 registers (disable-modern=on?)"
BROKEN_LIST = "the capability list of the PCI device is broken"
OUTSIDE = "a virtio structure of the PCI device lies outside its BAR"
UNFIT = "a virtio structure of the PCI device is too small or unaligned"
MULTIPLIER = "the notify multiplier of the PCI device is not an even power of 2"
MSIX_OUTSIDE = "the MSI-X table lies outside its PCI BAR"
HARNESS = """
#include <stdlib.h>
#include "guest.h"
void run_guest(const struct platform *platform, const char *cmdline);
void run_guest(const struct platform *platform, const char *cmdline)
{
    struct guest *g = aligned_alloc(128, (sizeof(*g) + 127) & ~127ul);
    __builtin_memset(g, 0, sizeof(*g));
    guest_init(g, platform, cmdline);
    guest_cpu_main(g, 0);
    free(g);
}
"""
Run = Callable[[FakePc, str], None]


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the guest on a machine to its end; what went wrong in the machine is raised here."""
    library = tmp_path_factory.mktemp("guest") / "guest.so"
    harness = library.with_name("harness.c")
    harness.write_text(HARNESS)
    sources = [source for source in GUEST.glob("*.c") if source.name != "platform_bare.c"]
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
    subprocess.run(
        ["gcc", *flags, "-shared", "-fPIC", f"-I{GUEST}", "-o", library, harness, *sources],
        check=True,
    )
    ffi = FFI()
    header = (GUEST / "platform.h").read_text().split("#ifdef GUEST_BARE", 1)[0]
    ffi.cdef("\n".join(line for line in header.splitlines() if not line.startswith("#")))
    ffi.cdef("void run_guest(const struct platform *platform, const char *cmdline);")
    lib: Any = ffi.dlopen(str(library))

    def run(machine: FakePc, words: str) -> None:
        problems: list[BaseException] = []
        platform, keep = platform_of(ffi, machine, problems)
        lib.run_guest(platform, words.encode())
        assert keep
        if problems:
            raise problems[0]

    return run


def platform_of(ffi: FFI, machine: FakePc, problems: list[BaseException]) -> tuple[Any, list[Any]]:
    """A struct platform that calls the machine, and what must live as long as it does."""
    ram = ffi.from_buffer(machine.ram)
    functions: dict[str, tuple[str, Callable[..., Any]]] = {
        "pio_read": ("uint64_t(void *, uint16_t, unsigned)", machine.pio_read),
        "pio_write": ("void(void *, uint16_t, uint64_t, unsigned)", machine.pio_write),
        "mmio_read": ("uint64_t(void *, uint64_t, unsigned)", machine.mmio_read),
        "mmio_write": ("void(void *, uint64_t, uint64_t, unsigned)", machine.mmio_write),
        "ram": ("void *(void *, uint64_t)", lambda gpa: ram + (gpa - RAM_BASE)),
        "ticks": ("uint64_t(void *)", machine.ticks),
        "relax": ("void(void *)", lambda: None),
    }
    platform: Any = ffi.new("struct platform *")
    keep: list[Any] = [ram]

    def note(_kind: Any, error: BaseException, _trace: Any) -> None:
        problems.append(error)

    def without_opaque(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda _opaque, *arguments: function(*arguments)

    for name, (signature, function) in functions.items():
        callback = ffi.callback(signature, without_opaque(function), onerror=note)
        keep.append(callback)
        setattr(platform, name, callback)
    platform.tick_khz, platform.dma_base, platform.dma_size = 1_000_000, RAM_BASE, RAM_SIZE
    return platform, keep


def result(machine: FakePc) -> dict[str, Any]:
    """The result line of a run that went well."""
    assert machine.exit_code == OK, machine.text
    parsed: dict[str, Any] = json.loads(machine.text)
    assert parsed["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    return parsed


def failure(machine: FakePc) -> str:
    """The one line of a run that failed because of the device."""
    assert machine.exit_code == DEVICE_FAILED, machine.text
    line, end = machine.text.decode().split("\n")
    assert not end
    return line.removeprefix("guest: ")


@pytest.mark.parametrize("device", [0x1042, 0x1001])
@pytest.mark.parametrize("indirect", [0, 1])
def test_data_arrives_and_a_polling_driver_leaves_msix_off(
    run: Run, device: int, indirect: int
) -> None:
    disk = VirtioBlk(device)
    disk.config[MSIX_CAP + 3] = 0x80  # as some firmware may have left it
    machine = FakePc({SLOT: disk})
    run(machine, f"{VERIFY} seed=7 queues=2 indirect={indirect}")
    blk = result(machine)["blk"]
    assert (blk["transport"], blk["msix"], blk["msix_pending"], blk["queues"]) == ("pci", 0, 0, 2)
    assert disk.data == pattern(0, DISK_BYTES, 7)
    assert not disk.msix_enabled
    assert [queue.vector for queue in disk.queues] == [0xFFFF] * 2
    assert disk.config[4:6] == b"\x06\x04"  # memory, bus master, no INTx
    assert set(disk.kicks) == {(0, 0, 2), (4, 1, 2)}  # each queue at its own address
    assert disk.status == 0


def test_with_interrupts_each_queue_has_an_msix_vector_and_no_register_is_read(run: Run) -> None:
    disk = VirtioBlk()
    machine = FakePc({SLOT: disk})
    run(machine, f"{VERIFY} queues=2 irq=1")
    blk = result(machine)["blk"]
    assert (blk["msix"], blk["queues"]) == (1, 2)
    assert disk.msix_enabled
    assert [queue.vector for queue in disk.queues] == [0, 1]
    assert disk.registers[16] == 0xFFFF  # configuration changes: no vector
    assert [disk.msix_entry(index) for index in range(2)] == [
        (0xFEE0_0000, 0x40, 0),
        (0xFEE0_0000, 0x41, 0),
    ]
    assert disk.isr_reads == 0


@pytest.mark.parametrize("address", [0, 0x1_0000_0000, 0xFFFF_C000_0000, 0xFFFF_8000_0000])
def test_a_bar_out_of_reach_moves_to_a_free_place_below_4_gib(run: Run, address: int) -> None:
    disk = VirtioBlk()
    disk.bars[REGISTERS_BAR].address = address
    disk.bars[MSIX_BAR].address = 0
    other = Function(0x1234, 0x1111, {0: Bar(0xF000_0000, 0x1000), 2: Bar(0xF100_0000, 0x1000)})
    other.config[4] = 2
    neighbour = {0: Bar(0xF000_4000, 0x4000, wide=True)}
    machine = FakePc({SLOT: disk, 8: other, 16: Function(0x8086, 1, neighbour)})
    run(machine, VERIFY)
    result(machine)
    taken = [bar for f in machine.functions.values() for bar in f.bars.values()]
    taken.sort(key=lambda bar: bar.address)
    assert all(a.address + a.size <= b.address for a, b in pairwise(taken))
    assert 0xF000_0000 < disk.bars[REGISTERS_BAR].address < 0xF001_0000
    assert 0xF000_0000 < disk.bars[MSIX_BAR].address < 0xF001_0000
    assert (other.decodes, other.bars[0].address) == (True, 0xF000_0000)


def test_the_second_disk_is_found_behind_bridges_and_functions(run: Run) -> None:
    disks = [VirtioBlk(), VirtioBlk(), VirtioBlk()]
    disks[2].bars[REGISTERS_BAR].address = 0xFEBE_0000
    disks[2].bars[MSIX_BAR].address = 0xFEBE_8000
    multi = Function(0x8086, 0x2922)
    multi.config[0x0E] = 0x80
    ghost = 8 + 1  # slot 1 says it has one function
    machine = FakePc(
        {0: Function(0x8086, 0x29C0), 8: disks[0], ghost: disks[1], 31 * 8: multi, 255: disks[2]}
    )
    run(machine, f"{VERIFY} disk=1 seed=2")
    result(machine)
    assert disks[2].data == pattern(0, DISK_BYTES, 2)
    assert not any(disks[0].data)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("disk=1", "no such virtio block device"),
        ("transport=pci disk=1", "no such virtio-pci block device on bus 0"),
        ("transport=mmio", "no such virtio-mmio block device"),
    ],
)
def test_a_missing_disk_is_named_by_transport(run: Run, words: str, message: str) -> None:
    machine = FakePc({SLOT: VirtioBlk()})
    run(machine, words)
    assert failure(machine) == message


def test_where_there_is_pci_nobody_reads_at_the_usual_place_of_virtio_mmio(run: Run) -> None:
    machine = FakePc({SLOT: VirtioBlk()})
    run(machine, VERIFY)
    result(machine)
    assert machine.unmapped == []


def test_devices_on_the_command_line_come_before_pci(run: Run) -> None:
    machine = FakePc({SLOT: VirtioBlk()})
    run(machine, f"{VERIFY} virtio_mmio=0xd0000000:0x200:2")
    assert result(machine)["blk"]["transport"] == "pci"
    assert machine.unmapped == [0xD000_0000, 0xD000_0200]


@pytest.mark.parametrize("transport", ["auto", "mmio", "pci"])
def test_a_machine_without_anything_gives_one_line(run: Run, transport: str) -> None:
    machine = FakePc({})
    run(machine, f"transport={transport}")
    assert failure(machine).startswith("no such virtio")
    assert (machine.config_accesses == 0) == (transport == "mmio")


def poke(at: int, layout: str, value: int) -> Callable[[VirtioBlk], None]:
    """A change of the configuration space."""
    return lambda disk: struct.pack_into(layout, disk.config, at, value)


def change(**fields: Any) -> Callable[[VirtioBlk], None]:
    """A change of the device."""
    return lambda disk: vars(disk).update(fields)


def with_bar(index: int, bar: Bar) -> Callable[[VirtioBlk], None]:
    """Another BAR."""
    return lambda disk: disk.bars.update({index: bar})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (poke(ISR_CAP + 1, "<B", MSIX_CAP), BROKEN_LIST),  # a loop
        (poke(ISR_CAP + 1, "<B", ISR_CAP), BROKEN_LIST),
        (poke(ISR_CAP + 1, "<B", 0x10), BROKEN_LIST),  # into the header
        (poke(0x34, "<B", 0x3C), BROKEN_LIST),
        (poke(0x34, "<B", 0), NO_REGISTERS),
        (poke(0x06, "<B", 0), NO_REGISTERS),  # no list
        (poke(COMMON_CAP + 4, "<B", 6), NO_REGISTERS),  # reserved BAR numbers are ignored
        (poke(NOTIFY_CAP + 4, "<B", 255), NO_REGISTERS),
        (poke(DEVICE_CAP + 3, "<B", 5), NO_REGISTERS),  # not a type in use
        (poke(COMMON_CAP + 2, "<B", 15), NO_REGISTERS),  # too short a capability
        (poke(NOTIFY_CAP + 2, "<B", 16), NO_REGISTERS),  # no multiplier
        (with_bar(REGISTERS_BAR, Bar(0xC000, 0x4000, io=True)), NO_REGISTERS),
        (lambda disk: disk.bars.pop(REGISTERS_BAR), NO_REGISTERS),
        (poke(COMMON_CAP + 8, "<I", 0xFFFF_FFF0), OUTSIDE),  # 32 bits would wrap
        (poke(DEVICE_CAP + 12, "<I", 0xFFFF_FFFF), OUTSIDE),
        (poke(NOTIFY_CAP + 12, "<I", 0x1001), OUTSIDE),
        (poke(COMMON_CAP + 12, "<I", 0x37), UNFIT),
        (poke(COMMON_CAP + 8, "<I", 2), UNFIT),
        (poke(DEVICE_CAP + 8, "<I", 0x1002), UNFIT),
        (poke(NOTIFY_CAP + 8, "<I", 0x2001), UNFIT),
        (poke(NOTIFY_CAP + 16, "<I", 3), MULTIPLIER),
        (poke(NOTIFY_CAP + 16, "<I", 1), MULTIPLIER),
        (poke(NOTIFY_CAP + 16, "<I", 0xFFFF_FFFF), MULTIPLIER),
        (poke(NOTIFY_CAP + 16, "<I", 0x8000_0000),
         "a queue's notification register lies outside the notify structure"),
        (poke(NOTIFY_CAP + 12, "<I", 5),
         "a queue's notification register lies outside the notify structure"),
        (poke(MSIX_CAP + 4, "<I", 0x1000 | MSIX_BAR), MSIX_OUTSIDE),
        (poke(MSIX_CAP + 2, "<H", 0x7FF), MSIX_OUTSIDE),
        (poke(MSIX_CAP + 4, "<I", 6), MSIX_OUTSIDE),
        (poke(MSIX_CAP + 2, "<H", 0), "the MSI-X table has fewer entries than queues are used"),
        (poke(0x34, "<B", COMMON_CAP), "irq=1 needs MSI-X, and the PCI device has none"),
        (change(refuses_vectors=True), "the PCI device refuses an MSI-X vector for a queue"),
        (with_bar(REGISTERS_BAR, Bar(1 << 40, 1 << 30, wide=True)),
         "no room below 4 GiB for a PCI BAR"),
        (change(features=0), "the device does not offer VERSION_1"),
        (change(features=VERSION_1, queues=[]), "the virtqueue is too small for this iodepth"),
    ],
)  # fmt: skip
def test_a_malformed_device_gives_one_line(
    run: Run, damage: Callable[[VirtioBlk], None], message: str
) -> None:
    disk = VirtioBlk()
    damage(disk)
    machine = FakePc({SLOT: disk})
    run(machine, f"{VERIFY} queues=2 irq=1")
    assert failure(machine) == message


def test_a_window_full_of_other_devices_gives_one_line(run: Run) -> None:
    disk = VirtioBlk()
    disk.bars[REGISTERS_BAR].address = 0
    machine = FakePc({SLOT: disk, 8: Function(1, 1, {0: Bar(0xE000_0000, 1 << 29)})})
    run(machine, VERIFY)
    assert failure(machine) == "no room below 4 GiB for a PCI BAR"


@given(
    tail=st.binary(min_size=192, max_size=192),
    first=st.integers(0, 255),
    irq=st.integers(0, 1),
    keep=st.sets(st.sampled_from([MSIX_CAP, COMMON_CAP, NOTIFY_CAP, DEVICE_CAP])),
)
def test_no_configuration_space_makes_the_guest_hang(
    run: Run, tail: bytes, first: int, irq: int, keep: set[int]
) -> None:
    disk = VirtioBlk()
    good = bytes(disk.config)
    disk.config[0x40:] = tail
    disk.config[0x34] = first
    for at in keep:  # random bytes alone rarely get beyond the first check
        disk.config[at : at + 20] = good[at : at + 20]
    machine = FakePc({SLOT: disk})
    run(machine, f"{VERIFY} queues=2 irq={irq}")
    assert machine.exit_code in (OK, DEVICE_FAILED, 1)  # 1: a capacity of almost nothing
    assert machine.text.count(b"\n") == 1
