# SPDX-License-Identifier: GPL-2.0-or-later
"""The framebuffer device: video memory the guest draws into, and a page of registers.

    0xE0000000  video memory, ``vgamem`` bytes: XRGB8888, little endian (0x00RRGGBB), top row first
    0xFEA00000  registers (memory region ``framebuffer``), 32 bits each, accessed as such

    offset  name           access  meaning
    0x00    ID             r       0x42465142, "BQFB"
    0x04    VERSION        r       1
    0x08    VRAM_BASE      r       guest physical address of the video memory
    0x0C    VRAM_SIZE      r       its bytes
    0x10    WIDTH          rw      pixels of the mode to come, 1 to 16384
    0x14    HEIGHT         rw      rows, 1 to 16384
    0x18    STRIDE         rw      bytes from row to row, a multiple of 4; 0: WIDTH * 4
    0x1C    COMMIT         rw      write 1: take the mode. Reads 0 after one that was taken, 1
                                   after one that was refused: the old mode stays
    0x20    WANTED_WIDTH   r       size the viewer would like; 0: nobody has asked
    0x24    WANTED_HEIGHT  r
    0x40    CURSOR_WIDTH   rw      pixels, 1 to 64
    0x44    CURSOR_HEIGHT  rw      1 to 64
    0x48    CURSOR_HOT_X   rw      below CURSOR_WIDTH
    0x4C    CURSOR_HOT_Y   rw      below CURSOR_HEIGHT
    0x50    CURSOR_OFFSET  rw      where in video memory its picture is: ARGB8888, rows without
                                   gaps, a multiple of 4
    0x54    CURSOR_COMMIT  rw      write 1: show that pointer (the picture is copied), 0: show
                                   none. Reads like COMMIT

Other accesses read 0 and write nothing. Nothing a guest writes lets a picture or a pointer reach
beyond the video memory: shapes are checked when they are committed, as a whole.

The video memory is not guest RAM: a virtio device that is told to read or write there refuses the
request, as for any other address that is not RAM. So every write to it comes from a vCPU and is in
KVM's dirty log, and there is no second way to mark a page dirty that could be forgotten.
"""

import mmap
from typing import Any

import numpy as np

from vmm._native import ffi
from vmm.accel.base import Accelerator
from vmm.display.console import Console, Cursor
from vmm.display.options import (
    BYTES_PER_PIXEL,
    VRAM_BASE,
    VRAM_DEFAULT,
    FramebufferOptions,
    Mode,
)
from vmm.display.surface import Surface, surface_in
from vmm.memory import PAGE
from vmm.qom import Device, Property

REGISTERS_BASE = 0xFEA0_0000
REGISTERS_SIZE = PAGE
ID, VERSION = 0x4246_5142, 1
MAX_CURSOR = 64
COMMIT, CURSOR_COMMIT = 0x1C, 0x54
_TAKEN, _REFUSED = 0, 1
_MODE = ("WIDTH", "HEIGHT", "STRIDE")
_CURSOR = ("CURSOR_WIDTH", "CURSOR_HEIGHT", "CURSOR_HOT_X", "CURSOR_HOT_Y", "CURSOR_OFFSET")
STAGED = {
    **{0x10 + 4 * i: name for i, name in enumerate(_MODE)},
    **{0x40 + 4 * i: name for i, name in enumerate(_CURSOR)},
}


