# SPDX-License-Identifier: GPL-2.0-or-later
"""Image locks: among ourselves, and against the real QEMU."""

import errno
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vmm._native import ffi, lib
from vmm.block.backend import BlockBackend, DriveOpenError, open_backend
from vmm.block.options import parse_drive

needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-img") and shutil.which("qemu-system-x86_64")), reason="needs QEMU"
)


@pytest.fixture(name="pool")
def _pool() -> Iterator[Any]:
    pool = lib.worker_pool_new(1, 1_000_000_000, ffi.NULL)
    yield pool
    lib.worker_pool_free(pool)


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    return path


def open_drive(image: Path, pool: Any, more: str = "") -> BlockBackend:
    return open_backend(parse_drive(f"file={image}{more}"), pool)


def refused(image: Path, pool: Any, more: str = "") -> str:
    with pytest.raises(DriveOpenError) as caught:
        open_drive(image, pool, more)
    assert caught.value.errno == errno.EAGAIN
    return str(caught.value)


def qemu_img(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["qemu-img", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def running_qemu(image: Path, more: str = "") -> Iterator[None]:
    """A QEMU whose guest has the image as its disk; it answers once the disk is open."""
    command = ["qemu-system-x86_64", "-M", "pc,accel=tcg", "-S", "-nodefaults"]
    command += ["-display", "none", "-qmp", "stdio", "-drive"]
    command += [f"if=virtio,format=raw,file={image}{more}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(b'{"execute":"qmp_capabilities"}\n')
            process.stdin.flush()
            assert "QMP" in json.loads(process.stdout.readline())
            assert json.loads(process.stdout.readline()) == {"return": {}}
            yield
        finally:
            process.communicate(b'{"execute":"quit"}\n', timeout=60)


def test_a_second_writer_is_refused_with_qemus_words(image: Path, pool: Any) -> None:
    with open_drive(image, pool):
        assert refused(image, pool) == (
            f'Failed to get "write" lock. Is another process using the image [{image}]?'
        )


def test_readers_share_and_keep_writers_out(image: Path, pool: Any) -> None:
    with open_drive(image, pool, ",readonly=on"), open_drive(image, pool, ",readonly=on"):
        assert 'Failed to get "write" lock' in refused(image, pool)
    with open_drive(image, pool):
        assert 'Failed to get shared "write" lock' in refused(image, pool, ",readonly=on")


def test_closing_unlocks(image: Path, pool: Any) -> None:
    open_drive(image, pool).close()
    open_drive(image, pool).close()


def test_locking_off_asks_nobody_and_stops_nobody(image: Path, pool: Any) -> None:
    with open_drive(image, pool), open_drive(image, pool, ",locking=off"):
        pass
    with open_drive(image, pool, ",locking=off"), open_drive(image, pool):
        pass


@pytest.mark.qemu
@needs_qemu
def test_qemu_refuses_an_image_we_write(image: Path, pool: Any) -> None:
    resize = ("resize", "-f", "raw", str(image), "+1M")
    copy = ("convert", "-f", "raw", "-O", "raw", str(image), str(image) + ".copy")
    with open_drive(image, pool):
        result = qemu_img(*resize)
        assert result.returncode != 0
        assert 'Failed to get "write" lock' in result.stderr
        assert 'Failed to get shared "write" lock' in qemu_img(*copy).stderr
    assert qemu_img(*resize).returncode == 0
    assert qemu_img(*copy).returncode == 0


@pytest.mark.qemu
@needs_qemu
def test_a_qemu_machine_refuses_an_image_we_write(image: Path, pool: Any) -> None:
    command = ["qemu-system-x86_64", "-M", "pc,accel=tcg", "-S", "-nodefaults"]
    command += ["-display", "none", "-drive", f"if=virtio,format=raw,file={image}"]
    with open_drive(image, pool):
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode != 0
    assert 'Failed to get "write" lock' in result.stderr


@pytest.mark.qemu
@needs_qemu
def test_we_refuse_an_image_that_qemu_writes(image: Path, pool: Any) -> None:
    with running_qemu(image):
        assert refused(image, pool) == (
            f'Failed to get "write" lock. Is another process using the image [{image}]?'
        )
        assert 'Failed to get shared "write" lock' in refused(image, pool, ",readonly=on")
    open_drive(image, pool).close()


@pytest.mark.qemu
@needs_qemu
def test_we_and_qemu_read_the_same_image(image: Path, pool: Any) -> None:
    with running_qemu(image, ",readonly=on"):
        open_drive(image, pool, ",readonly=on").close()
        assert 'Failed to get "write" lock' in refused(image, pool)
    with open_drive(image, pool, ",readonly=on"):
        assert qemu_img("compare", "-f", "raw", "-F", "raw", str(image), str(image)).returncode == 0


@pytest.mark.qemu
@needs_qemu
def test_qemus_force_share_reads_what_we_write(image: Path, pool: Any) -> None:
    with open_drive(image, pool):
        result = qemu_img("info", "--force-share", "-f", "raw", "--output=json", str(image))
    assert json.loads(result.stdout)["virtual-size"] == 1 << 20
