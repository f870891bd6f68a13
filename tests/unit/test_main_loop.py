# SPDX-License-Identifier: GPL-2.0-or-later
import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.rig import thread_sleeps, wait_until
from vmm._native import ffi, lib
from vmm.bql import Bql
from vmm.main_loop import MainLoop
from vmm.requests import RequestKind, Requests

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
def main_loop(bql: Bql) -> Iterator[MainLoop]:
    made = MainLoop(bql.handle)
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield ends
    for fd in ends:
        os.close(fd)


def sleeps_in_poll(bql: Bql, native_id: int) -> bool:
    """Whether the main thread sleeps without the lock, which it only does while it polls."""
    if not bql.trylock():
        return False
    try:
        return thread_sleeps(native_id)
    finally:
        bql.unlock()


def run(main_loop: MainLoop, coroutine: Any) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(coroutine, PATIENCE_SECONDS)

    return main_loop.asyncio.run_until_complete(limited())


def test_timers_fire_in_the_order_of_their_times(main_loop: MainLoop) -> None:
    fired: list[str] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        started = loop.time()

        def late() -> None:
            fired.append("late")
            done.set_result(None)

        loop.call_later(0.02, late)
        loop.call_later(0.01, fired.append, "early")
        loop.call_later(0.005, fired.append, "cancelled").cancel()
        loop.call_soon(fired.append, "now")
        await done
        assert loop.time() - started >= 0.02

    run(main_loop, body())
    assert fired == ["now", "early", "late"]


def test_a_pipe_becomes_readable(main_loop: MainLoop, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    got: list[bytes] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def readable() -> None:
            got.append(os.read(reader, 2))
            if len(got) == 3:
                done.set_result(None)

        loop.add_reader(reader, readable)
        loop.call_later(0.001, os.write, writer, b"abcdef")  # level-triggered: three rounds
        await done
        assert loop.remove_reader(reader)
        assert not loop.remove_reader(reader)

    run(main_loop, body())
    assert got == [b"ab", b"cd", b"ef"]


def test_a_full_pipe_becomes_writable(main_loop: MainLoop, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    filled = 0
    while True:
        try:
            filled += os.write(writer, bytes(65536))
        except BlockingIOError:
            break

    async def body() -> None:
        loop = asyncio.get_running_loop()
        writable = loop.create_future()

        def ready() -> None:
            loop.remove_writer(writer)
            writable.set_result(None)

        loop.add_writer(writer, ready)
        await asyncio.sleep(0)
        assert not writable.done()
        loop.call_soon(os.read, reader, filled)
        await writable
        assert not loop.remove_writer(writer)

    run(main_loop, body())


def test_reading_and_writing_on_one_socket_are_told_apart(main_loop: MainLoop) -> None:
    async def body() -> bytes:
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=here)
        far_reader, far_writer = await asyncio.open_connection(sock=there)
        writer.write(bytes(range(256)) * 4096)
        sender = asyncio.create_task(writer.drain())
        data = await far_reader.readexactly(256 * 4096)
        await sender
        far_writer.write(b"thanks")
        answer = await reader.readexactly(6)
        for each in (writer, far_writer):
            each.close()
            await each.wait_closed()
        assert data == bytes(range(256)) * 4096
        return answer

    assert run(main_loop, body()) == b"thanks"


def test_call_soon_threadsafe_wakes_a_sleeping_loop(main_loop: MainLoop, bql: Bql) -> None:
    async def body() -> int:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[int] = loop.create_future()
        tid = threading.get_native_id()

        def tell() -> None:
            wait_until(lambda: sleeps_in_poll(bql, tid), "the loop to sleep")
            loop.call_soon_threadsafe(told.set_result, 42)

        thread = threading.Thread(target=tell)
        thread.start()
        try:
            return await told
        finally:
            thread.join()

    assert run(main_loop, body()) == 42


def test_the_lock_is_free_while_the_loop_polls_and_held_in_callbacks(
    main_loop: MainLoop, bql: Bql
) -> None:
    seen: list[bool] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            seen.append(bql.locked())
            told.set_result(None)

        def other_thread() -> None:
            with bql.held():  # would wait for ever if the poll kept the lock
                loop.call_soon_threadsafe(finish)

        thread = threading.Thread(target=other_thread)
        thread.start()
        await told
        thread.join()

    run(main_loop, body())
    assert seen == [True]
    assert bql.locked()


def test_callbacks_of_watchers_and_timers_hold_the_lock(
    main_loop: MainLoop, bql: Bql, pipe: tuple[int, int]
) -> None:
    seen: list[bool] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def readable() -> None:
            os.read(pipe[0], 8)
            seen.append(bql.locked())
            loop.call_later(0.001, timer)

        def timer() -> None:
            seen.append(bql.locked())
            done.set_result(None)

        loop.add_reader(pipe[0], readable)
        os.write(pipe[1], b"x")
        await done
        loop.remove_reader(pipe[0])

    run(main_loop, body())
    assert seen == [True, True]


def test_native_handlers_and_python_watchers_share_the_loop(
    main_loop: MainLoop, pipe: tuple[int, int]
) -> None:
    """The serial port's bottom half is native; its output comes back through a Python watcher."""
    reader, writer = pipe
    serial = lib.serial16550_new(main_loop.context, writer, ffi.NULL)
    write = lib.ops_serial16550().write
    got = bytearray()

    async def body() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def readable() -> None:
            got.extend(os.read(reader, 4096))
            if got.endswith(b"two\n"):
                done.set_result(None)

        loop.add_reader(reader, readable)
        for byte in b"one\ntwo\n":
            write(serial, 0, byte, 1)
        await done
        loop.remove_reader(reader)

    try:
        run(main_loop, body())
    finally:
        lib.serial16550_free(serial)
    assert got == b"one\ntwo\n"


def test_an_asyncio_signal_handler_runs_under_the_lock(main_loop: MainLoop, bql: Bql) -> None:
    async def body() -> bool:
        loop = asyncio.get_running_loop()
        held: asyncio.Future[bool] = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR2, lambda: held.set_result(bql.locked()))
        loop.call_later(0.001, signal.raise_signal, signal.SIGUSR2)
        try:
            return await held
        finally:
            loop.remove_signal_handler(signal.SIGUSR2)

    assert run(main_loop, body()) is True


