# SPDX-License-Identifier: GPL-2.0-or-later
"""The keyboard behind an untranslating controller, command by command."""

import pytest

from tests.support.ps2 import Pc
from vmm.devices.ps2 import QUEUE_BYTES
from vmm.input.qcodes import NUMBERS
from vmm.input.router import Leds
from vmm.input.scancodes import sequence


@pytest.fixture
def pc() -> Pc:
    return Pc()


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        ((0xFF,), "fa aa"),
        ((0xEE,), "ee"),
        ((0xF2,), "fa ab 83"),
        ((0xED, 0x02), "fa fa"),
        ((0xF3, 0x20), "fa fa"),
        ((0xF4,), "fa"),
        ((0xF5,), "fa"),
        ((0xF6,), "fa"),
        ((0xF0, 0x00), "fa fa 02"),
        ((0xF0, 0x01), "fa fa"),
        ((0xF0, 0x03), "fa fa"),
        ((0xF0, 0x04), "fa fe"),
        ((0xF7,), "fa"),
        ((0xFA,), "fa"),
        ((0xFC, 0x1C, 0x32, 0xEE), "fa fa fa ee"),
        ((0x00,), "fe"),
        ((0xEF,), "fe"),
        ((0xF1,), "fe"),
    ],
)
def test_a_command_is_answered(pc: Pc, sent: tuple[int, ...], answers: str) -> None:
    assert pc.kbd(*sent) == answers


@pytest.mark.parametrize("scan_set", [1, 2, 3])
def test_the_scan_code_set_is_chosen_and_told(pc: Pc, scan_set: int) -> None:
    assert pc.kbd(0xF0, scan_set, 0xF0, 0x00) == f"fa fa fa fa {scan_set:02x}"
    pc.press("f1")
    assert pc.read() == {1: "3b bb", 2: "05 f0 05", 3: "07 f0 07"}[scan_set]


@pytest.mark.parametrize("command", [0xED, 0xF0, 0xF3, 0xFB])
def test_a_command_in_place_of_an_argument_is_a_command(pc: Pc, command: int) -> None:
    assert pc.kbd(command, 0xEE) == "fa ee"
    assert pc.leds == []


def test_leds_are_told_when_they_change(pc: Pc) -> None:
    pc.kbd(0xED, 0x02)
    pc.kbd(0xED, 0x02)
    pc.kbd(0xED, 0x7D)
    pc.kbd(0xFF)
    assert pc.leds == [Leds(num=True), Leds(scroll=True, caps=True), Leds()]


def test_the_last_byte_is_sent_again_on_demand(pc: Pc) -> None:
    pc.press("a")
    assert pc.read() == "1c f0 1c"
    assert pc.kbd(0xFE, 0xFE) == "1c 1c"
    pc.kbd(0xF2)
    assert pc.kbd(0xFE) == "83"


def test_a_disabled_keyboard_sends_no_keys_until_it_is_enabled(pc: Pc) -> None:
    pc.kbd(0xF5)
    pc.press("a")
    assert pc.read() == ""
    pc.kbd(0xF4)
    pc.press("b")
    assert pc.read() == "32 f0 32"


@pytest.mark.parametrize("command", [0xF6, 0xFF])
def test_defaults_are_set_2_and_scanning(pc: Pc, command: int) -> None:
    pc.kbd(0xF0, 1)
    pc.kbd(0xF5)
    pc.kbd(command)
    pc.press("a")
    assert pc.read() == "1c f0 1c"


@pytest.mark.parametrize("command", [0xF5, 0xF6, 0xFF])
def test_what_waits_is_dropped_by_commands_that_restore_defaults(pc: Pc, command: int) -> None:
    pc.press("a", "b")
    assert pc.kbd(command) in ("fa", "fa aa")


def test_an_answer_comes_before_keys_that_wait(pc: Pc) -> None:
    pc.press("a", "b")
    assert pc.kbd(0xEE) == "ee 1c f0 1c 32 f0 32"


def test_a_new_command_drops_the_unread_answer(pc: Pc) -> None:
    pc.ctl(0xAE)
    for _ in range(100):
        pc.controller.write_data(0xF2)
    assert pc.read() == "fa ab 83"


