# SPDX-License-Identifier: GPL-2.0-or-later
"""The micro-guest as native code: what "boots" on the qtest accelerator."""

import os
from typing import Any

from vmm._native import ffi, lib
from vmm.errors import VmmError, check_pointer
from vmm.memory import GuestMemory

DMA_BASE = 0x40_0000


class NativeGuest:
    """Owner of the guest's state; ``function`` and ``opaque`` are for the accelerator."""

    def __init__(self, memory: GuestMemory, command_line: str) -> None:
        low_size = memory.regions()[0][1]
        if low_size <= DMA_BASE:
            raise VmmError("the micro-guest needs more than 4M of memory: raise --memory")
        text = os.fsencode(command_line)
        native = lib.guest_host_new(memory.native, text, DMA_BASE, low_size - DMA_BASE)
        self.opaque: Any = check_pointer(ffi, native, "creating the guest")
        self.function: Any = ffi.addressof(lib, "guest_host_run")

    def map_vram(self, gpa: int, size: int, memory: Any) -> None:
        """Let the guest draw into ``memory`` (cffi buffer of ``size`` bytes) at ``gpa``."""
        lib.guest_host_set_vram(self.opaque, gpa, size, memory)

    def reset(self) -> None:
        """As new; under the BQL, the vCPUs stopped."""
        lib.guest_host_reset(self.opaque)

    def close(self) -> None:
        """Free the state; the vCPU threads have ended."""
        lib.guest_host_free(self.opaque)