def test_an_ordinary_signal_handler_interrupts_a_sleeping_loop(
    main_loop: MainLoop, bql: Bql
) -> None:
    """No descriptor becomes ready, so nothing but the signal itself can end the wait."""

    class InterruptionError(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise InterruptionError

    before = signal.signal(signal.SIGUSR2, handler)
    main = threading.get_ident()
    tid = threading.get_native_id()
    started = threading.Event()

    def send() -> None:
        started.wait()
        wait_until(lambda: sleeps_in_poll(bql, tid), "the loop to sleep")
        signal.pthread_kill(main, signal.SIGUSR2)

    thread = threading.Thread(target=send)
    thread.start()
    main_loop.asyncio.call_later(PATIENCE_SECONDS, main_loop.asyncio.stop)
    main_loop.asyncio.call_soon(started.set)
    began = time.monotonic()
    try:
        with pytest.raises(InterruptionError):
            main_loop.asyncio.run_forever()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR2, before)
    assert time.monotonic() - began < PATIENCE_SECONDS / 2


@pytest.fixture
def requests(main_loop: MainLoop) -> Iterator[Requests]:
    made = Requests(main_loop.asyncio)
    yield made
    made.close()


def test_the_first_request_wins(main_loop: MainLoop, requests: Requests) -> None:
    requests.file(RequestKind.SHUTDOWN, 5, "first %s %n")
    requests.file(RequestKind.DEBUG_EXIT, 6, "second")
    taken = run(main_loop, requests.wait())
    assert (taken.kind, taken.code, taken.vcpu) == (RequestKind.SHUTDOWN, 5, -1)
    assert taken.message == "first %s %n"


def test_a_reset_gives_way_to_what_ends_the_machine(
    main_loop: MainLoop, requests: Requests
) -> None:
    requests.file(RequestKind.RESET, 5, "first")
    requests.file(RequestKind.SHUTDOWN, 6, "second")
    requests.file(RequestKind.RESET, 7, "third")
    taken = run(main_loop, requests.wait())
    assert (taken.kind, taken.code) == (RequestKind.SHUTDOWN, 6)


def test_a_long_message_is_cut_and_never_refused(main_loop: MainLoop, requests: Requests) -> None:
    requests.file(RequestKind.GUEST_CRASH, -1, "ä" * 1000)
    taken = run(main_loop, requests.wait())
    assert taken.code == -1
    assert taken.message.startswith("ä" * 200)


def test_a_request_from_another_thread_wakes_the_loop(
    main_loop: MainLoop, bql: Bql, requests: Requests
) -> None:
    tid = threading.get_native_id()

    def ask() -> None:
        wait_until(lambda: sleeps_in_poll(bql, tid), "the loop to sleep")
        requests.file(RequestKind.SHUTDOWN, 0, "from afar")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert run(main_loop, requests.wait()).message == "from afar"
    finally:
        thread.join()
