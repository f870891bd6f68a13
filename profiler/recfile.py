# SPDX-License-Identifier: GPL-2.0-or-later
"""An open recording as bytes: reads that cannot fault, with one kind of error.

Rejected: mapping the file. A mapped read of a truncated file is a SIGBUS, one of a hole allocates
memory in the tmpfs, and neither can be caught; pread returns fewer bytes, or zeroes. The kernel's
copy costs about as much as ours would.
"""

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from profiler.errors import RecordingError
from profiler.geometry import Part

Raw = npt.NDArray[np.void]


class RecordingFile:
    """A regular file opened for reading; every error is a RecordingError that names the path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # O_NONBLOCK: opening a FIFO by mistake must not hang.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise RecordingError(f"{path}: {(error.strerror or str(error)).lower()}") from error
        except ValueError as error:
            raise RecordingError(f"{str(path)!r}: {error}") from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise self.error("not a regular file")
        self.size = status.st_size
        self.device, self.inode, self.owner = status.st_dev, status.st_ino, status.st_uid

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def error(self, problem: str) -> RecordingError:
        """A RecordingError about this file, to be raised."""
        return RecordingError(f"{self.path}: {problem}")

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, copied out. Raises RecordingError if the file is shorter."""
        try:
            data = os.pread(self._fd, size, offset)
            while 0 < len(data) < size:
                more = os.pread(self._fd, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except (OSError, OverflowError) as error:
            raise self.error(f"cannot be read: {error}") from error
        if len(data) < size:
            raise self.error(f"truncated: nothing at byte {offset + len(data)}")
        return data

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` from `offset`. Raises RecordingError if the file is shorter."""
        done = 0
        try:
            while done < len(target):
                count = os.preadv(self._fd, [target[done:]], offset + done)
                if not count:
                    raise self.error(f"truncated: nothing at byte {offset + done}")
                done += count
        except (OSError, OverflowError) as error:
            raise self.error(f"cannot be read: {error}") from error

    def u32(self, offset: int) -> int:
        """An unsigned 32-bit number."""
        return int.from_bytes(self.read(offset, 4), "little")

    def u64(self, offset: int) -> int:
        """An unsigned 64-bit number."""
        return int.from_bytes(self.read(offset, 8), "little")

    def record(self, offset: int, kind: np.dtype[Any]) -> np.void:
        """One structure."""
        value: np.void = np.frombuffer(self.read(offset, kind.itemsize), dtype=kind)[0]
        return value

    def records(self, offset: int, part: Part, count: int, kind: np.dtype[Any]) -> Raw:
        """The first `count` structures of a part that begins at `offset`."""
        data = self.read(offset, count * part.stride)
        return np.ndarray((count,), dtype=kind, buffer=data, strides=(part.stride,))
