# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's 64-bit boot protocol: boot_params, page tables, and a CPU that starts in long mode."""

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.elf import ElfBuilder, Load
from vmm.boot import linux64
from vmm.boot.entry import LongMode
from vmm.boot.loading import BootFiles, memory_map
from vmm.config import MachineConfig
from vmm.display.options import VRAM_BASE, FramebufferOptions
from vmm.errors import VmmError
from vmm.machine import Machine
from vmm.memory import GuestMemory
from vmm.requests import RequestKind

MIB = 1 << 20
GIB = 1 << 30
SCREEN = FramebufferOptions(800, 600)
BANNER = b"Linux version 6.1.0 (somebody@somewhere)\n"
ENTRY = 0x10_0000


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    made = GuestMemory(16 * MIB)
    yield made
    made.close()


def linux(tmp_path: Path, code: bytes = b"\xf4") -> Path:
    path = tmp_path / "vmlinux"
    path.write_bytes(ElfBuilder(loads=[Load(ENTRY, code.ljust(256, b"\0") + BANNER)]).build())
    return path


def number(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def test_screen_info_describes_the_framebuffer() -> None:
    page = linux64.boot_params([], None, FramebufferOptions(800, 600, 8 * MIB))
    # orig_video_isVGA, lfb_width, lfb_height, lfb_depth, lfb_base, lfb_size, lfb_linelength
    found = [
        number(page, offset, size)
        for offset, size in ((0x0F, 1), (0x12, 2), (0x14, 2), (0x16, 2), (0x18, 4), (0x1C, 4))
    ]
    assert found == [0x23, 800, 600, 32, VRAM_BASE, 8 * MIB >> 16]
    assert number(page, 0x24, 2) == 3200
    sizes_and_positions = list(page[0x26:0x2E])
    assert sizes_and_positions == [8, 16, 8, 8, 8, 0, 8, 24]  # red, green, blue, reserved
    assert len(page) == 4096


def test_the_header_names_command_line_and_initrd() -> None:
    page = linux64.boot_params([], (0x30_0000, 12345), SCREEN)
    assert page[0x202:0x206] == b"HdrS"
    assert number(page, 0x1FE, 2) == 0xAA55
    assert number(page, 0x210, 1) == 0xFF
    assert number(page, 0x1EF, 1) == 0  # the sentinel: fields are what they seem
    assert [number(page, offset, 4) for offset in (0x218, 0x21C)] == [0x30_0000, 12345]
    assert [number(page, offset, 4) for offset in (0x228, 0x238)] == [0x2_0000, 0xFFFF]
    without = linux64.boot_params([], None, SCREEN)
    assert [number(without, offset, 4) for offset in (0x218, 0x21C)] == [0, 0]


@given(size=st.integers(256, 6 * GIB // 4096).map(lambda pages: pages * 4096))
def test_the_memory_map_is_the_machines_ram(size: int) -> None:
    memory = GuestMemory(max(size, MIB))
    try:
        pieces = memory_map(memory)
        page = linux64.boot_params(pieces, None, SCREEN)
        regions = memory.regions()
    finally:
        memory.close()
    entries = [
        struct.unpack_from("<QQI", page, 0x2D0 + i * 20) for i in range(number(page, 0x1E8, 1))
    ]
    assert entries == pieces
    ends = [(start, start + length) for start, length, _ in entries]
    assert ends == sorted(ends)
    assert all(first[1] <= second[0] for first, second in pairwise(ends))
    usable = sum(length for _, length, kind in entries if kind == 1)
    assert usable == sum(length for _, length, _ in regions) - (MIB - 0x9_FC00)
    assert not any(start < VRAM_BASE + SCREEN.vgamem and end > VRAM_BASE for start, end in ends)


@given(address=st.integers(0, (4 << 30) - 1))
def test_the_page_tables_map_the_low_4_gib_one_to_one(address: int) -> None:
    base = linux64.PAGE_TABLES_ADDRESS
    tables = linux64.page_tables(base)
    table = base
    for shift in (39, 30):
        entry = number(tables, table - base + (address >> shift & 511) * 8, 8)
        assert entry & 0xFFF == 0x3
        table = entry & ~0xFFF
    entry = number(tables, table - base + (address >> 21 & 511) * 8, 8)
    assert entry & 0xFFF == 0x83
    assert (entry & ~0xFFF) + (address & (2 * MIB - 1)) == address


def test_what_is_loaded_lies_side_by_side(memory: GuestMemory, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"cpio" * 2000)
    entry = linux64.load(memory, BootFiles(linux(tmp_path), "console=tty0", initrd), SCREEN)
    assert (entry.rip, entry.rsi) == (ENTRY, 0x7000)
    assert entry.long_mode == LongMode(0x9000, 0x500, 31, 0x10, 0x18)
    page = memory.read(entry.rsi, 4096)
    address, size = number(page, 0x218, 4), number(page, 0x21C, 4)
    assert memory.read(address, size) == b"cpio" * 2000
    assert memory.read(number(page, 0x228, 4), 13) == b"console=tty0\0"
    assert memory.read(0x500, 32) == struct.pack(
        "<4Q", 0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF
    )
    tables = linux64.page_tables(0x9000)
    assert memory.read(0x9000, len(tables)) == tables
    assert 0x9000 + len(tables) <= 0x2_0000


def test_a_row_too_long_for_linux_is_refused() -> None:
    with pytest.raises(VmmError, match="Linux can be told of 16383 pixels a row, not 16384"):
        linux64.screen_info(FramebufferOptions(16384, 16, 16 * MIB))
    assert linux64.screen_info(FramebufferOptions(16383, 16, 16 * MIB))


def test_linux_is_told_by_its_banner(tmp_path: Path) -> None:
    assert linux64.is_linux(linux(tmp_path))
    other = tmp_path / "other"
    other.write_bytes(ElfBuilder().build())
    assert not linux64.is_linux(other)
    assert not linux64.is_linux(tmp_path / "missing")


# mov eax,[rsi+0x18]; mov dword [rax+4],0x123456; mov al,7; out 0xf4,al; hlt
DRAWS_A_PIXEL = bytes.fromhex("8b4618 c7400456341200 b007 e6f4 f4")


def config(kernel: Path, **more: object) -> MachineConfig:
    options: dict[str, object] = {
        "kernel": kernel,
        "accel": "kvm",
        "memory_bytes": 16 * MIB,
        "serial": "null",
        "record": False,
    }
    return MachineConfig(**{**options, **more})  # type: ignore[arg-type]


@pytest.mark.kvm
def test_a_kernel_starts_in_long_mode_and_finds_the_screen_in_boot_params(tmp_path: Path) -> None:
    kernel = linux(tmp_path, DRAWS_A_PIXEL)
    with Machine(config(kernel, framebuffer=SCREEN)) as machine:
        request = machine.run()
        assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 7)
        pixels = machine.console.surface.pixels
        assert pixels[0, 1] == 0x123456
        assert int((pixels != 0).sum()) == 1


@pytest.mark.kvm
def test_without_a_screen_and_for_other_kernels_the_entry_is_pvhs(tmp_path: Path) -> None:
    # 32-bit code: cmp dword [ebx],0x336ec578; sete al; out 0xf4,al; hlt
    code = bytes.fromhex("813b78c56e33 0f94c0 e6f4 f4")
    other = tmp_path / "other"
    other.write_bytes(ElfBuilder(loads=[Load(ENTRY, code)]).build())
    for kernel, screen in ((linux(tmp_path, code), None), (other, SCREEN)):
        with Machine(config(kernel, framebuffer=screen)) as machine:
            assert machine.run().code == 1
            assert bool(machine.notes) == (screen is not None)
