# SPDX-License-Identifier: GPL-2.0-or-later
"""The keyboard controller: ports 0x60 and 0x64, interrupts 1 and 12.

Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller";
where that leaves a choice it is QEMU's (hw/input/pckbd.c).

One output register, three sources: the controller's own answers, the keyboard and the mouse. A
source that got the register keeps it until the guest has read one byte; then the next is chosen in
that order. The bytes stay in the sources' queues until they are read, so nothing is held twice.

The guest is started without a firmware, so the state after a reset is the one in which a firmware
leaves it: both interrupts on, scan codes translated. Commands take no time: "input buffer full" and
the timeout bits never show.
"""

from collections.abc import Callable
from typing import Any

from vmm._native import lib
from vmm.devices.ps2_keyboard import Ps2Keyboard
from vmm.devices.ps2_mouse import Ps2Mouse
from vmm.input.scancodes import BREAK1, BREAK2, TO_SET1
from vmm.qom import Device

DATA_PORT, COMMAND_PORT = 0x60, 0x64
KEYBOARD_IRQ, MOUSE_IRQ = 1, 12

STATUS_OUTPUT_FULL, STATUS_SYSTEM, STATUS_COMMAND = 0x01, 0x04, 0x08
STATUS_UNLOCKED, STATUS_MOUSE = 0x10, 0x20

MODE_KEYBOARD_IRQ, MODE_MOUSE_IRQ, MODE_SYSTEM = 0x01, 0x02, 0x04
MODE_KEYBOARD_OFF, MODE_MOUSE_OFF, MODE_TRANSLATE = 0x10, 0x20, 0x40
MODE_DEFAULT = MODE_KEYBOARD_IRQ | MODE_MOUSE_IRQ | MODE_SYSTEM | MODE_TRANSLATE

OUTPUT_NO_RESET, OUTPUT_A20 = 0x01, 0x02
OUTPUT_KEYBOARD_FULL, OUTPUT_MOUSE_FULL = 0x10, 0x20
OUTPUT_DEFAULT = 0xC0 | 0x0C | OUTPUT_A20 | OUTPUT_NO_RESET
INPUT_PORT_UNLOCKED = 0x80
TEST_PASSED, INTERFACE_GOOD, NO_PASSWORD = 0x55, 0x00, 0xF1

READ_MODE, WRITE_MODE = 0x20, 0x60
WRITE_OUTPUT_PORT, WRITE_KEYBOARD_BUFFER, WRITE_MOUSE_BUFFER, WRITE_MOUSE = 0xD1, 0xD2, 0xD3, 0xD4
WITH_DATA = {WRITE_MODE, WRITE_OUTPUT_PORT, WRITE_KEYBOARD_BUFFER, WRITE_MOUSE_BUFFER, WRITE_MOUSE}
PULSE = 0xF0

_OWN, _KEYBOARD, _MOUSE = 1, 2, 3


