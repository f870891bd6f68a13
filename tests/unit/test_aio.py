# SPDX-License-Identifier: GPL-2.0-or-later
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmm._native import ffi, lib

READ, WRITE = 1, 2


@pytest.fixture(name="ctx", params=["epoll", "io_uring"])
def _ctx(request: pytest.FixtureRequest) -> Iterator[Any]:
    fdmon = {"epoll": lib.AIO_FDMON_EPOLL, "io_uring": lib.AIO_FDMON_IO_URING}[request.param]
    ctx = lib.aio_context_new(ffi.new("AioConfig *", {"fdmon": fdmon}))
    assert ctx
    yield ctx
    lib.aio_context_free(ctx)


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def ready(ctx: Any, timeout_ns: int = 0, limit: int = 8) -> list[tuple[int, int]]:
    fds, events = ffi.new("int[]", limit), ffi.new("int[]", limit)
    lib.aio_wait(ctx, timeout_ns)
    lib.aio_dispatch(ctx)
    count = lib.aio_take_ready(ctx, fds, events, limit)
    return sorted((fds[i], events[i]) for i in range(count))


def test_a_wait_without_events_lasts_as_long_as_it_was_told(ctx: Any) -> None:
    begin = time.monotonic_ns()
    assert not lib.aio_wait(ctx, 3_000_000)
    assert time.monotonic_ns() - begin >= 3_000_000


def test_a_watched_socket_is_reported_until_it_is_drained(
    ctx: Any, pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = pair
    assert lib.aio_watch_fd(ctx, left.fileno(), READ) == 0
    assert ready(ctx) == []
    right.send(b"x")
    assert ready(ctx, -1) == [(left.fileno(), READ)]
    assert ready(ctx, -1) == [(left.fileno(), READ)]
    assert left.recv(1) == b"x"
    assert ready(ctx) == []
    assert lib.aio_watch_fd(ctx, left.fileno(), READ | WRITE) == 0
    assert ready(ctx, -1) == [(left.fileno(), WRITE)]
    assert lib.aio_watch_fd(ctx, left.fileno(), 0) == 0
    assert ready(ctx) == []


def test_a_peer_that_hangs_up_wakes_readers_and_writers(
    ctx: Any, pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = pair
    assert lib.aio_watch_fd(ctx, left.fileno(), READ) == 0
    right.close()
    assert ready(ctx, -1) == [(left.fileno(), READ)]
    assert lib.aio_watch_fd(ctx, left.fileno(), READ | WRITE) == 0
    assert ready(ctx, -1) == [(left.fileno(), READ | WRITE)]
    assert lib.aio_watch_fd(ctx, left.fileno(), 0) == 0


def test_the_peer_sees_the_end_of_a_socket_closed_after_its_watch(
    ctx: Any, pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = pair
    right.setblocking(False)
    assert lib.aio_watch_fd(ctx, left.fileno(), READ) == 0
    assert ready(ctx) == []  # the kernel watches it now, and may hold on to it
    assert lib.aio_watch_fd(ctx, left.fileno(), 0) == 0
    left.close()
    lib.aio_poll(ctx, False)
    assert right.recv(1) == b""


def test_errors_are_returned_as_negative_numbers(ctx: Any, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "plain", os.O_CREAT | os.O_RDWR)
    assert lib.aio_watch_fd(ctx, fd, READ) == -errno.EPERM
    os.close(fd)
    assert lib.aio_watch_fd(ctx, fd, READ) == -errno.EBADF
    assert lib.aio_watch_fd(ctx, fd, 0) == -errno.ENOENT
    assert lib.aio_watch_fd(ctx, -1, READ) == -errno.EBADF
    assert lib.aio_watch_fd(ctx, fd, 8) == -errno.EINVAL


def test_another_thread_ends_a_wait_without_limit(ctx: Any) -> None:
    for _ in range(23):
        thread = threading.Thread(target=lib.aio_notify, args=(ctx,))
        thread.start()
        assert not lib.aio_wait(ctx, -1)
        assert not lib.aio_dispatch(ctx)
        thread.join()


def test_an_iothread_bears_its_name_and_ends() -> None:
    config = ffi.new("AioConfig *", {"ring": True, "poll_max_ns": 32768})
    iothread = lib.iothread_new(b"io0", config, -1, ffi.NULL)
    comm = Path(f"/proc/self/task/{lib.iothread_tid(iothread)}/comm")
    assert comm.read_text() == "IO io0\n"
    lib.iothread_free(iothread)
    assert not comm.exists()


@pytest.mark.parametrize("threads", [0, 65])
def test_a_pool_of_impossible_size_is_refused(threads: int) -> None:
    assert lib.worker_pool_new(threads, 0, ffi.NULL) == ffi.NULL
    assert ffi.errno == errno.EINVAL
