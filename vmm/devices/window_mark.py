# SPDX-License-Identifier: GPL-2.0-or-later
"""The port by which the micro-guest marks its measured window.

Writing 1 opens the window, 2 closes it; at each mark the VMM notes the time and, if asked, copies
the recording, so that a reader can subtract the two and leave boot and warm-up out. The guest
measures only between the two writes, so the copying costs the measurement nothing.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

MARK_PORT = 0x5F0
BEGIN, END = 1, 2
_SUFFIX = {BEGIN: ".begin", END: ".end"}


class WindowMark:
    """A RegionHandler for MARK_PORT; its region is lock-free.

    Args:
        recording: path of the live recording, or None to take no copies.
        before_copy: called before a copy is taken (clock synchronisation).
    """

    def __init__(self, recording: Path | None, before_copy: Callable[[], None]) -> None:
        self._recording = recording
        self._before_copy = before_copy
        self.marks_ns: dict[int, int] = {}

    def read(self, offset: int, size: int) -> int:
        """Nothing to read."""
        return 0

    def write(self, offset: int, value: int, size: int) -> None:
        """Take a mark; unknown values are ignored."""
        if value not in _SUFFIX or value in self.marks_ns:
            return
        if value == END:
            self.marks_ns[value] = time.monotonic_ns()
        if self._recording is not None:
            self._before_copy()
            copy_sparse(self._recording, Path(f"{self._recording}{_SUFFIX[value]}"))
        if value == BEGIN:
            self.marks_ns[value] = time.monotonic_ns()

    def reset(self) -> None:
        """The machine was reset: the window that counts is the one of the guest's new run."""
        self.marks_ns.clear()

    def window(self) -> dict[str, int] | None:
        """CLOCK_MONOTONIC nanoseconds of begin and end, once both are known."""
        if set(self.marks_ns) != {BEGIN, END}:
            return None
        return {"start_ns": self.marks_ns[BEGIN], "end_ns": self.marks_ns[END]}


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file's data, leaving its holes holes."""
    with open(source, "rb") as src, open(target, "wb") as dst:
        size = os.fstat(src.fileno()).st_size
        os.ftruncate(dst.fileno(), size)
        at = 0
        while at < size:
            try:
                at = os.lseek(src.fileno(), at, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            hole = os.lseek(src.fileno(), at, os.SEEK_HOLE)
            while at < hole:
                os.lseek(dst.fileno(), at, os.SEEK_SET)
                at += os.sendfile(dst.fileno(), src.fileno(), at, hole - at)
