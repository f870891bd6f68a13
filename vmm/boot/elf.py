# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of ELF64 a boot loader needs: loadable segments and the PVH note."""

import struct
from dataclasses import dataclass
from pathlib import Path

from vmm.errors import VmmError
from vmm.files import read_whole

PT_LOAD, PT_NOTE = 1, 4
EM_X86_64 = 62
XEN_ELFNOTE_PHYS32_ENTRY = 18
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")


@dataclass(frozen=True)
class Segment:
    """One PT_LOAD: ``data`` goes to ``address`` (guest physical), zeroes up to ``memory_size``."""

    address: int
    data: memoryview
    memory_size: int


@dataclass(frozen=True)
class ElfImage:
    """A parsed kernel: its segments, e_entry (Linux's 64-bit entry), and the PVH entry."""

    segments: tuple[Segment, ...]
    entry: int
    pvh_entry: int


def read_kernel(path: Path) -> ElfImage:
    """Parse an ELF64 x86-64 kernel with a PVH entry note.

    Raises:
        VmmError: unreadable, no ELF, truncated, or without the note; one line with the way out.
    """
    try:
        data = memoryview(read_whole(path))
    except OSError as error:
        raise VmmError(f"kernel {path}: {error.strerror}") from None
    try:
        return _parse(data, path)
    except (struct.error, OverflowError):  # a table beyond the file, or beyond any file
        raise VmmError(f"kernel {path}: truncated ELF file") from None


def _parse(data: memoryview, path: Path) -> ElfImage:
    if bytes(data[:4]) != b"\x7fELF":
        hint = (
            " (a bzImage: pass the vmlinux it was made from)"
            if bytes(data[514:518]) == b"HdrS"
            else ""
        )
        raise VmmError(f"kernel {path}: not an ELF file{hint}")
    ident, _, machine, _, elf_entry, phoff, _, _, _, phentsize, phnum, *_ = _EHDR.unpack_from(data)
    if ident[4] != 2 or machine != EM_X86_64:
        raise VmmError(f"kernel {path}: not a 64-bit x86 ELF file")
    segments: list[Segment] = []
    entry: int | None = None
    for i in range(phnum):
        kind, _, offset, _, paddr, filesz, memsz, _ = _PHDR.unpack_from(data, phoff + i * phentsize)
        if kind not in (PT_LOAD, PT_NOTE):
            continue
        if offset + filesz > len(data) or memsz < filesz:
            raise VmmError(f"kernel {path}: segment {i} lies outside the file")
        content = data[offset : offset + filesz]
        if kind == PT_LOAD and memsz:
            segments.append(Segment(paddr, content, memsz))
        elif kind == PT_NOTE and entry is None:
            entry = _pvh_entry(content)
    if entry is None:
        raise VmmError(f"kernel {path}: no PVH entry note (Linux needs CONFIG_PVH=y)")
    if entry >= 1 << 32:
        raise VmmError(f"kernel {path}: the PVH entry 0x{entry:x} is not a 32-bit address")
    return ElfImage(tuple(segments), elf_entry, entry)


def _pvh_entry(notes: memoryview) -> int | None:
    """Find Xen's PHYS32_ENTRY among notes; name and descriptor are padded to 4 bytes."""
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, desc_size, kind = _NOTE.unpack_from(notes, at)
        name_at = at + _NOTE.size
        desc_at = name_at + (name_size + 3 & ~3)
        name = bytes(notes[name_at : name_at + name_size])
        if kind == XEN_ELFNOTE_PHYS32_ENTRY and name == b"Xen\0" and desc_size in (4, 8):
            if desc_at + desc_size > len(notes):
                return None
            return int.from_bytes(notes[desc_at : desc_at + desc_size], "little")
        at = desc_at + (desc_size + 3 & ~3)
    return None
