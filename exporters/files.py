# SPDX-License-Identifier: GPL-2.0-or-later
"""What the exporter leaves for others in files: a target list, and metrics for node_exporter."""

import json
import os
from contextlib import suppress
from pathlib import Path

from profiler.errors import UserError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by everybody: others are to read it.

    Raises UserError.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(partial, flags, 0o644), "wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot write {path}: {reason}") from error


def target_list(address: str, scheme: str, host: str) -> bytes:
    """A `file_sd` target list with one target; labels that are taken already stay out of it."""
    labels = {"host": host}
    if scheme != "http":
        labels["__scheme__"] = scheme
    return (json.dumps([{"targets": [address], "labels": labels}], indent=2) + "\n").encode()
