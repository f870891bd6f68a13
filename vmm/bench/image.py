# SPDX-License-Identifier: GPL-2.0-or-later
"""The file that all contestants read: a private temporary one, or the user's own."""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vmm.bench.process import BenchError

TEMPORARY_BYTES = 256 << 20


def supports_direct(path: Path) -> bool:
    """Whether the file can be opened with O_DIRECT."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def readable_image(path: Path) -> Path:
    """The user's own image, which no contestant writes to.

    Raises:
        BenchError: it cannot be read.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise BenchError(f"--drive {path}: {error.strerror}") from None
    return path


def _allocate(parent: Path, size: int) -> IO[bytes]:
    image = tempfile.NamedTemporaryFile(  # noqa: SIM115 - the caller is the context
        prefix="bqlscope-bench-", dir=parent
    )
    try:
        os.posix_fallocate(image.fileno(), 0, size)
        if not supports_direct(Path(image.name)):
            raise OSError(errno.EOPNOTSUPP, "no O_DIRECT")
    except OSError:
        image.close()
        raise
    return image


@contextmanager
def temporary_image(
    size: int | None = None, directories: Sequence[Path] | None = None
) -> Iterator[Path]:
    """A private file whose blocks are allocated but unwritten, removed in the end.

    A read of such a block goes through the whole I/O path and ends before the device, so the VMM is
    compared and not the disk. The first directory with O_DIRECT wins; tmpfs has none on older
    kernels, so ``/var/tmp`` is the second try. ``size`` is in bytes, by default TEMPORARY_BYTES.

    Raises:
        BenchError: no directory takes such a file with O_DIRECT.
    """
    problem = ""
    candidates = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    for parent in candidates if directories is None else directories:
        try:
            image = _allocate(parent, TEMPORARY_BYTES if size is None else size)
        except OSError as error:
            problem = f"{parent}: {error.strerror}"
            continue
        with image:
            yield Path(image.name)
        return
    raise BenchError(f"no place for a temporary image ({problem}); name one with --drive FILE")
