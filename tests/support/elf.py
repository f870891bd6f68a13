# SPDX-License-Identifier: GPL-2.0-or-later
"""Synthetic kernels: ELF64 files with the parts a boot loader looks at, right or wrong."""

import struct
from dataclasses import dataclass, field

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
PT_LOAD, PT_NOTE = 1, 4
PHYS32_ENTRY = 18


def note(name: bytes = b"Xen\0", kind: int = PHYS32_ENTRY, desc: bytes = b"") -> bytes:
    """One ELF note, name and descriptor padded to 4 bytes."""
    head = struct.pack("<III", len(name), len(desc), kind)
    return head + name + bytes(-len(name) % 4) + desc + bytes(-len(desc) % 4)


def pvh_note(entry: int, size: int = 4) -> bytes:
    """Xen's PHYS32_ENTRY with a 4 or 8 byte descriptor."""
    return note(desc=entry.to_bytes(size, "little"))


@dataclass
class Load:
    """A PT_LOAD; ``memory_size`` None: as large as the data."""

    address: int
    data: bytes
    memory_size: int | None = None


@dataclass
class ElfBuilder:
    """An ELF file. Every field may be set to something wrong before build()."""

    loads: list[Load] = field(default_factory=lambda: [Load(0x10_0000, b"\xf4" * 64, 128)])
    notes: bytes | None = field(default_factory=lambda: pvh_note(0x10_0000))
    entry: int = 0x10_0000
    elf_class: int = 2
    machine: int = 62
    header_entry_size: int = PHDR.size
    header_offset: int | None = None

    def build(self) -> bytes:
        """The file."""
        pieces = [(PT_LOAD, load.address, load.data, load.memory_size) for load in self.loads]
        if self.notes is not None:
            pieces.append((PT_NOTE, 0, self.notes, None))
        at = EHDR.size + PHDR.size * len(pieces)
        headers, body = b"", b""
        for kind, address, data, memory_size in pieces:
            size = len(data) if memory_size is None else memory_size
            headers += PHDR.pack(kind, 7, at + len(body), 0, address, len(data), size, 4096)
            body += data
        ident = b"\x7fELF" + bytes([self.elf_class, 1, 1]) + bytes(9)
        offset = EHDR.size if self.header_offset is None else self.header_offset
        fields = (2, self.machine, 1, self.entry, offset, 0, 0, EHDR.size)
        counts = (self.header_entry_size, len(pieces), 0, 0, 0)
        return EHDR.pack(ident, *fields, *counts) + headers + body
