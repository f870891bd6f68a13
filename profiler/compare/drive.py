# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk image of a comparison: a private temporary one, or the user's own.

O_DIRECT matters: through the page cache a read is a memory copy in the submitting thread, and the
comparison would measure that copy.  Where no directory offers O_DIRECT the run goes on through the
page cache, and the result says so.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from profiler.compare.placement import PlanError
from profiler.compare.workload import Drive
from profiler.errors import UserError

TEMPORARY_SIZE = 256 << 20


def supports_direct(path: Path) -> bool:
    """Whether the file system of an existing file takes O_DIRECT."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _cache_mode(path: Path) -> str:
    return "none" if supports_direct(path) else "writeback"


def _candidate_directories() -> list[Path]:
    """Where a temporary image may go, best first; without duplicates."""
    home_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    named = [Path(tempfile.gettempdir()), Path("/var/tmp"), home_cache, Path.cwd()]
    return list(dict.fromkeys(named))


def _create_image(directory: Path, size: int) -> Path:
    """A sparse image whose blocks are allocated but unwritten; reads of it cost no disk seek."""
    image = directory / "disk.raw"
    handle = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)
    return image


@contextmanager
def temporary_drive(
    size: int = TEMPORARY_SIZE, directories: list[Path] | None = None
) -> Iterator[Drive]:
    """A private image, removed when the context ends however it ends.

    The first directory with O_DIRECT and room wins, else the first with room.  Raises `UserError`
    when there is room nowhere.
    """
    fallback: Path | None = None
    chosen: Path | None = None
    problem = "no directory to put it in"
    kept: list[Path] = []
    try:
        for parent in _candidate_directories() if directories is None else directories:
            try:
                directory = Path(tempfile.mkdtemp(prefix="bqlscope-disk-", dir=parent))
                kept.append(directory)
                image = _create_image(directory, size)
            except OSError as error:
                problem = f"{parent}: {error.strerror or error}"
                continue
            if supports_direct(image):
                chosen = image
                break
            fallback = fallback or image
        image_path = chosen or fallback
        if image_path is None:
            raise UserError(f"cannot create a temporary disk image: {problem}", 1)
        for directory in kept:
            if directory != image_path.parent:
                shutil.rmtree(directory, ignore_errors=True)
        yield Drive(image_path, _cache_mode(image_path), temporary=True)
    finally:
        for directory in kept:
            shutil.rmtree(directory, ignore_errors=True)


def user_drive(path: Path, rw: str, allow_write: bool) -> Drive:
    """The user's own image: opened read-only unless the workload writes and that is allowed.

    Raises `PlanError` when the workload writes without permission, or the file cannot be opened or
    is no image.
    """
    writes = rw != "read"
    if writes and not allow_write:
        raise PlanError(f"--rw {rw} overwrites {path}; add --allow-write if that is meant")
    try:
        flags = (os.O_RDWR if writes else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK
        handle = os.open(path, flags)
        try:
            mode, size = os.fstat(handle).st_mode, os.lseek(handle, 0, os.SEEK_END)
        finally:
            os.close(handle)
    except OSError as error:
        raise PlanError(f"--drive {path}: {error.strerror}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise PlanError(f"--drive {path}: neither a file nor a block device")
    if size == 0:
        raise PlanError(f"--drive {path}: the image is empty")
    return Drive(path, _cache_mode(path), readonly=not writes)
