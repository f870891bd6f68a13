# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest RAM as the control plane sees it: one checked door, like the data plane's."""

from typing import Any

from vmm._native import ffi, lib
from vmm.errors import VmmError, check, check_pointer

LOW_RAM_LIMIT = 0xC000_0000
HIGH_RAM_BASE = 0x1_0000_0000
PAGE = 4096
_ZERO_CHUNK = 1 << 20


class GuestMemory:
    """RAM from address 0, with a hole for devices between 3 and 4 GiB.

    Args:
        size: bytes, a multiple of 4096, at least 1 MiB.
    """

    def __init__(self, size: int) -> None:
        if size < 1 << 20 or size % PAGE:
            raise VmmError("guest memory must be at least 1M and a multiple of 4096 bytes")
        self.size = size
        self.native: Any = check_pointer(ffi, lib.guest_memory_new(), "creating guest memory")
        low = min(size, LOW_RAM_LIMIT)
        self._add(0, low)
        if size > low:
            self._add(HIGH_RAM_BASE, size - low)

    def _add(self, gpa: int, size: int) -> None:
        result = lib.guest_memory_add_ram(self.native, gpa, size)
        try:
            check(result, "mapping guest memory")
        except OSError as error:
            lib.guest_memory_free(self.native)
            raise VmmError(f"cannot map {size >> 20} MiB of guest memory: {error}") from None

    def regions(self) -> list[tuple[int, int, int]]:
        """(guest address, size, host address) of each RAM region, ascending."""
        return [
            (region.gpa, region.size, int(ffi.cast("uintptr_t", region.host)))
            for region in (self.native.regions[i] for i in range(self.native.count))
        ]

    def read(self, gpa: int, length: int) -> bytes:
        """Copy bytes out of guest memory.

        Raises:
            OSError: EFAULT, not all of the range is RAM.
        """
        buffer = ffi.new("char[]", max(1, length))
        if length:
            what = f"guest address 0x{gpa:x}"
            check(lib.guest_memory_read(self.native, gpa, buffer, length), what)
        return bytes(ffi.buffer(buffer, length))

    def write(self, gpa: int, data: bytes | memoryview) -> None:
        """Copy bytes into guest memory.

        Raises:
            OSError: EFAULT, not all of the range is RAM.
        """
        if len(data):
            source = ffi.from_buffer(data)
            what = f"guest address 0x{gpa:x}"
            check(lib.guest_memory_write(self.native, gpa, source, len(data)), what)

    def fill_zero(self, gpa: int, length: int) -> None:
        """Zero bytes of guest memory.

        Raises:
            OSError: EFAULT, not all of the range is RAM; what is before that is zeroed.
        """
        zeroes = bytes(min(length, _ZERO_CHUNK))
        for done in range(0, length, _ZERO_CHUNK):
            left = length - done
            self.write(gpa + done, zeroes if left >= len(zeroes) else zeroes[:left])

    def close(self) -> None:
        """Unmap. No thread may use the memory any more."""
        lib.guest_memory_free(self.native)