class Framebuffer(Device):
    """The device; also the handler of its register page, called by vCPUs under the BQL."""

    TYPE = "framebuffer"

    width = Property(int, 1024, "pixels of a row at the start")
    height = Property(int, 768, "rows at the start")
    vgamem = Property(int, VRAM_DEFAULT, "bytes of video memory")

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self._registers: dict[str, int] = {}
        self._status = {COMMIT: _TAKEN, CURSOR_COMMIT: _TAKEN}

    def realize(self, accelerator: Accelerator, console: Console) -> None:
        """Map the video memory and put it on the console. Main thread, under the BQL.

        Raises:
            VmmError: properties that do not go together. OSError: no memory, no slot.
        """
        options = FramebufferOptions(self.width, self.height, self.vgamem)
        self._map = mmap.mmap(-1, self.vgamem, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._map.madvise(mmap.MADV_DONTFORK)
        # Arrays keep the mapping alive: it goes when the last viewer has let go of its surface.
        self._vram = np.frombuffer(self._map, "<u4")
        self.memory: Any = ffi.from_buffer(self._map)
        """The video memory as a cffi buffer of ``vgamem`` bytes."""
        self._accelerator, self._console, self._first_mode = accelerator, console, options.mode
        address = int(ffi.cast("uintptr_t", self.memory))
        self._log = accelerator.map_logged_memory(VRAM_BASE, self.vgamem, address)
        self._stage(options.mode)
        console.attach(surface_in(self._vram, options.mode), self._dirty_rows)
        self.realized = True

    def reset(self) -> None:
        """Back to the first mode without a pointer; the picture stays. Under the BQL."""
        self._registers.clear()
        self._status = dict.fromkeys(self._status, _TAKEN)
        self._stage(self._first_mode)
        self._console.switch_surface(surface_in(self._vram, self._first_mode))
        self._console.define_cursor(None)

    def _dirty_rows(self, surface: Surface) -> Any:
        log = self._accelerator.dirty_log(self._log)
        if log is None:
            return np.ones(surface.height, np.bool_)
        if not log.strip(b"\0"):  # most looks at most screens
            return np.zeros(surface.height, np.bool_)
        pages = np.unpackbits(np.frombuffer(log, np.uint8), bitorder="little")
        return surface.rows_of_pages(pages, PAGE)

    def _stage(self, mode: Mode) -> None:
        self._registers |= {"WIDTH": mode.width, "HEIGHT": mode.height, "STRIDE": mode.stride}

    # The register page.

    def read(self, offset: int, size: int) -> int:
        """A RegionHandler's read."""
        if size != 4:
            return 0
        wanted = self._console.wanted_size or (0, 0)
        fixed = {0x00: ID, 0x04: VERSION, 0x08: VRAM_BASE, 0x0C: self.vgamem}
        fixed |= {0x20: wanted[0], 0x24: wanted[1], **self._status}
        if offset in STAGED:
            return self._registers.get(STAGED[offset], 0)
        return fixed.get(offset, 0)

    def write(self, offset: int, value: int, size: int) -> None:
        """A RegionHandler's write."""
        if size != 4:
            return
        if offset in STAGED:
            self._registers[STAGED[offset]] = value
        elif offset == COMMIT and value == 1:
            self._status[COMMIT] = _TAKEN if self._commit_mode() else _REFUSED
        elif offset == CURSOR_COMMIT and value in (0, 1):
            taken = self._commit_cursor() if value else self._hide_cursor()
            self._status[CURSOR_COMMIT] = _TAKEN if taken else _REFUSED

    def _commit_mode(self) -> bool:
        width, height, stride = (self._registers.get(name, 0) for name in _MODE)
        mode = Mode(width, height, stride or width * BYTES_PER_PIXEL)
        if not mode.fits(self.vgamem):
            return False
        self._console.switch_surface(surface_in(self._vram, mode))
        return True

    def _hide_cursor(self) -> bool:
        self._console.define_cursor(None)
        return True

    def _commit_cursor(self) -> bool:
        width, height, hot_x, hot_y, offset = (self._registers.get(name, 0) for name in _CURSOR)
        if not (1 <= width <= MAX_CURSOR and 1 <= height <= MAX_CURSOR):
            return False
        if hot_x >= width or hot_y >= height or offset % BYTES_PER_PIXEL:
            return False
        if offset + width * height * BYTES_PER_PIXEL > self.vgamem:
            return False
        first = offset // BYTES_PER_PIXEL
        argb = self._vram[first : first + width * height].reshape(height, width).copy()
        self._console.define_cursor(Cursor(width, height, hot_x, hot_y, argb))
        return True
