# SPDX-License-Identifier: GPL-2.0-or-later
"""The serial port's host side: where output goes, where input comes from.

The native 16550 writes into a pipe; the main loop reads it and passes it on. The pipe keeps a slow
terminal away from the guest, and lets the run command look for the micro-guest's result line.
"""

import asyncio
import os
import sys
import termios
import tty
from contextlib import suppress
from typing import Any, BinaryIO

from vmm._native import ffi, lib
from vmm.errors import VmmError, check_pointer
from vmm.main_loop import MainLoop

COM1_BASE = 0x3F8
COM1_IRQ = 4
GUEST_RESULT_PREFIX = b'{"bqlscope_guest"'
_LINE_LIMIT = 1 << 20
_RETRY_SECONDS = 0.01


class SerialPort:
    """COM1.

    Args:
        target: ``stdio``, ``stderr`` (output only), ``null`` or ``file:PATH``.
        main_loop: passes the output on, under the BQL.
        irq: native IrqLine.
    """

    def __init__(self, target: str, main_loop: MainLoop, irq: Any) -> None:
        self._loop = loop = main_loop.asyncio
        self._bql = main_loop.bql
        self._output, self._owns_output = _open_target(target)
        self._line = bytearray()
        self.result_line: bytes | None = None
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._irq = irq  # the native side points to it
        native = lib.serial16550_new(main_loop.context, self._write_fd, irq)
        self.native = check_pointer(ffi, native, "creating the serial port")
        loop.add_reader(self._read_fd, self._drain)
        self._input: _StandardInput | None = None
        if target == "stdio" and _has_keyboard():
            self._input = _StandardInput(loop, self.native)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._read_fd, 65536):
                self._take(data)

    def _take(self, data: bytes) -> None:
        if self._output is not None:
            # The main loop holds the BQL here: a slow terminal or disk shows up as what it is.
            lib.bql_blocked_begin(self._bql, lib.BQLREC_BLOCKED_FILE_IO)
            try:
                self._output.write(data)
                self._output.flush()
            except OSError:
                pass  # a closed terminal or a full disk must not stop the guest
            finally:
                lib.bql_blocked_end(self._bql)
        self._line += data
        while (end := self._line.find(b"\n")) >= 0:
            line = bytes(self._line[:end]).rstrip(b"\r")
            del self._line[: end + 1]
            if line.startswith(GUEST_RESULT_PREFIX):
                self.result_line = line
        if len(self._line) > _LINE_LIMIT:
            self._line.clear()

    def reset(self) -> None:
        """The registers as after power-on; what was written is still passed on."""
        lib.serial16550_reset(self.native)

    def flush(self) -> None:
        """Pass on everything the guest has written so far."""
        while True:
            left = lib.serial16550_flush(self.native)
            self._drain()
            if not left:
                return

    def close(self) -> None:
        """Flush and free; the region must be gone from the dispatch."""
        self.flush()
        if self._input is not None:
            self._input.close()
        self._loop.remove_reader(self._read_fd)
        lib.serial16550_free(self.native)
        os.close(self._read_fd)
        os.close(self._write_fd)
        if self._owns_output and self._output is not None:
            self._output.close()


class _StandardInput:
    """Keystrokes of a terminal into the receive FIFO; signals (Ctrl-C) stay with the terminal."""

    def __init__(self, loop: asyncio.AbstractEventLoop, native: Any) -> None:
        self._loop = loop
        self._native = native
        self._fd = sys.stdin.fileno()
        self._saved = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        self._waiting = b""
        loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 256)
        except OSError:  # the terminal hung up
            data = b""
        self._loop.remove_reader(self._fd)
        self._waiting += data
        if data:  # at its end a terminal is readable for ever: not watched again
            self._push()

    def _push(self) -> None:
        taken = lib.serial16550_receive(self._native, self._waiting, len(self._waiting))
        self._waiting = self._waiting[taken:]
        if self._waiting:
            self._loop.call_later(_RETRY_SECONDS, self._push)
        else:
            self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        """Give the terminal back."""
        self._loop.remove_reader(self._fd)
        with suppress(termios.error):  # it hung up
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)


def _has_keyboard() -> bool:
    """Whether standard input is a terminal that is ours.

    A background job that touched the terminal's modes would be stopped (SIGTTOU) with the BQL held;
    it runs without a keyboard instead.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # not our controlling terminal: nobody can stop us
        return True


def _open_target(target: str) -> tuple[BinaryIO | None, bool]:
    if target == "stdio":
        return (sys.stdout.buffer if sys.stdout is not None else None), False
    if target == "stderr":
        return (sys.stderr.buffer if sys.stderr is not None else None), False
    if target == "null":
        return None, False
    kind, _, path = target.partition(":")
    if kind != "file" or not path:
        raise VmmError(f"--serial {target}: must be stdio, stderr, null or file:PATH")
    try:
        return open(path, "wb"), True
    except OSError as error:
        raise VmmError(f"--serial {target}: {error.strerror}") from None
