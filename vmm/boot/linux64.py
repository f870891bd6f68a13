# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's 64-bit boot protocol: how a vmlinux learns of the screen.

PVH has no word for a framebuffer, and Linux's PVH entry makes its boot_params itself. So a Linux on
a machine with a screen starts at its 64-bit entry, with boot_params (the "zero page") made here:

    0x0500  descriptor table: code at 0x10, data at 0x18
    0x7000  boot_params: screen_info, command line, initrd, memory map (e820)
    0x9000  page tables: the low 4 GiB, each address on itself, in 2 MiB pages

Source: the kernel's Documentation/arch/x86/boot.rst ("64-bit boot protocol") and zero-page.rst,
include/uapi/linux/screen_info.h; offsets below are those of struct boot_params.
"""

import struct
from pathlib import Path

from vmm.boot.entry import EntryState, LongMode
from vmm.boot.loading import (
    COMMAND_LINE_ADDRESS,
    COMMAND_LINE_MAX,
    BootFiles,
    BootImage,
    load_initrd,
    load_segments,
    memory_map,
    read_files,
    write_command_line,
)
from vmm.display.options import VRAM_BASE, FramebufferOptions
from vmm.errors import VmmError
from vmm.memory import PAGE, GuestMemory

GDT_ADDRESS = 0x500
BOOT_PARAMS_ADDRESS = 0x7000
PAGE_TABLES_ADDRESS = 0x9000
BOOT_CS, BOOT_DS = 0x10, 0x18
VIDEO_TYPE_VLFB = 0x23
_GDT = struct.Struct("<4Q")
_FLAT_CODE64, _FLAT_DATA = 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF
_IDENTITY_GIB = 4
_TABLE, _LARGE_PAGE = 0x3, 0x83  # present, writable; page size 2 MiB
_E820_ENTRIES, _E820_TABLE, _E820_ENTRY = 0x1E8, 0x2D0, struct.Struct("<QQI")
_BANNER = b"Linux version "
_UNKNOWN_LOADER, _LOADED_HIGH = 0xFF, 0x01
_NOT_VGA_COMPATIBLE = 0x2
_LFB_UNIT = 1 << 16  # bytes of a unit of lfb_size with VIDEO_TYPE_VLFB
_MAX_LINE_LENGTH = 0xFFFF


def is_linux(kernel: Path) -> bool:
    """Whether a file has Linux's banner in it. False if it cannot be read: others will say so."""
    try:
        return _BANNER in kernel.read_bytes()
    except OSError:
        return False


def load(
    memory: GuestMemory, boot: BootFiles | BootImage, screen: FramebufferOptions
) -> EntryState:
    """Put kernel, command line, initrd and boot_params into guest memory.

    Raises:
        VmmError: a file is unreadable or malformed, or does not fit; or the screen is too wide.
    """
    image = boot if isinstance(boot, BootImage) else read_files(boot)
    kernel_end = load_segments(memory, image)
    initrd = load_initrd(memory, image, kernel_end)
    write_command_line(memory, image.files.command_line)
    memory.write(BOOT_PARAMS_ADDRESS, boot_params(memory_map(memory), initrd, screen))
    memory.write(GDT_ADDRESS, _GDT.pack(0, 0, _FLAT_CODE64, _FLAT_DATA))
    memory.write(PAGE_TABLES_ADDRESS, page_tables(PAGE_TABLES_ADDRESS))
    long_mode = LongMode(PAGE_TABLES_ADDRESS, GDT_ADDRESS, _GDT.size - 1, BOOT_CS, BOOT_DS)
    return EntryState(rip=image.kernel.entry, rsi=BOOT_PARAMS_ADDRESS, long_mode=long_mode)


def boot_params(
    pieces: list[tuple[int, int, int]], initrd: tuple[int, int] | None, screen: FramebufferOptions
) -> bytes:
    """The zero page.

    Args:
        pieces: (address, size, type) of each entry of the memory map.
        initrd: (address, size).
    """
    page = bytearray(PAGE)
    page[0:0x40] = screen_info(screen)
    struct.pack_into("<B", page, _E820_ENTRIES, len(pieces))
    for i, piece in enumerate(pieces):
        _E820_ENTRY.pack_into(page, _E820_TABLE + i * _E820_ENTRY.size, *piece)
    struct.pack_into("<HH4s", page, 0x1FE, 0xAA55, 0, b"HdrS")
    struct.pack_into("<H", page, 0x206, 0x020F)  # version of the protocol
    struct.pack_into("<BB", page, 0x210, _UNKNOWN_LOADER, _LOADED_HIGH)
    struct.pack_into("<II", page, 0x218, *(initrd or (0, 0)))
    struct.pack_into("<I", page, 0x228, COMMAND_LINE_ADDRESS)
    struct.pack_into("<I", page, 0x238, COMMAND_LINE_MAX - 1)
    return bytes(page)


def screen_info(screen: FramebufferOptions) -> bytes:
    """struct screen_info, 64 bytes: a linear framebuffer of XRGB8888.

    Raises:
        VmmError: the length of a row does not fit into its 16 bits.
    """
    mode = screen.mode
    if mode.stride > _MAX_LINE_LENGTH:
        raise VmmError(f"framebuffer: Linux can be told of 16383 pixels a row, not {mode.width}")
    info = bytearray(0x40)
    struct.pack_into("<B", info, 0x07, 80)  # columns and rows of the text mode that never was
    struct.pack_into("<BBH", info, 0x0E, 25, VIDEO_TYPE_VLFB, 16)
    struct.pack_into("<HHH", info, 0x12, mode.width, mode.height, 32)
    struct.pack_into("<II", info, 0x18, VRAM_BASE, screen.vgamem // _LFB_UNIT)
    struct.pack_into("<H", info, 0x24, mode.stride)
    # Size and position in bits of red, green, blue and the rest.
    struct.pack_into("<8B", info, 0x26, 8, 16, 8, 8, 8, 0, 8, 24)
    struct.pack_into("<I", info, 0x36, _NOT_VGA_COMPATIBLE)
    return bytes(info)


def page_tables(address: int) -> bytes:
    """Page tables to be placed at ``address``: the low 4 GiB, mapped one to one."""
    pointers = address + PAGE
    directories = pointers + PAGE
    level4 = struct.pack("<Q", pointers | _TABLE)
    level3 = struct.pack(
        f"<{_IDENTITY_GIB}Q", *(directories + i * PAGE | _TABLE for i in range(_IDENTITY_GIB))
    )
    level2 = struct.pack(
        f"<{_IDENTITY_GIB * 512}Q", *(i << 21 | _LARGE_PAGE for i in range(_IDENTITY_GIB * 512))
    )
    return level4.ljust(PAGE, b"\0") + level3.ljust(PAGE, b"\0") + level2
