# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels are parsed and loaded per Xen's x86/HVM direct boot ABI, and hostile ones are refused."""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.elf import EHDR, PHDR, ElfBuilder, Load, note, pvh_note
from vmm.boot import pvh
from vmm.boot.elf import read_kernel
from vmm.boot.entry import EntryState
from vmm.boot.loading import BootFiles
from vmm.boot.native_guest import NativeGuest
from vmm.errors import VmmError
from vmm.memory import GuestMemory

MIB = 1 << 20
LOW_RAM_END, ONE_MIB = 0x9_FC00, 0x10_0000


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    made = GuestMemory(16 * MIB)
    yield made
    made.close()


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinux"
    path.write_bytes(ElfBuilder().build())
    return path


def refused(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(VmmError) as caught:
        read_kernel(path)
    text = str(caught.value)
    assert text.startswith(f"kernel {path}: ")
    assert "\n" not in text
    return text


def test_segments_and_entry_are_found(tmp_path: Path) -> None:
    loads = [Load(0x10_0000, b"text", 4), Load(0x20_0000, b"data", 4096)]
    path = tmp_path / "vmlinux"
    path.write_bytes(ElfBuilder(loads=loads, notes=pvh_note(0x10_0003)).build())
    image = read_kernel(path)
    assert image.pvh_entry == 0x10_0003
    assert [(s.address, bytes(s.data), s.memory_size) for s in image.segments] == [
        (0x10_0000, b"text", 4),
        (0x20_0000, b"data", 4096),
    ]


@pytest.mark.parametrize(
    "notes",
    [
        note(b"GNU\0", 3, b"build-id-of-20-bytes") + pvh_note(0x1234),
        note(b"odd", 1, b"\1\2\3") + pvh_note(0x1234),
        note(b"Xen\0", 5, b"linux\0") + pvh_note(0x1234, size=8),
        pvh_note(0x1234) + b"\0" * 5,
        note(b"GNU\0", 18, bytes(4)) + pvh_note(0x1234),
    ],
)
def test_the_note_is_found_among_others(tmp_path: Path, notes: bytes) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(ElfBuilder(notes=notes).build())
    assert read_kernel(path).pvh_entry == 0x1234


@pytest.mark.parametrize(
    "notes",
    [
        None,
        b"",
        note(b"Xen\0", 17, bytes(4)),
        note(b"Xem\0", 18, bytes(4)),
        note(b"Xen\0", 18, bytes(2)),
        pvh_note(0x1234)[:-1],
        pvh_note(0x1234)[:11],
        struct.pack("<III", 0xFFFF_FFFF, 0xFFFF_FFFF, 18) + b"Xen\0",
    ],
)
def test_a_kernel_without_a_whole_pvh_note_is_refused(tmp_path: Path, notes: bytes | None) -> None:
    assert "CONFIG_PVH" in refused(tmp_path, ElfBuilder(notes=notes).build())


def test_an_entry_that_32_bits_cannot_hold_is_refused(tmp_path: Path) -> None:
    text = refused(tmp_path, ElfBuilder(notes=pvh_note(1 << 32, size=8)).build())
    assert "0x100000000" in text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an ELF file"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (bytes(514) + b"HdrS" + bytes(100), "bzImage"),
        (b"\x7fELF", "truncated"),
        (ElfBuilder().build()[: EHDR.size - 1], "truncated"),
        (ElfBuilder().build()[: EHDR.size + PHDR.size // 2], "truncated"),
        (ElfBuilder().build()[:-1], "outside the file"),
        (ElfBuilder(elf_class=1).build(), "64-bit"),
        (ElfBuilder(machine=183).build(), "64-bit"),
        (ElfBuilder(loads=[Load(0x10_0000, b"abcd", 3)]).build(), "outside the file"),
        (ElfBuilder(header_offset=1 << 40).build(), "truncated"),
        (ElfBuilder(header_offset=(1 << 64) - 1).build(), "truncated"),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refused(tmp_path, data)


@pytest.mark.parametrize("path", ["/nonexistent/vmlinux", "/"])
def test_an_unreadable_kernel_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(VmmError, match=f"kernel {path}: "):
        read_kernel(Path(path))


@pytest.mark.parametrize(
    "load",
    [
        Load(0, b"x"),
        Load(ONE_MIB - 1, b"x"),
        Load(16 * MIB, b"x"),
        Load(16 * MIB - 1, b"x", 2),
        Load(ONE_MIB, b"x", 1 << 63),
        Load((1 << 64) - 1, b"x", 1),
    ],
)
def test_a_segment_outside_guest_memory_is_refused(
    tmp_path: Path, memory: GuestMemory, load: Load
) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(ElfBuilder(loads=[load]).build())
    with pytest.raises(VmmError, match="does not fit into guest memory of 16M"):
        pvh.load(memory, BootFiles(path))


def test_a_segment_may_end_where_memory_ends(tmp_path: Path, memory: GuestMemory) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(ElfBuilder(loads=[Load(16 * MIB - 4, b"last")]).build())
    pvh.load(memory, BootFiles(path))
    assert memory.read(16 * MIB - 4, 4) == b"last"


class StartInfo:
    """hvm_start_info, read back as a guest would."""

    def __init__(self, memory: GuestMemory, address: int) -> None:
        raw = struct.unpack("<IIIIQQQQII", memory.read(address, 56))
        self.magic, self.version, self.flags, self.modules = raw[:4]
        self.module_list, self.command_line, self.rsdp, self.memory_map = raw[4:8]
        self.memory_entries, self.reserved = raw[8:]
        self._memory = memory

    def text(self) -> bytes:
        return self._memory.read(self.command_line, 0x1_0000).partition(b"\0")[0]

    def module(self) -> tuple[int, int, int, int]:
        address, size, text, zero = struct.unpack("<QQQQ", self._memory.read(self.module_list, 32))
        return address, size, text, zero

    def map(self) -> list[tuple[int, int, int, int]]:
        data = self._memory.read(self.memory_map, 24 * self.memory_entries)
        return [(a, b, c, d) for a, b, c, d in struct.iter_unpack("<QQII", data)]


def boot(memory: GuestMemory, files: BootFiles) -> StartInfo:
    entry = pvh.load(memory, files)
    return StartInfo(memory, entry.rbx)


def test_the_start_info_is_what_the_abi_says(memory: GuestMemory, kernel: Path) -> None:
    entry = pvh.load(memory, BootFiles(kernel, "console=ttyS0"))
    info = StartInfo(memory, entry.rbx)
    assert entry == EntryState(rip=0x10_0000, rbx=0x6000)
    assert (info.magic, info.version, info.flags) == (0x336E_C578, 1, 0)
    assert (info.modules, info.module_list, info.rsdp, info.reserved) == (0, 0, 0, 0)
    assert info.text() == b"console=ttyS0"
    assert memory.read(0x10_0000, 65) == b"\xf4" * 64 + b"\0"


def test_the_memory_map_covers_ram_and_keeps_the_hole_below_1m(
    memory: GuestMemory, kernel: Path
) -> None:
    assert boot(memory, BootFiles(kernel)).map() == [
        (0, LOW_RAM_END, 1, 0),
        (LOW_RAM_END, ONE_MIB - LOW_RAM_END, 2, 0),
        (ONE_MIB, 15 * MIB, 1, 0),
    ]


def test_memory_beyond_3g_continues_above_4g(kernel: Path) -> None:
    memory = GuestMemory(4 << 30)  # never touched, so never there
    try:
        entries = boot(memory, BootFiles(kernel)).map()
    finally:
        memory.close()
    assert entries[2:] == [(ONE_MIB, (3 << 30) - ONE_MIB, 1, 0), (4 << 30, 1 << 30, 1, 0)]


@pytest.mark.parametrize("size", [0, 1, 4096, 5000])
def test_the_initrd_is_a_page_aligned_module_at_the_end_of_memory(
    tmp_path: Path, memory: GuestMemory, kernel: Path, size: int
) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(bytes(i & 0xFF for i in range(size)))
    info = boot(memory, BootFiles(kernel, initrd=initrd))
    address, length, text, zero = info.module()
    assert (info.modules, length, text, zero) == (1, size, 0, 0)
    assert address % 4096 == 0
    assert address + size <= 16 * MIB < address + size + 4096 + (size == 0)
    assert memory.read(address, size) == initrd.read_bytes()


def test_an_initrd_that_would_lie_on_the_kernel_is_refused(
    tmp_path: Path, memory: GuestMemory, kernel: Path
) -> None:
    initrd = tmp_path / "initrd"
    with initrd.open("wb") as file:
        file.truncate(15 * MIB)
    with pytest.raises(VmmError, match="does not fit beside the kernel"):
        pvh.load(memory, BootFiles(kernel, initrd=initrd))
    with pytest.raises(VmmError, match="initrd /nonexistent/i: No such file"):
        pvh.load(memory, BootFiles(kernel, initrd=Path("/nonexistent/i")))


def test_a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for(
    tmp_path: Path, memory: GuestMemory, kernel: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(VmmError, match=r"initrd .*/pipe: is a pipe; it must be a file"):
        pvh.load(memory, BootFiles(kernel, initrd=pipe))
    with pytest.raises(VmmError, match=r"kernel .*/pipe: is a pipe; it must be a file"):
        pvh.load(memory, BootFiles(pipe))


def test_the_longest_command_line_fits_and_one_byte_more_is_refused(
    memory: GuestMemory, kernel: Path
) -> None:
    assert boot(memory, BootFiles(kernel, "x" * 0xFFFF)).text() == b"x" * 0xFFFF
    with pytest.raises(VmmError, match="longer than 65535 bytes"):
        pvh.load(memory, BootFiles(kernel, "x" * 0x1_0000))
    with pytest.raises(VmmError, match="NUL"):
        pvh.load(memory, BootFiles(kernel, "a\0b"))


def test_a_command_line_that_is_no_utf8_reaches_the_guest_byte_for_byte(
    memory: GuestMemory, kernel: Path
) -> None:
    text = os.fsdecode(b"caf\xe9=\xff")
    assert boot(memory, BootFiles(kernel, text)).text() == b"caf\xe9=\xff"


def test_the_native_guest_needs_memory_for_its_rings() -> None:
    memory = GuestMemory(4 * MIB)
    try:
        with pytest.raises(VmmError, match="more than 4M"):
            NativeGuest(memory, "")
    finally:
        memory.close()


VALID = ElfBuilder(notes=note(b"GNU\0", 3, bytes(8)) + pvh_note(0x10_0000)).build()
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(VALID) - 1),
        st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255),
    ),
    min_size=1,
    max_size=8,
)


@given(MUTATIONS, st.none() | st.integers(0, len(VALID)))
def test_any_damaged_kernel_is_loaded_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, mutations: list[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(VALID)
    for at, value in mutations:
        data[at] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data[:cut])
    memory = GuestMemory(4 * MIB)
    try:
        with suppress(VmmError):
            entry = pvh.load(memory, BootFiles(path))
            assert 0 <= entry.rip < 1 << 32
    finally:
        memory.close()
