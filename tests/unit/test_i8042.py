# SPDX-License-Identifier: GPL-2.0-or-later
"""The keyboard controller, command by command (IBM PS/2 Technical Reference)."""

import pytest

from tests.support.ps2 import RAW, TRANSLATED, Pc
from vmm.devices.i8042 import MODE_DEFAULT


@pytest.fixture
def pc() -> Pc:
    return Pc()


def mode_of(pc: Pc) -> int:
    pc.ctl(0x20)
    return pc.inb()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (0x20, "07"),
        (0xA4, "f1"),
        (0xA9, "00"),
        (0xAA, "55"),
        (0xAB, "00"),
        (0xC0, "80"),
        (0xD0, "cf"),
    ],
)
def test_a_command_with_an_answer_gives_one_byte_and_the_keyboards_interrupt(
    pc: Pc, command: int, answer: str
) -> None:
    pc.ctl(command)
    assert pc.status() & 0x21 == 0x01
    assert pc.irqs == (1, 0)
    assert pc.read() == answer
    assert pc.irqs == (0, 0)


@pytest.mark.parametrize("command", [0x00, 0x21, 0x3F, 0xA5, 0xAF, 0xC1, 0xCA, 0xE0, 0xF1, 0xFF])
def test_an_unknown_command_does_nothing(pc: Pc, command: int) -> None:
    before = mode_of(pc)
    pc.ctl(command)
    assert pc.read() == ""
    assert mode_of(pc) == before
    assert pc.resets == 0


def test_ports_switch_the_devices_off_and_on(pc: Pc) -> None:
    pc.ctl(0xA7)
    assert mode_of(pc) == RAW | 0x20
    pc.ctl(0xAD)
    assert mode_of(pc) == RAW | 0x30
    pc.ctl(0xA8)
    assert mode_of(pc) == RAW | 0x10
    pc.ctl(0xAE)
    assert mode_of(pc) == RAW


def test_a_device_that_is_off_keeps_its_bytes_until_it_is_on(pc: Pc) -> None:
    pc.aux(0xF4)
    pc.ctl(0xAD)
    pc.ctl(0xA7)
    pc.press("a")
    pc.move(1, 0)
    assert pc.status() & 1 == 0
    pc.ctl(0xA8)
    assert pc.read() == "M08 M01 M00"
    pc.ctl(0xAE)
    assert pc.read() == "1c f0 1c"


def test_a_byte_for_a_device_switches_it_on(pc: Pc) -> None:
    pc.ctl(0xAD)
    pc.ctl(0xA7)
    assert pc.kbd(0xEE) == "ee"
    assert pc.aux(0xE6) == "Mfa"
    assert mode_of(pc) == RAW


def test_the_mode_is_written_and_read_back(pc: Pc) -> None:
    pc.ctl(0x60, 0x65)
    assert mode_of(pc) == 0x65


def test_interrupts_come_only_where_the_mode_asks_for_them(pc: Pc) -> None:
    pc.aux(0xF4)
    pc.ctl(0x60, 0x00)
    before = pc.edges
    pc.press("a")
    pc.move(1, 1)
    assert len(pc.drain()) == 6
    assert pc.edges == before
    pc.ctl(0x60, 0x01)
    pc.press("a")
    pc.move(1, 1)
    pc.drain()
    assert pc.edges == (before[0] + 3, before[1])
    pc.ctl(0x60, 0x02)
    pc.press("a")
    pc.move(1, 1)
    pc.drain()
    assert pc.edges == (before[0] + 3, before[1] + 3)


def test_every_byte_is_an_edge_of_its_devices_line(pc: Pc) -> None:
    pc.aux(0xF4)
    before = pc.edges
    pc.move(3, 4)
    assert pc.irqs == (0, 1)
    pc.press("b")
    assert pc.read() == "M28 32 f0 32 M03 Mfc"
    assert pc.edges == (before[0] + 3, before[1] + 3)
    assert pc.irqs == (0, 0)


def test_the_status_tells_apart_commands_data_and_the_system_flag(pc: Pc) -> None:
    pc.ctl(0x60, 0x00)
    assert pc.status() == 0x10  # unlocked; the last byte was data
    pc.ctl(0xAE)
    assert pc.status() == 0x18
    pc.ctl(0x60, 0x04)
    assert pc.status() == 0x14
    pc.ctl(0x60, 0x00)
    pc.ctl(0xAA)
    assert pc.status() == 0x1D
    pc.read()
    assert pc.status() == 0x1C