class I8042(Device):
    """The controller with a keyboard and a mouse plugged in.

    Args:
        object_id: name in the object tree.
        keyboard, mouse: what is plugged in.
        irqs: native IrqLines of the keyboard and of the mouse.
        request_reset: called when the guest pulls the reset line.
    """

    TYPE = "i8042"

    def __init__(
        self,
        object_id: str,
        keyboard: Ps2Keyboard,
        mouse: Ps2Mouse,
        irqs: tuple[Any, Any],
        request_reset: Callable[[], None],
    ) -> None:
        super().__init__(object_id)
        self.keyboard = keyboard
        self.mouse = mouse
        self._irqs = irqs
        self._levels = [0, 0]
        self._request_reset = request_reset
        self._power_on()
        keyboard.connect(self._update)
        mouse.connect(self._update)

    def _power_on(self) -> None:
        self.mode = MODE_DEFAULT
        self._output_port = OUTPUT_DEFAULT
        self._self_test_passed = False
        self._last_was_command = False
        self._waiting_command = 0
        self._own: tuple[int, bool] | None = None  # value, whether it is the mouse's
        self._source = 0
        self._break = False  # a set 2 break prefix was swallowed by the translation
        self._last = 0

    def reset(self) -> None:
        """What a reset of the machine does to the controller and both devices."""
        self._power_on()
        self.keyboard.reset()
        self.mouse.reset()
        self._update()

    # Ports.

    def ports(self) -> "tuple[tuple[int, DataPort], tuple[int, CommandPort]]":
        """The two ports and their region handlers, one byte each."""
        return (DATA_PORT, DataPort(self)), (COMMAND_PORT, CommandPort(self))

    @property
    def status(self) -> int:
        """The status register, port 0x64."""
        status = STATUS_UNLOCKED
        if self._source:
            status |= STATUS_OUTPUT_FULL
        if self._source_is_mouse():
            status |= STATUS_MOUSE
        if self._self_test_passed or self.mode & MODE_SYSTEM:
            status |= STATUS_SYSTEM
        if self._last_was_command:
            status |= STATUS_COMMAND
        return status

    def read_data(self) -> int:
        """Port 0x60: the next byte, or the last one again if there is none."""
        if self._source == _OWN and self._own is not None:
            self._last, self._own = self._own[0], None
        elif self._source == _KEYBOARD:
            self._last = self._take_key()
        elif self._source == _MOUSE:
            self._last = self.mouse.take()
        self._source = 0
        self._set_irqs()  # down, so that the next byte is an edge
        self._update()
        return self._last

    def write_data(self, value: int) -> None:
        """Port 0x60: the data of the last command, or a byte for the keyboard."""
        self._last_was_command = False
        command, self._waiting_command = self._waiting_command, 0
        if command == WRITE_MODE:
            self.mode = value
        elif command == WRITE_OUTPUT_PORT:
            self._write_output_port(value)
        elif command == WRITE_KEYBOARD_BUFFER:
            self._own = (value, False)
        elif command == WRITE_MOUSE_BUFFER:
            self._own = (value, True)
        elif command == WRITE_MOUSE:
            self.mode &= ~MODE_MOUSE_OFF
            self.mouse.write(value)
        else:
            self.mode &= ~MODE_KEYBOARD_OFF
            self.keyboard.write(value)
        self._update()

    def write_command(self, value: int) -> None:
        """Port 0x64: a command; unknown ones are ignored."""
        self._last_was_command = True
        self._waiting_command = value if value in WITH_DATA else 0
        if value in self._answers():
            self._own = (self._answers()[value], False)
        elif value == 0xA7:
            self.mode |= MODE_MOUSE_OFF
        elif value == 0xA8:
            self.mode &= ~MODE_MOUSE_OFF
        elif value == 0xAD:
            self.mode |= MODE_KEYBOARD_OFF
        elif value == 0xAE:
            self.mode &= ~MODE_KEYBOARD_OFF
        elif value == 0xDD:
            self._output_port &= ~OUTPUT_A20
        elif value == 0xDF:
            self._output_port |= OUTPUT_A20
        elif value >= PULSE and not value & OUTPUT_NO_RESET:
            self._request_reset()
        if value == 0xAA:
            self._self_test_passed = True
        self._update()

    def _answers(self) -> dict[int, int]:
        """Commands that are answered with one byte."""
        return {
            READ_MODE: self.mode,
            0xA4: NO_PASSWORD,
            0xA9: INTERFACE_GOOD,
            0xAA: TEST_PASSED,
            0xAB: INTERFACE_GOOD,
            0xC0: INPUT_PORT_UNLOCKED,
            0xD0: self._read_output_port(),
        }

    def _read_output_port(self) -> int:
        value = self._output_port
        if self._source:
            value |= OUTPUT_MOUSE_FULL if self._source_is_mouse() else OUTPUT_KEYBOARD_FULL
        return value

    def _write_output_port(self, value: int) -> None:
        if not value & OUTPUT_NO_RESET:
            self._request_reset()
        self._output_port = value | OUTPUT_NO_RESET

    # The output register.

    def _update(self) -> None:
        """Give the register to a source if it is free, and set the interrupt lines."""
        if not self.keyboard.has_events:
            self._break = False
        if self._source and not self._has_output(self._source):
            self._source = 0  # a command emptied its queue
        if not self._source:
            self._source = self._choose()
        self._set_irqs()

    def _has_output(self, source: int) -> bool:
        if source == _OWN:
            return self._own is not None
        device = self.keyboard if source == _KEYBOARD else self.mouse
        return device.has_output

    def _choose(self) -> int:
        if self._own is not None:
            return _OWN
        if not self.mode & MODE_KEYBOARD_OFF:
            self._swallow_break_prefix()
            if self.keyboard.has_output:
                return _KEYBOARD
        if not self.mode & MODE_MOUSE_OFF and self.mouse.has_output:
            return _MOUSE
        return 0

    def _swallow_break_prefix(self) -> None:
        """Translation turns the two bytes of a set 2 break code into one."""
        if not self.mode & MODE_TRANSLATE or not self.keyboard.has_output:
            return
        if self.keyboard.peek() == (BREAK2, True):
            self.keyboard.take()
            self._break = True

    def _take_key(self) -> int:
        _, is_event = self.keyboard.peek()
        value = self.keyboard.take()
        if not self.mode & MODE_TRANSLATE:
            return value
        value = TO_SET1[value]
        if is_event and self._break:
            self._break = False
            value |= BREAK1
        return value

    def _source_is_mouse(self) -> bool:
        own_for_mouse = self._source == _OWN and self._own is not None and self._own[1]
        return self._source == _MOUSE or own_for_mouse

    def _set_irqs(self) -> None:
        mouse = self._source_is_mouse()
        keyboard = self._source != 0 and not mouse
        keyboard_masks = MODE_KEYBOARD_IRQ | MODE_KEYBOARD_OFF
        levels = (
            int(keyboard and self.mode & keyboard_masks == MODE_KEYBOARD_IRQ),
            int(mouse and self.mode & MODE_MOUSE_IRQ != 0),
        )
        for index, level in enumerate(levels):
            if level != self._levels[index]:
                self._levels[index] = level
                lib.irq_line_set(self._irqs[index], level)


class DataPort:
    """RegionHandler of port 0x60."""

    def __init__(self, controller: I8042) -> None:
        self._controller = controller

    def read(self, offset: int, size: int) -> int:
        """The output register."""
        return self._controller.read_data()

    def write(self, offset: int, value: int, size: int) -> None:
        """A byte for the keyboard or of a command."""
        self._controller.write_data(value & 0xFF)


class CommandPort:
    """RegionHandler of port 0x64."""

    def __init__(self, controller: I8042) -> None:
        self._controller = controller

    def read(self, offset: int, size: int) -> int:
        """The status register."""
        return self._controller.status

    def write(self, offset: int, value: int, size: int) -> None:
        """A command."""
        self._controller.write_command(value & 0xFF)