def test_a_full_queue_takes_no_part_of_a_key(pc: Pc) -> None:
    for _ in range(7):
        pc.press("right")  # 2 and 3 bytes
    assert len(pc.drain()) == 15
    assert pc.keyboard.dropped == 7 * 5 - 15
    pc.press("left")
    assert pc.read() == "e0 6b e0 f0 6b"


def test_no_key_stays_down_because_its_release_found_no_room(pc: Pc) -> None:
    for _ in range(5):
        pc.press("a")  # 1 and 2 bytes
    pc.router.key("b", True)
    assert pc.keyboard.room() == 0
    pc.router.key("b", False)
    pc.router.key("c", True)
    pc.router.key("c", False)
    assert pc.read() == "1c f0 1c " * 5 + "32 f0 32"
    pc.press("c")
    assert pc.read() == "21 f0 21"


def test_a_keyboard_that_is_reset_owes_nothing(pc: Pc) -> None:
    for _ in range(5):
        pc.press("a")
    pc.press("b")
    assert pc.kbd(0xFF) == "fa aa"
    pc.press("c")
    assert pc.read() == "21 f0 21"


def test_room_for_a_short_key_is_used_where_a_long_one_did_not_fit(pc: Pc) -> None:
    for _ in range(3):
        pc.press("right")
    pc.router.key("up", True)
    pc.router.key("a", True)
    data = [byte for _, byte in pc.drain()]
    assert len(data) == QUEUE_BYTES
    assert data[-1] == 0x1C


def test_a_key_that_the_client_repeats_is_sent_again(pc: Pc) -> None:
    for _ in range(3):
        pc.router.key("a", True)
    pc.router.key("a", False)
    assert pc.read() == "1c 1c 1c f0 1c"


@pytest.mark.parametrize(
    ("held", "key", "down", "up"),
    [
        (None, "print", "e0 12 e0 7c", "e0 f0 7c e0 f0 12"),
        ("shift", "print", "e0 7c", "e0 f0 7c"),
        ("ctrl_r", "print", "e0 7c", "e0 f0 7c"),
        ("alt", "print", "84", "f0 84"),
        ("alt_r", "sysrq", "84", "f0 84"),
        (None, "pause", "e1 14 77 e1 f0 14 f0 77", ""),
        ("shift", "pause", "e1 14 77 e1 f0 14 f0 77", ""),
        ("ctrl", "pause", "e0 7e e0 f0 7e", ""),
        ("shift", "up", "e0 75", "e0 f0 75"),
        (None, "lang1", "f2", ""),
        (None, "lang2", "f1", ""),
        (None, "unmapped", "", ""),
    ],
)
def test_keys_that_depend_on_others(pc: Pc, held: str | None, key: str, down: str, up: str) -> None:
    if held is not None:
        pc.router.key(held, True)
        pc.read()
    pc.router.key(key, True)
    assert pc.read() == down
    pc.router.key(key, False)
    assert pc.read() == up


def test_modifiers_are_known_whatever_the_keyboard_sends(pc: Pc) -> None:
    pc.kbd(0xF5)
    pc.router.key("alt", True)
    pc.kbd(0xFF)
    pc.press("print")
    assert pc.read() == "84 f0 84"
    pc.router.key("alt", False)
    pc.read()
    pc.press("print")
    assert pc.read() == "e0 12 e0 7c e0 f0 7c e0 f0 12"


@pytest.mark.parametrize("qcode", NUMBERS)
def test_each_key_arrives_through_the_controller_as_its_sequence(pc: Pc, qcode: str) -> None:
    modifiers = frozenset[str]()
    pc.router.key(qcode, True)
    assert bytes(byte for _, byte in pc.drain()) == sequence(qcode, True, 2, modifiers)
    pc.router.key(qcode, False)
    held = modifiers | ({qcode} & {"shift", "shift_r", "ctrl", "ctrl_r", "alt", "alt_r"})
    assert bytes(byte for _, byte in pc.drain()) == sequence(qcode, False, 2, held)
