# SPDX-License-Identifier: GPL-2.0-or-later
"""The state CPU 0 starts in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EntryState:
    """PVH entry (Xen's x86/HVM direct boot ABI): 32-bit flat protected mode, paging off.

    Attributes:
        rip: entry point, guest physical.
        rbx: guest physical address of the start info.
    """

    rip: int
    rbx: int
