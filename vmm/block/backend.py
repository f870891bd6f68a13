# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening a drive: from checked options to a native block backend."""

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from vmm._native import ffi, lib
from vmm.block.options import DriveError, DriveOptions

OPERATIONS = ("read", "write", "flush", "discard", "write_zeroes")


class DriveOpenError(OSError):
    """An image that cannot be used. ``errno`` says why, the text is one line without it."""

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """What a backend can do. Sizes in bytes."""

    size: int
    logical_block: int
    max_iov: int
    read_only: bool
    can_discard: bool
    can_write_zeroes: bool
    unlocked: bool


@dataclass(frozen=True, slots=True)
class BlockOpStats:
    """Counters of one operation: submitted requests, their bytes, completions with an error."""

    ops: int
    bytes: int
    failed: int


class BlockBackend:
    """Owner of a native backend; a context manager. Close it when no request is in flight."""

    def __init__(self, native: Any, notes: tuple[str, ...] = ()) -> None:
        self._native = native
        self.notes = notes
        """One-line remarks for the person who started the machine; usually none."""

    @property
    def native(self) -> Any:
        """The ``BlockBackend *``. Raises ValueError after close()."""
        if self._native is None:
            raise ValueError("block backend is closed")
        return self._native

    @property
    def driver(self) -> str:
        """``file``, ``null`` or ``filter``."""
        return str(ffi.string(lib.block_driver_name(self.native)).decode())

    @property
    def limits(self) -> BlockLimits:
        """The limits, fixed since opening."""
        native = lib.block_limits(self.native)
        return BlockLimits(
            size=native.size,
            logical_block=native.logical_block,
            max_iov=native.max_iov,
            read_only=native.read_only,
            can_discard=native.can_discard,
            can_write_zeroes=native.can_write_zeroes,
            unlocked=native.unlocked,
        )

    def statistics(self) -> dict[str, BlockOpStats]:
        """Counters by operation name (see OPERATIONS); from any thread, without a lock."""
        native = ffi.new("BlockStats *")
        lib.block_stats(self.native, native)
        return {
            name: BlockOpStats(native.ops[op], native.bytes[op], native.failed[op])
            for op, name in enumerate(OPERATIONS)
        }

    def close(self) -> None:
        """Close the image and drop its locks. No request may be in flight. Idempotent."""
        native, self._native = self._native, None
        if native is not None:
            lib.block_close(native)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """How an image is opened; see BlockOpenOptions in vmm/native/block.h."""

    filename: str
    read_only: bool = False
    direct: bool = False
    no_flush: bool = False
    aio: str = "io_uring"
    discard: bool = True
    locking: bool = True


def open_file(options: FileOptions, pool: Any) -> BlockBackend:
    """Open an image; pool is the ``WorkerPool *`` for blocking work.

    Raises:
        DriveOpenError: it is missing, locked, empty, a directory or not permitted.
    """
    filename = ffi.new("char[]", os.fsencode(options.filename))
    native_options = ffi.new("BlockOpenOptions *")
    native_options.filename = filename
    native_options.read_only = options.read_only
    native_options.direct = options.direct
    native_options.locking = options.locking
    native_options.aio = (
        lib.BLOCK_AIO_IO_URING if options.aio == "io_uring" else lib.BLOCK_AIO_THREADS
    )
    native_options.no_flush = options.no_flush
    native_options.no_discard = not options.discard
    message = ffi.new("char[]", lib.BLOCK_ERR_SIZE)
    native = lib.block_open_file(native_options, pool, message)
    if native == ffi.NULL:
        text = ffi.string(message).decode(errors="replace")
        raise DriveOpenError(ffi.errno, text, options.filename)
    return BlockBackend(native)


def open_null(size: int, latency_ns: int) -> BlockBackend:
    """A disk of ``size`` bytes that reads as zeroes and forgets what is written."""
    native = lib.block_open_null(size, latency_ns)
    if native == ffi.NULL:
        raise MemoryError
    return BlockBackend(native)


def open_filter(
    child: BlockBackend, delay_us: int, error_every: int, error_errno: int
) -> BlockBackend:
    """A filter over ``child`` that delays and fails requests; it takes the native child over.

    Raises:
        DriveOpenError: no memory; the child stays the caller's.
    """
    native = lib.block_open_filter(child.native, delay_us * 1000, error_every, error_errno)
    if native == ffi.NULL:
        raise DriveOpenError(errno.ENOMEM, "out of memory")
    return BlockBackend(native, child.notes)


def _open_drive_file(options: DriveOptions, pool: Any) -> BlockBackend:
    wanted = FileOptions(
        filename=options.file or "",
        read_only=options.readonly,
        direct=options.cache == "none",
        no_flush=options.cache == "unsafe",
        aio=options.aio,
        discard=options.discard,
        locking=options.locking,
    )
    return open_file(wanted, pool)


def _notes(options: DriveOptions, limits: BlockLimits) -> tuple[str, ...]:
    notes = []
    if limits.unlocked:
        notes.append(f"{options.file}: the file system has no locks, nothing stops a second writer")
    if options.file is not None:
        with contextlib.suppress(OSError):  # renamed meanwhile: a remark is not worth a failure
            status = os.stat(options.file)
            if stat.S_ISREG(status.st_mode) and status.st_size % 512:
                notes.append(
                    f"{options.file}: size {status.st_size} is not a multiple of 512, "
                    f"the guest sees {limits.size} bytes"
                )
    return tuple(notes)


def _check_block_size(options: DriveOptions, limits: BlockLimits) -> None:
    wanted = options.logical_block_size
    if wanted is not None and wanted < limits.logical_block:
        raise DriveError(
            f"logical-block-size={wanted}: must be at least {limits.logical_block}, "
            f"the block size of {options.file} with cache={options.cache}"
        )


def open_backend(options: DriveOptions, pool: Any) -> BlockBackend:
    """Open what the options describe; pool is the ``WorkerPool *`` for blocking work.

    Raises DriveOpenError (an OSError) when the image is missing, locked, empty, a directory or
    not permitted, and DriveError when the image contradicts an option.
    """
    if options.driver == "null":
        backend = open_null(options.size, options.latency_us * 1000)
    else:
        backend = _open_drive_file(options, pool)
    try:
        _check_block_size(options, backend.limits)
        backend.notes = _notes(options, backend.limits)
        if options.delay_us or options.error_every:
            backend = open_filter(
                backend, options.delay_us, options.error_every, options.error_errno
            )
    except BaseException:
        backend.close()
        raise
    return backend
