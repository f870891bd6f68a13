# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are read or written whole or not at all."""

import errno
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path


def read_whole(path: Path) -> bytes:
    """The contents of a file. A pipe that nobody writes to would be waited for, so pipes are none.

    Raises OSError.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is a pipe; it must be a file")
        return file.read()


def write_whole(path: Path, data: bytes, *, wait_for_reader: bool = True) -> None:
    """Write a file whole or not at all; links are followed, devices and pipes written to.

    A named pipe that nobody reads is waited for, or without ``wait_for_reader`` an error.

    Raises OSError; the file is as it was then.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():  # /dev/null, /dev/stdout: never replace those
        descriptor = os.open(path, os.O_WRONLY | (0 if wait_for_reader else os.O_NONBLOCK))
        os.set_blocking(descriptor, True)
        with open(descriptor, "wb") as file:
            file.write(data)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
