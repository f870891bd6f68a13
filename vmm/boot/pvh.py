# SPDX-License-Identifier: GPL-2.0-or-later
"""PVH direct boot: load a kernel, build the start info, say where CPU 0 starts.

Source: Xen's "x86/HVM direct boot ABI" (hvm_start_info version 1).
"""

import struct

from vmm.boot.entry import EntryState
from vmm.boot.loading import (
    COMMAND_LINE_ADDRESS,
    BootFiles,
    BootImage,
    load_initrd,
    load_segments,
    memory_map,
    read_files,
    write_command_line,
)
from vmm.memory import GuestMemory

START_INFO_MAGIC = 0x336EC578
START_INFO_ADDRESS = 0x6000
MODULE_LIST_ADDRESS = 0x6080
MEMORY_MAP_ADDRESS = 0x6100
_START_INFO = struct.Struct("<IIIIQQQQII")
_MODULE = struct.Struct("<QQQQ")
_MEMORY_ENTRY = struct.Struct("<QQII")


def load(memory: GuestMemory, boot: BootFiles | BootImage) -> EntryState:
    """Put kernel, command line and initrd into guest memory.

    Raises:
        VmmError: a file is unreadable or malformed, or does not fit.
    """
    image = boot if isinstance(boot, BootImage) else read_files(boot)
    kernel_end = load_segments(memory, image)
    module = load_initrd(memory, image, kernel_end)
    write_command_line(memory, image.files.command_line)
    pieces = memory_map(memory)
    packed = b"".join(_MEMORY_ENTRY.pack(*piece, 0) for piece in pieces)
    memory.write(MEMORY_MAP_ADDRESS, packed)
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
        len(pieces),
        0,
    )
    memory.write(START_INFO_ADDRESS, start_info)
    return EntryState(rip=image.kernel.pvh_entry, rbx=START_INFO_ADDRESS)
