# SPDX-License-Identifier: GPL-2.0-or-later
"""PVH direct boot: load a kernel, build the start info, say where CPU 0 starts.

Source: Xen's "x86/HVM direct boot ABI" (hvm_start_info version 1).
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from vmm.boot.elf import ElfImage, read_kernel
from vmm.boot.entry import EntryState
from vmm.errors import VmmError
from vmm.memory import HIGH_RAM_BASE, PAGE, GuestMemory

START_INFO_MAGIC = 0x336EC578
START_INFO_ADDRESS = 0x6000
MODULE_LIST_ADDRESS = 0x6080
MEMORY_MAP_ADDRESS = 0x6100
COMMAND_LINE_ADDRESS = 0x2_0000
COMMAND_LINE_MAX = 0x1_0000
LOW_RAM_END = 0x9_FC00
KERNEL_MINIMUM = 0x10_0000
E820_RAM, E820_RESERVED = 1, 2
_START_INFO = struct.Struct("<IIIIQQQQII")
_MODULE = struct.Struct("<QQQQ")
_MEMORY_ENTRY = struct.Struct("<QQII")


@dataclass(frozen=True)
class BootFiles:
    """What to boot."""

    kernel: Path
    command_line: str = ""
    initrd: Path | None = None


@dataclass(frozen=True)
class BootImage:
    """The contents of BootFiles, kept to boot from again after a reset."""

    files: BootFiles
    kernel: ElfImage
    initrd: bytes | None


def read(boot: BootFiles) -> BootImage:
    """Read the files.

    Raises:
        VmmError: one is unreadable or malformed.
    """
    return BootImage(boot, read_kernel(boot.kernel), _read_initrd(boot.initrd))


def load(memory: GuestMemory, boot: BootFiles | BootImage) -> EntryState:
    """Put kernel, command line and initrd into guest memory.

    Raises:
        VmmError: a file is unreadable or malformed, or does not fit.
    """
    image = boot if isinstance(boot, BootImage) else read(boot)
    kernel_end = _load_segments(memory, image.kernel, image.files.kernel)
    module = _load_initrd(memory, image, kernel_end)
    _write_command_line(memory, image.files.command_line)
    entries = _write_memory_map(memory)
    if module is not None:
        memory.write(MODULE_LIST_ADDRESS, _MODULE.pack(*module, 0, 0))
    start_info = _START_INFO.pack(
        START_INFO_MAGIC,
        1,
        0,
        int(module is not None),
        MODULE_LIST_ADDRESS if module is not None else 0,
        COMMAND_LINE_ADDRESS,
        0,
        MEMORY_MAP_ADDRESS,
        entries,
        0,
    )
    memory.write(START_INFO_ADDRESS, start_info)
    return EntryState(rip=image.kernel.pvh_entry, rbx=START_INFO_ADDRESS)


def _load_segments(memory: GuestMemory, image: ElfImage, path: Path) -> int:
    end = KERNEL_MINIMUM
    for segment in image.segments:
        segment_end = segment.address + segment.memory_size
        if segment.address < KERNEL_MINIMUM or segment_end > memory.regions()[0][1]:
            raise VmmError(
                f"kernel {path}: segment at 0x{segment.address:x} ({segment.memory_size} bytes)"
                f" does not fit into guest memory of {memory.size >> 20}M: raise --memory"
            )
        memory.write(segment.address, segment.data)
        data_end = segment.address + len(segment.data)
        memory.fill_zero(data_end, segment_end - data_end)  # dirty after a reset
        end = max(end, segment_end)
    return end


def _read_initrd(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise VmmError(f"initrd {path}: {error.strerror}") from None


def _load_initrd(memory: GuestMemory, image: BootImage, kernel_end: int) -> tuple[int, int] | None:
    """As high as it fits below 3 GiB, page aligned. Returns (address, size)."""
    data = image.initrd
    if data is None:
        return None
    low_size = memory.regions()[0][1]
    address = (low_size - len(data)) & ~(PAGE - 1)
    if address < kernel_end:
        raise VmmError(
            f"initrd {image.files.initrd}: does not fit beside the kernel: raise --memory"
        )
    memory.write(address, data)
    return address, len(data)


def _write_command_line(memory: GuestMemory, text: str) -> None:
    data = os.fsencode(text) + b"\0"
    if len(data) > COMMAND_LINE_MAX:
        raise VmmError(f"the kernel command line is longer than {COMMAND_LINE_MAX - 1} bytes")
    if b"\0" in data[:-1]:
        raise VmmError("the kernel command line contains a NUL byte")
    memory.write(COMMAND_LINE_ADDRESS, data)


def _write_memory_map(memory: GuestMemory) -> int:
    (_, low_size, _), *high = memory.regions()
    entries = [
        (0, LOW_RAM_END, E820_RAM),
        (LOW_RAM_END, KERNEL_MINIMUM - LOW_RAM_END, E820_RESERVED),
        (KERNEL_MINIMUM, low_size - KERNEL_MINIMUM, E820_RAM),
    ]
    entries += [(HIGH_RAM_BASE, size, E820_RAM) for _, size, _ in high]
    for i, (address, size, kind) in enumerate(entries):
        packed = _MEMORY_ENTRY.pack(address, size, kind, 0)
        memory.write(MEMORY_MAP_ADDRESS + i * _MEMORY_ENTRY.size, packed)
    return len(entries)
