# SPDX-License-Identifier: GPL-2.0-or-later
"""The serial port around the UART: where output goes, where keystrokes come from."""

import asyncio
import errno
import os
import pty
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmm._native import ffi, lib
from vmm.bql import Bql
from vmm.devices.serial import SerialPort
from vmm.errors import VmmError
from vmm.main_loop import MainLoop

DATA, LSR = 0, 5
DATA_READY = 1
OUT_BUFFER = 65536


@pytest.fixture
def main_loop() -> Iterator[MainLoop]:
    bql = Bql()
    bql.lock()
    loop = MainLoop(bql.handle)
    yield loop
    loop.close()
    bql.unlock()
    bql.close()


def open_port(main_loop: MainLoop, target: str) -> SerialPort:
    return SerialPort(target, main_loop, ffi.NULL)


def send(port: SerialPort, text: bytes) -> None:
    write = lib.ops_serial16550().write
    for byte in text:
        write(port.native, 0, byte, 1)


def test_output_goes_to_a_file(main_loop: MainLoop, tmp_path: Path) -> None:
    port = open_port(main_loop, f"file:{tmp_path}/log")
    send(port, b"hello\r\n" * 20_000)
    port.close()
    # More at once than the buffer holds: the rest is dropped, not waited for.
    assert (tmp_path / "log").read_bytes() == (b"hello\r\n" * 20_000)[:OUT_BUFFER]


def test_the_result_line_is_found_among_others(main_loop: MainLoop) -> None:
    port = open_port(main_loop, "null")
    send(port, b'boot\r\n {"bqlscope_guest":0}\n{"bqlscope_guest":1}\r\nbye')
    port.flush()
    assert port.result_line == b'{"bqlscope_guest":1}'
    port.close()


def test_a_guest_that_never_ends_its_line_costs_bounded_memory(main_loop: MainLoop) -> None:
    port = open_port(main_loop, "null")
    for _ in range(20):
        send(port, b"x" * 60_000)
        port.flush()
    send(port, b'\n{"bqlscope_guest":1}\n')
    port.flush()
    assert port.result_line == b'{"bqlscope_guest":1}'
    port.close()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("", "must be stdio, stderr, null or file:PATH"),
        ("file:", "must be stdio, stderr, null or file:PATH"),
        ("file:/nonexistent/log", os.strerror(errno.ENOENT)),
        ("file:/", os.strerror(errno.EISDIR)),
    ],
)
def test_a_wrong_target_is_refused_and_leaves_nothing_open(
    main_loop: MainLoop, target: str, words: str
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(VmmError, match=words):
        open_port(main_loop, target)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_keystrokes_reach_the_guest_and_the_terminal_is_given_back(
    main_loop: MainLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyboard, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    with open(terminal, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        port = open_port(main_loop, "stdio")
        typed = b"0123456789abcdefghij"  # more than the FIFO holds: the rest waits
        os.write(keyboard, typed)
        got = bytearray()
        read = lib.ops_serial16550().read

        async def collect() -> None:
            while len(got) < len(typed):
                await asyncio.sleep(0.001)
                while read(port.native, LSR, 1) & DATA_READY:
                    got.append(read(port.native, DATA, 1))

        main_loop.asyncio.run_until_complete(collect())
        port.close()
        assert bytes(got) == typed
        assert termios.tcgetattr(terminal) == before
    os.close(keyboard)


def test_a_terminal_that_hangs_up_is_not_asked_again(
    main_loop: MainLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyboard, terminal = pty.openpty()
    with open(terminal, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        port = open_port(main_loop, "stdio")
        os.close(keyboard)
        turns: list[int] = []
        real_read = os.read

        def counting_read(fd: int, size: int) -> bytes:
            if fd == terminal:
                turns.append(fd)
            return real_read(fd, size)

        monkeypatch.setattr(os, "read", counting_read)
        main_loop.asyncio.run_until_complete(asyncio.sleep(0.02))
        assert len(turns) == 1
        monkeypatch.undo()
        port.close()