def test_reading_an_empty_controller_gives_the_last_byte_again(pc: Pc) -> None:
    pc.press("a")
    pc.read()
    assert (pc.inb(), pc.inb()) == (0x1C, 0x1C)


def test_a_second_answer_takes_the_place_of_the_unread_one(pc: Pc) -> None:
    pc.ctl(0xAA)
    pc.ctl(0x20)
    assert pc.read() == "07"


@pytest.mark.parametrize(("command", "read"), [(0xD2, "5a"), (0xD3, "M5a")])
def test_a_byte_can_be_put_where_a_devices_would_be(pc: Pc, command: int, read: str) -> None:
    pc.ctl(0x60, TRANSLATED)
    pc.ctl(command, 0x5A)
    assert pc.irqs == ((0, 1) if read[0] == "M" else (1, 0))
    assert pc.read() == read


def test_the_output_port_shows_a_waiting_byte_and_keeps_a20(pc: Pc) -> None:
    pc.ctl(0xD1, 0xCD)
    pc.ctl(0xD0)
    assert pc.inb() == 0xCD
    pc.ctl(0xDF)
    pc.ctl(0xD0)
    assert pc.inb() == 0xCF
    pc.ctl(0xDD)
    pc.ctl(0xD0)
    assert pc.inb() == 0xCD
    pc.aux(0xF4)
    pc.move(1, 1)
    pc.ctl(0xD0)
    assert [byte for _, byte in pc.drain()] == [0x28, 0xED, 0x01, 0xFF]
    assert pc.resets == 0


@pytest.mark.parametrize("sequence", [(0xFE,), (0xF0,), (0xF2,), (0xD1, 0x00), (0xD1, 0xCE)])
def test_a_pulse_on_the_reset_line_asks_for_a_reset(pc: Pc, sequence: tuple[int, ...]) -> None:
    pc.ctl(*sequence)
    assert pc.resets == 1
    assert pc.read() == ""


def test_translation_makes_set_1_of_set_2_and_keeps_answers_apart(pc: Pc) -> None:
    pc.ctl(0x60, TRANSLATED)
    pc.press("a", "right", "f7")
    assert pc.read() == "1e 9e e0 4d e0 cd 41 c1"
    assert pc.kbd(0xF2) == "fa ab 41"
    assert pc.kbd(0xF0, 0) == "fa fa 41"


def test_an_answer_between_a_break_prefix_and_its_key_loses_nothing() -> None:
    pc = Pc(TRANSLATED)
    pc.press("a")
    assert pc.inb() == 0x1E  # the controller swallows the prefix now
    assert pc.kbd(0xEE) == "ee 9e"


def test_a_command_that_empties_the_keyboard_takes_back_the_waiting_byte(pc: Pc) -> None:
    pc.press("a")
    assert pc.irqs == (1, 0)
    assert pc.kbd(0xF6) == "fa"
    assert pc.irqs == (0, 0)


def test_wide_writes_count_as_their_low_byte(pc: Pc) -> None:
    (_, data), _ = pc.controller.ports()
    data.write(0, 0x12EE, 2)
    assert pc.read() == "ee"


def test_a_reset_brings_everything_to_where_a_firmware_leaves_it(pc: Pc) -> None:
    pc.kbd(0xF0, 1)
    pc.kbd(0xED, 7)
    pc.aux(0xF4)
    pc.press("a")
    pc.move(5, 5)
    pc.ctl(0xD1, 0xCD)
    pc.ctl(0xD4)  # and its byte never comes
    pc.controller.reset()
    assert pc.status() == 0x14
    assert pc.irqs == (0, 0)
    assert mode_of(pc) == MODE_DEFAULT == 0x47
    assert pc.kbd(0xEE) == "ee"
    pc.move(5, 5)
    pc.press("a")
    assert pc.read() == "1e 9e"
    pc.ctl(0xD0)
    assert pc.inb() == 0xCF
    assert pc.leds[-1] == type(pc.leds[-1])()
