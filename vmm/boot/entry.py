# SPDX-License-Identifier: GPL-2.0-or-later
"""The state CPU 0 starts in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LongMode:
    """What a CPU needs to start in 64-bit mode.

    Attributes:
        page_map: guest physical address of the level-4 page table.
        gdt: guest physical address of the descriptor table; gdt_limit: its last byte.
        code, data: selectors of the segments in it.
    """

    page_map: int
    gdt: int
    gdt_limit: int
    code: int
    data: int


@dataclass(frozen=True)
class EntryState:
    """32-bit flat protected mode, paging off, as the PVH boot ABI has it; or 64-bit mode.

    Attributes:
        rip: entry point, guest physical.
        rbx: guest physical address of PVH's start info.
        rsi: guest physical address of Linux's boot_params.
        long_mode: None: 32-bit protected mode.
    """

    rip: int
    rbx: int = 0
    rsi: int = 0
    long_mode: LongMode | None = None
