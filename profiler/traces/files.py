# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes files of events: in whole chunks, in a thread of its own, one file after another.

Goal: whoever drains the rings must be back within milliseconds, and write(2) may take longer when
the kernel decides to flush. So chunks are handed to a thread that does nothing but write. It needs
Python's lock only between two system calls.

Rules
 1. A chunk is written whole or the file ends inside it: a reader stops there.
 2. What waits to be written is bounded. A disk that is too slow makes the drain wait, the rings
    overrun, and the file says how many events are missing.
 3. A file of somebody else's making is never overwritten.
"""

import os
import queue
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from profiler.errors import UserError
from profiler.traces.format import MAGIC, file_header

_QUEUE_CHUNKS = 64


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {(error.strerror or str(error)).lower()}", 1)


def _create(path: Path) -> int:
    """Open a file for writing, empty. Raises UserError."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UserError(f"{path} is not a regular file: choose another -o")
        start = os.pread(fd, len(MAGIC), 0)
        if start and start != MAGIC:
            raise UserError(f"{path} exists and is no file of `bqlscope record`: choose another -o")
        os.ftruncate(fd, 0)
    except OSError as error:
        os.close(fd)
        raise _unwritable(path, error) from error
    except UserError:
        os.close(fd)
        raise
    return fd


class EventFiles:
    """FILE, and FILE.1, FILE.2, … with what was in it before. A context manager.

    `rotate` is how many older files are kept. Every method may raise UserError when an earlier
    write failed.
    """

    def __init__(self, path: Path, rotate: int = 0) -> None:
        self.path = path
        self.rotate = rotate
        self.part = 0
        """Number of the current file, from 0."""
        self.size = 0
        """Bytes of the current file, including what waits to be written."""
        self.written = 0
        """Bytes of all files."""
        self._fd = _create(path)
        self._error: OSError | None = None
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE_CHUNKS)
        self._thread = threading.Thread(target=self._work, name="bql-writer", daemon=True)
        self._thread.start()
        self.write(file_header())

    def __enter__(self) -> "EventFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Append a chunk, sometime soon."""
        self._raise()
        fd = self._fd
        self._queue.put(lambda: _write_all(fd, data))
        self.size += len(data)
        self.written += len(data)

    def next_file(self) -> None:
        """Close this file, rename it to FILE.1 (FILE.1 to FILE.2, …), and begin another."""
        self._raise()
        old = self._fd
        self._queue.put(lambda: os.close(old))
        self._fd = -1
        try:
            for number in range(self.rotate, 0, -1):
                source = self._older(number - 1) if number > 1 else self.path
                with suppress(FileNotFoundError):
                    os.replace(source, self._older(number))
            if not self.rotate:
                self.path.unlink()
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._fd = _create(self.path)
        self.part += 1
        self.size = 0
        self.write(file_header())

    def close(self) -> None:
        """Write what waits, and close."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._raise()

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise _unwritable(self.path, error) from error

    def _work(self) -> None:
        failed = False
        while (task := self._queue.get()) is not None:
            if failed:
                continue  # whoever drains has been told, or will be
            try:
                task()
            except OSError as error:
                self._error, failed = error, True


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
