# SPDX-License-Identifier: GPL-2.0-or-later
"""What every boot protocol does: kernel, initrd and command line into memory, and a map of that."""

import os
from dataclasses import dataclass
from pathlib import Path

from vmm.boot.elf import ElfImage, read_kernel
from vmm.errors import VmmError
from vmm.files import read_whole
from vmm.memory import HIGH_RAM_BASE, PAGE, GuestMemory

COMMAND_LINE_ADDRESS = 0x2_0000
COMMAND_LINE_MAX = 0x1_0000
LOW_RAM_END = 0x9_FC00
KERNEL_MINIMUM = 0x10_0000
E820_RAM, E820_RESERVED = 1, 2


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


def read_files(boot: BootFiles) -> BootImage:
    """Read kernel and initrd.

    Raises:
        VmmError: one is unreadable or malformed.
    """
    return BootImage(boot, read_kernel(boot.kernel), _read_initrd(boot.initrd))


def _read_initrd(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return read_whole(path)
    except OSError as error:
        raise VmmError(f"initrd {path}: {error.strerror}") from None


def load_segments(memory: GuestMemory, image: BootImage) -> int:
    """Put a kernel where it wants to be. Returns its end.

    Raises:
        VmmError: it does not fit.
    """
    end = KERNEL_MINIMUM
    for segment in image.kernel.segments:
        segment_end = segment.address + segment.memory_size
        if segment.address < KERNEL_MINIMUM or segment_end > memory.regions()[0][1]:
            raise VmmError(
                f"kernel {image.files.kernel}: segment at 0x{segment.address:x}"
                f" ({segment.memory_size} bytes) does not fit into guest memory of"
                f" {memory.size >> 20}M: raise --memory"
            )
        memory.write(segment.address, segment.data)
        data_end = segment.address + len(segment.data)
        memory.fill_zero(data_end, segment_end - data_end)  # dirty after a reset
        end = max(end, segment_end)
    return end


def load_initrd(memory: GuestMemory, image: BootImage, kernel_end: int) -> tuple[int, int] | None:
    """As high as it fits below 3 GiB, page aligned. Returns (address, size), None without one.

    Raises:
        VmmError: it does not fit.
    """
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


def write_command_line(memory: GuestMemory, text: str) -> None:
    """Put the command line at COMMAND_LINE_ADDRESS, with a zero byte at its end.

    Raises:
        VmmError: it is too long, or contains such a byte.
    """
    data = os.fsencode(text) + b"\0"
    if len(data) > COMMAND_LINE_MAX:
        raise VmmError(f"the kernel command line is longer than {COMMAND_LINE_MAX - 1} bytes")
    if b"\0" in data[:-1]:
        raise VmmError("the kernel command line contains a NUL byte")
    memory.write(COMMAND_LINE_ADDRESS, data)


def memory_map(memory: GuestMemory) -> list[tuple[int, int, int]]:
    """(guest address, size, E820 type) of each piece, ascending. Device addresses are left out."""
    (_, low_size, _), *high = memory.regions()
    return [
        (0, LOW_RAM_END, E820_RAM),
        (LOW_RAM_END, KERNEL_MINIMUM - LOW_RAM_END, E820_RESERVED),
        (KERNEL_MINIMUM, low_size - KERNEL_MINIMUM, E820_RAM),
        *((HIGH_RAM_BASE, size, E820_RAM) for _, size, _ in high),
    ]
