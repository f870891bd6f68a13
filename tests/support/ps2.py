# SPDX-License-Identifier: GPL-2.0-or-later
"""A keyboard controller with its devices and no machine around it, as a guest's driver sees it."""

from collections.abc import Callable

from vmm._native import ffi, lib
from vmm.devices.i8042 import (
    I8042,
    KEYBOARD_IRQ,
    MOUSE_IRQ,
    STATUS_MOUSE,
    STATUS_OUTPUT_FULL,
    WRITE_MODE,
    WRITE_MOUSE,
)
from vmm.devices.ps2_keyboard import Ps2Keyboard
from vmm.devices.ps2_mouse import Ps2Mouse
from vmm.input.router import InputRouter, Leds

RAW, TRANSLATED = 0x07, 0x47
"""Controller modes: both interrupts on, without and with translation to set 1."""


class Pc:
    """Ports 0x60 and 0x64, interrupt lines, and a router that feeds the devices."""

    def __init__(self, mode: int = RAW) -> None:
        self.resets = 0
        self.leds: list[Leds] = []
        self.timers: list[Timer] = []
        self.router = InputRouter(self._call_later)
        self.router.on_leds(self.leds.append)
        self.keyboard = Ps2Keyboard("ps2-kbd", self.router.set_leds)
        self.mouse = Ps2Mouse("ps2-mouse")
        self._lines = tuple(
            ffi.new("IrqLine *", {"vm_fd": -1, "gsi": gsi}) for gsi in (KEYBOARD_IRQ, MOUSE_IRQ)
        )
        keyboard_line, mouse_line = self._lines
        self.controller = I8042(
            "i8042", self.keyboard, self.mouse, (keyboard_line, mouse_line), self._reset
        )
        (_, self._data), (_, self._command) = self.controller.ports()
        self.router.attach(self.keyboard, self.mouse)
        self.ctl(WRITE_MODE, mode)

    def _reset(self) -> None:
        self.resets += 1

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> "Timer":
        timer = Timer(seconds, callback)
        self.timers.append(timer)
        return timer

    # What a driver does.

    def ctl(self, command: int, *data: int) -> None:
        """A controller command and its data."""
        self._command.write(0, command, 1)
        for byte in data:
            self._data.write(0, byte, 1)

    def status(self) -> int:
        return self._command.read(0, 1)

    def inb(self) -> int:
        """Port 0x60, whatever it has."""
        return self._data.read(0, 1)

    def drain(self) -> list[tuple[bool, int]]:
        """Everything there is to read: (whether it is the mouse's, byte)."""
        found = []
        while (status := self.status()) & STATUS_OUTPUT_FULL:
            found.append((bool(status & STATUS_MOUSE), self.inb()))
            assert len(found) < 10_000
        return found

    def read(self) -> str:
        """Everything there is to read as hexadecimal, bytes of the mouse with an M."""
        return " ".join(f"{'M' if mouse else ''}{byte:02x}" for mouse, byte in self.drain())

    def kbd(self, *data: int) -> str:
        """Bytes to the keyboard, and what it answers to each."""
        answers = []
        for byte in data:
            self._data.write(0, byte, 1)
            answers.append(self.read())
        return " ".join(filter(None, answers))

    def aux(self, *data: int) -> str:
        """Bytes to the mouse, and what it answers to each."""
        answers = []
        for byte in data:
            self.ctl(WRITE_MOUSE, byte)
            answers.append(self.read())
        return " ".join(filter(None, answers))

    @property
    def irqs(self) -> tuple[int, int]:
        """Levels of the keyboard's and the mouse's interrupt line."""
        keyboard, mouse = (int(lib.irq_line_level(line)) for line in self._lines)
        return keyboard, mouse

    @property
    def edges(self) -> tuple[int, int]:
        """How often each line went up."""
        keyboard, mouse = (int(lib.irq_line_raised(line)) for line in self._lines)
        return keyboard, mouse

    # What a user does.

    def press(self, *qcodes: str) -> None:
        """Each key down and up."""
        for qcode in qcodes:
            self.router.key(qcode, True)
            self.router.key(qcode, False)

    def move(self, dx: int, dy: int) -> None:
        """One motion and its report."""
        self.router.pointer_rel(dx, dy)
        self.router.sync()

    def button(self, name: str, down: bool) -> None:
        """One button event and its report."""
        self.router.button(name, down)
        self.router.sync()


class Timer:
    """A call_later that happens when a test says so."""

    def __init__(self, seconds: float, callback: Callable[[], None]) -> None:
        self.seconds = seconds
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
