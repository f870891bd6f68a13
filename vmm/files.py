# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are written whole or not at all."""

import os
import threading
from contextlib import suppress
from pathlib import Path


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
