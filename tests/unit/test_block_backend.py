# SPDX-License-Identifier: GPL-2.0-or-later
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vmm._native import ffi, lib
from vmm.block.backend import OPERATIONS, BlockOpStats, DriveOpenError, open_backend
from vmm.block.options import DriveError, parse_drive

NOBODY = 65534


@pytest.fixture(name="rig")
def _rig() -> Iterator[Any]:
    rig = lib.block_test_rig_new(True)
    yield rig
    lib.block_test_rig_free(rig)


@pytest.fixture(name="pool")
def _pool(rig: Any) -> Any:
    return lib.block_test_rig_pool(rig)


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    path = tmp_path / "disk,1.img"
    path.write_bytes(bytes(1 << 20))
    return path


def drive(image: Path, more: str = "") -> Any:
    return parse_drive("file=" + str(image).replace(",", ",,") + more)


def run(rig: Any, backend: Any, op: int, offset: int = 0, data: bytes = b"") -> int:
    buffer = ffi.new("char[]", data)
    operation = ffi.new("BlockTestOp *")
    operation.op, operation.offset, operation.bytes = op, offset, len(data)
    operation.data = buffer
    lib.block_test_run(rig, backend.native, operation, 1)
    return int(operation.ret)


def test_a_file_has_its_size_and_no_remarks(image: Path, pool: Any) -> None:
    with open_backend(drive(image), pool) as backend:
        assert backend.driver == "file"
        assert backend.limits.size == 1 << 20
        assert backend.limits.logical_block == 512
        assert backend.limits.can_discard
        assert not backend.limits.read_only
        assert backend.notes == ()


def test_options_reach_the_limits(image: Path, pool: Any) -> None:
    with open_backend(drive(image, ",readonly=on"), pool) as backend:
        assert backend.limits.read_only
        assert not backend.limits.can_write_zeroes
    with open_backend(drive(image, ",discard=off"), pool) as backend:
        assert not backend.limits.can_discard
        assert backend.limits.can_write_zeroes


def test_what_is_written_is_in_the_file_and_in_the_statistics(
    image: Path, rig: Any, pool: Any
) -> None:
    with open_backend(drive(image), pool) as backend:
        assert run(rig, backend, lib.BLOCK_WRITE, 512, b"x" * 1024) == 0
        assert run(rig, backend, lib.BLOCK_FLUSH) == 0
        assert run(rig, backend, lib.BLOCK_READ, 1 << 20, bytes(512)) == -errno.EIO
        statistics = backend.statistics()
    assert tuple(statistics) == OPERATIONS
    assert statistics["write"] == BlockOpStats(ops=1, bytes=1024, failed=0)
    assert statistics["flush"] == BlockOpStats(ops=1, bytes=0, failed=0)
    assert statistics["read"] == BlockOpStats(ops=1, bytes=512, failed=1)
    assert image.read_bytes()[510:1538] == b"\0\0" + b"x" * 1024 + b"\0\0"


def test_a_failing_drive_fails_as_told(image: Path, rig: Any, pool: Any) -> None:
    options = drive(image, ",error-every=2,error-errno=ENOSPC,delay-us=5")
    with open_backend(options, pool) as backend:
        assert backend.driver == "filter"
        results = [run(rig, backend, lib.BLOCK_WRITE, 0, bytes(512)) for _ in range(5)]
    assert results == [0, -errno.ENOSPC, 0, -errno.ENOSPC, 0]


def test_a_null_drive_reads_zeroes(rig: Any, pool: Any) -> None:
    with open_backend(parse_drive("driver=null,size=2G,latency-us=5"), pool) as backend:
        assert backend.driver == "null"
        assert backend.limits.size == 2 << 30
        assert run(rig, backend, lib.BLOCK_READ, 1 << 30, b"x" * 512) == 0


def test_discard_gives_the_space_back(image: Path, rig: Any, pool: Any) -> None:
    image.write_bytes(b"x" * (1 << 20))
    with open_backend(drive(image), pool) as backend:
        assert run(rig, backend, lib.BLOCK_DISCARD, 0, bytes(1 << 19)) == 0
        assert run(rig, backend, lib.BLOCK_FLUSH) == 0
    assert image.stat().st_size == 1 << 20
    assert image.stat().st_blocks * 512 < 1 << 20


