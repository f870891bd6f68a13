# SPDX-License-Identifier: GPL-2.0-or-later
"""The native event loop behind the interface of selectors.BaseSelector."""

import os
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from vmm._native import ffi, lib
from vmm.bql import Bql
from vmm.main_loop import NativeSelector

PATIENCE_SECONDS = 20


@pytest.fixture
def bql() -> Iterator[Bql]:
    """A lock that the test's thread holds, as a main thread does."""
    lock = Bql()
    lock.lock()
    yield lock
    lock.unlock()
    lock.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.fixture
def selector(bql: Bql) -> Iterator[NativeSelector]:
    context = lib.aio_context_new(ffi.new("AioConfig *", {"ring": True}))
    made = NativeSelector(context, bql.handle)
    yield made
    made.close()
    lib.aio_context_free(context)


def test_it_registers_modifies_and_unregisters(
    selector: NativeSelector, pipe: tuple[int, int]
) -> None:
    key = selector.register(pipe[1], selectors.EVENT_READ, "data")
    assert (selector.get_key(pipe[1]), dict(selector.get_map())) == (key, {pipe[1]: key})
    assert selector.select(0) == []
    changed = selector.modify(pipe[1], selectors.EVENT_WRITE, "other")
    assert selector.select(0) == [(changed, selectors.EVENT_WRITE)]
    assert selector.unregister(pipe[1]) == changed
    assert selector.select(0) == []
    with pytest.raises(KeyError):
        selector.get_key(pipe[1])


def test_it_refuses_what_selectors_refuse(selector: NativeSelector, pipe: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="invalid events"):
        selector.register(pipe[0], 0)
    with pytest.raises(ValueError, match="invalid events"):
        selector.register(pipe[0], 4)
    selector.register(pipe[0], selectors.EVENT_READ)
    with pytest.raises(KeyError, match="already registered"):
        selector.register(pipe[0], selectors.EVENT_READ)
    with pytest.raises(KeyError, match="not registered"):
        selector.unregister(pipe[1])
    with pytest.raises(OSError, match="watching a file descriptor"):
        selector.register(1 << 20, selectors.EVENT_READ)


def test_a_hang_up_shows_as_readable(selector: NativeSelector) -> None:
    here, there = socket.socketpair()
    key = selector.register(here, selectors.EVENT_READ)
    there.close()
    assert selector.select(1) == [(key, selectors.EVENT_READ)]
    selector.unregister(here)
    here.close()


def test_a_closed_object_can_still_be_unregistered(selector: NativeSelector) -> None:
    here, there = socket.socketpair()
    selector.register(here, selectors.EVENT_READ)
    with here, there:
        pass
    assert here.fileno() == -1
    selector.unregister(here)
    assert not selector.get_map()


def test_a_time_limit_ends_the_wait(selector: NativeSelector) -> None:
    began = time.monotonic()
    assert selector.select(0.02) == []
    assert 0.02 <= time.monotonic() - began < PATIENCE_SECONDS


def test_a_hundred_ready_descriptors_are_all_reported(selector: NativeSelector) -> None:
    fds = [os.eventfd(1, os.EFD_NONBLOCK) for _ in range(100)]
    for fd in fds:
        selector.register(fd, selectors.EVENT_READ)
    seen: set[int] = set()
    for _ in range(10):
        for key, _events in selector.select(0):
            seen.add(key.fd)
            os.eventfd_read(key.fd)  # handled, so that those left over come up
    assert seen == set(fds)
    for fd in fds:
        selector.unregister(fd)
        os.close(fd)
