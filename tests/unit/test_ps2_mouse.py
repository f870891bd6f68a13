# SPDX-License-Identifier: GPL-2.0-or-later
"""The mouse behind the controller, command by command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ps2 import Pc
from vmm.devices.ps2_mouse import MAX_MOTION

WHEEL_KNOCK = (0xF3, 200, 0xF3, 100, 0xF3, 80)
EXPLORER_KNOCK = (0xF3, 200, 0xF3, 200, 0xF3, 80)


@pytest.fixture
def pc() -> Pc:
    """A mouse that reports."""
    pc = Pc()
    pc.aux(0xF4)
    return pc


def moved(data: list[tuple[bool, int]], packet_bytes: int = 3) -> tuple[int, int]:
    """Sum of the motion of packets, right and up."""
    assert len(data) % packet_bytes == 0
    right = up = 0
    for at in range(0, len(data), packet_bytes):
        first, x, y = (byte for _, byte in data[at : at + 3])
        assert first & 0x08
        right += x - (first << 4 & 0x100)
        up += y - (first << 3 & 0x100)
    return right, up


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        ((0xFF,), "Mfa Maa M00"),
        ((0xF2,), "Mfa M00"),
        ((0xE9,), "Mfa M00 M02 M64"),
        ((0xE8, 0x03, 0xE7, 0xF3, 40, 0xE9), "Mfa Mfa Mfa Mfa Mfa Mfa M10 M03 M28"),
        ((0xF0, 0xF4, 0xE9), "Mfa Mfa Mfa M60 M02 M64"),
        ((0xE7, 0xF0, 0xF4, 0xF6, 0xE9), "Mfa Mfa Mfa Mfa Mfa M00 M02 M64"),
        ((0xE8, 0x04), "Mfa Mfe"),
        ((0xF3, 0xFF), "Mfa Mfa Maa M00"),  # a command in place of the argument
        ((0xEB,), "Mfa M08 M00 M00"),
        ((0xEE, 0x12, 0xF4, 0xEC, 0xF2), "Mfa M12 Mf4 Mfa Mfa M00"),
        ((0xEE, 0xFF, 0xF2), "Mfa Mfa Maa M00 Mfa M00"),
        ((0xE1,), "Mfe"),
        ((0x00,), "Mfe"),
        ((0xF2, 0xFE), "Mfa M00 M00"),
    ],
)
def test_a_command_is_answered(sent: tuple[int, ...], answers: str) -> None:
    assert Pc().aux(*sent) == answers


def test_the_status_has_the_buttons_in_its_own_order(pc: Pc) -> None:
    for name, bit in (("left", 4), ("middle", 2), ("right", 1)):
        pc.button(name, True)
        pc.read()
        assert pc.aux(0xE9) == f"Mfa M{0x20 | bit:02x} M02 M64"
        pc.button(name, False)
        pc.read()


@pytest.mark.parametrize(
    ("dx", "dy", "packets"),
    [
        (3, 4, "M28 M03 Mfc"),
        (-3, -4, "M18 Mfd M04"),
        (127, 127, "M28 M7f M81"),
        (128, 0, "M08 M7f M00 M08 M01 M00"),
        (-300, 0, "M18 M81 M00 M18 M81 M00 M18 Md2 M00"),
        (0, 0, ""),
    ],
)
def test_motion_is_reported_in_packets(pc: Pc, dx: int, dy: int, packets: str) -> None:
    pc.move(dx, dy)
    assert pc.read() == packets


def test_nothing_is_reported_before_the_driver_asks() -> None:
    pc = Pc()
    pc.move(3, 4)
    pc.button("wheel-up", True)
    assert pc.aux(0xF4) == "Mfa"
    assert pc.read() == ""
    pc.move(1, 0)
    assert pc.read() == "M08 M01 M00"


def test_a_button_that_was_held_before_is_in_the_first_packet() -> None:
    pc = Pc()
    pc.button("right", True)
    pc.aux(0xF4)
    pc.move(1, 0)
    assert pc.read() == "M0a M01 M00"


@pytest.mark.parametrize(("name", "bit"), [("left", 1), ("right", 2), ("middle", 4)])
def test_a_button_is_reported_once_down_and_once_up(pc: Pc, name: str, bit: int) -> None:
    pc.button(name, True)
    pc.button(name, True)
    assert pc.read() == f"M{8 | bit:02x} M00 M00"
    pc.button(name, False)
    assert pc.read() == "M08 M00 M00"


@pytest.mark.parametrize(
    ("knock", "identity", "packets"),
    [
        ((), 0, {"wheel-up": "", "side": "", "wheel-left": ""}),
        (
            WHEEL_KNOCK,
            3,
            {"wheel-up": "M08 M00 M00 Mff", "wheel-down": "M08 M00 M00 M01", "side": ""},
        ),
        (
            EXPLORER_KNOCK,
            4,
            {
                "wheel-up": "M08 M00 M00 M0f",
                "wheel-down": "M08 M00 M00 M01",
                "side": "M08 M00 M00 M10",
                "extra": "M08 M00 M00 M20",
                "wheel-left": "M08 M00 M00 M41",
                "wheel-right": "M08 M00 M00 M7f",
            },
        ),
    ],
)
def test_wheels_and_side_buttons_exist_for_drivers_that_knock(
    pc: Pc, knock: tuple[int, ...], identity: int, packets: dict[str, str]
) -> None:
    pc.aux(*knock)
    assert pc.aux(0xF2) == f"Mfa M{identity:02x}"
    for name, packet in packets.items():
        pc.button(name, True)
        assert pc.read() == packet, name
        pc.button(name, False)
        released = "M08 M00 M00 M00" if name in ("side", "extra") and packet else ""
        assert pc.read() == released, name


def test_a_reset_takes_the_wheel_away(pc: Pc) -> None:
    pc.aux(*WHEEL_KNOCK)
    pc.aux(0xFF)
    assert pc.aux(0xF2) == "Mfa M00"


@pytest.mark.parametrize("knock", [(), WHEEL_KNOCK, EXPLORER_KNOCK])
@given(moves=st.lists(st.tuples(st.integers(-200, 200), st.integers(-200, 200)), max_size=40))
def test_no_motion_is_lost_while_the_guest_does_not_read(
    knock: tuple[int, ...], moves: list[tuple[int, int]]
) -> None:
    pc = Pc()
    pc.aux(*knock)
    pc.aux(0xF4)
    for dx, dy in moves:
        pc.move(dx, dy)
    expected = (sum(dx for dx, _ in moves), -sum(dy for _, dy in moves))
    if max(map(abs, expected), default=0) <= MAX_MOTION:
        assert moved(pc.drain(), 4 if knock else 3) == expected


def test_motion_beyond_the_counters_sets_the_overflow_bit_of_the_next_packet(pc: Pc) -> None:
    pc.move(MAX_MOTION + 1000, -(MAX_MOTION + 1000))
    data = pc.drain()
    assert data[0] == (True, 0xC8)
    assert all(not data[at][1] & 0xC0 for at in range(3, len(data), 3))
    assert moved(data) == (MAX_MOTION, MAX_MOTION)


def test_remote_mode_reports_on_demand(pc: Pc) -> None:
    pc.aux(0xF0)
    pc.move(5, 6)
    assert pc.read() == ""
    assert pc.aux(0xEB) == "Mfa M28 M05 Mfa"
    assert pc.aux(0xEB) == "Mfa M08 M00 M00"
    pc.aux(0xEA)
    pc.move(1, 0)
    assert pc.read() == "M08 M01 M00"


@pytest.mark.parametrize(("counts", "scaled"), [(1, 1), (2, 1), (3, 3), (4, 6), (5, 9), (50, 100)])
def test_scaling_2_to_1_slows_small_motion_and_doubles_the_rest(
    pc: Pc, counts: int, scaled: int
) -> None:
    pc.aux(0xE7)
    pc.move(counts, counts)
    assert moved(pc.drain()) == (scaled, -scaled)
    pc.aux(0xE6)
    pc.move(counts, counts)
    assert moved(pc.drain()) == (counts, -counts)


@pytest.mark.parametrize("command", [(0xF5,), (0xF6,), (0xFF,), WHEEL_KNOCK])
def test_what_waits_for_another_mode_is_dropped(pc: Pc, command: tuple[int, ...]) -> None:
    pc.move(500, 500)
    pc.aux(*command)
    pc.aux(0xF4)
    assert pc.read() == ""


def test_wrap_mode_reports_nothing(pc: Pc) -> None:
    pc.aux(0xEE)
    pc.move(1, 1)
    assert pc.read() == ""
    assert pc.aux(0x42) == "M42"