def test_a_ragged_image_is_rounded_up_and_said_so(tmp_path: Path, pool: Any) -> None:
    image = tmp_path / "ragged.img"
    image.write_bytes(bytes(1000))
    with open_backend(drive(image), pool) as backend:
        assert backend.limits.size == 1024
        (note,) = backend.notes
    assert "size 1000 is not a multiple of 512, the guest sees 1024 bytes" in note


def test_an_image_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, pool: Any) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    for name, code, text in (
        ("missing", errno.ENOENT, "No such file or directory"),
        (".", errno.EISDIR, "Is a directory"),
        ("empty", errno.EINVAL, "the image is empty"),
        ("fifo", errno.ENOTBLK, "Not a regular file or block device"),
    ):
        with pytest.raises(DriveOpenError) as caught:
            open_backend(drive(tmp_path / name, ",readonly=on"), pool)
        assert caught.value.errno == code
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may open everything, so be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_forbidden_image_is_refused(image: Path, pool: Any) -> None:
    image.chmod(0o400)
    with without_privileges(), pytest.raises(DriveOpenError, match="Permission denied"):
        open_backend(drive(image), pool)


def test_a_larger_block_size_than_the_images_is_fine(image: Path, pool: Any) -> None:
    with open_backend(drive(image, ",logical-block-size=4096"), pool) as backend:
        assert backend.limits.logical_block == 512


@pytest.fixture(name="device")
def _device(tmp_path: Path) -> Iterator[Path]:
    """A loop device with blocks of 4096 bytes."""
    backing = tmp_path / "backing"
    backing.write_bytes(b"d" * (1 << 20))
    command = ["losetup", "--sector-size", "4096", "--find", "--show", str(backing)]
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("only root makes loop devices")
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    yield Path(made.stdout.strip())
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


@pytest.mark.parametrize("cache", ["none", "writeback"])
@pytest.mark.parametrize("aio", ["io_uring", "threads"])
def test_a_block_device_works_with_its_own_block_size(
    device: Path, rig: Any, pool: Any, cache: str, aio: str
) -> None:
    options = drive(device, f",cache={cache},aio={aio}")
    with open_backend(options, pool) as backend:
        assert backend.limits.size == 1 << 20
        assert backend.limits.logical_block == 4096
        # One aligned write, one inside a block (read-modify-write), one across two blocks.
        assert run(rig, backend, lib.BLOCK_WRITE, 4096, b"a" * 4096) == 0
        assert run(rig, backend, lib.BLOCK_WRITE, 8192 + 512, b"b" * 512) == 0
        assert run(rig, backend, lib.BLOCK_WRITE, 16384 - 512, b"c" * 1024) == 0
        assert run(rig, backend, lib.BLOCK_WRITE_ZEROES, 20480, bytes(8192)) == 0
        assert run(rig, backend, lib.BLOCK_WRITE_ZEROES, 32768 + 512, bytes(512)) == 0
        assert run(rig, backend, lib.BLOCK_DISCARD, 65536 - 512, bytes(512)) == 0
        assert run(rig, backend, lib.BLOCK_DISCARD, 131072, bytes(65536)) == 0
        assert run(rig, backend, lib.BLOCK_FLUSH) == 0
    expected = bytearray(b"d" * (1 << 20))
    expected[4096:8192] = b"a" * 4096
    expected[8192 + 512 : 8192 + 1024] = b"b" * 512
    expected[16384 - 512 : 16384 + 512] = b"c" * 1024
    expected[20480 : 20480 + 8192] = bytes(8192)
    expected[32768 + 512 : 32768 + 1024] = bytes(512)
    content = bytearray(device.read_bytes())
    expected[131072 : 131072 + 65536] = content[131072 : 131072 + 65536]
    assert content == expected


def test_a_block_size_below_a_devices_is_refused(device: Path, pool: Any) -> None:
    with pytest.raises(DriveError, match="logical-block-size=512: must be at least 4096"):
        open_backend(drive(device, ",logical-block-size=512"), pool)


def test_closing_twice_is_harmless_and_use_after_closing_is_not(image: Path, pool: Any) -> None:
    backend = open_backend(drive(image), pool)
    backend.close()
    backend.close()
    with pytest.raises(ValueError, match="closed"):
        _ = backend.limits
