# SPDX-License-Identifier: GPL-2.0-or-later
"""The router: order, holding keys, positions, buttons, LEDs."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ps2 import Timer
from vmm.input.router import MAX_HOLD_MS, QUEUE_LIMIT, InputRouter, Leds


class Devices:
    """A keyboard and a pointer that note what comes, and a clock that stands still."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.motion_sum = [0, 0]
        self.timers: list[Timer] = []
        self.router = InputRouter(self._call_later)
        self.router.attach(self, self)

    def _call_later(self, seconds: float, callback: object) -> Timer:
        assert callable(callback)
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]

    def key(self, qcode: str, down: bool) -> None:
        self.notes.append(f"{qcode}{'+' if down else '-'}")

    def motion(self, dx: int, dy: int) -> None:
        self.notes.append(f"{dx},{dy}")
        self.motion_sum[0] += dx
        self.motion_sum[1] += dy

    def button(self, name: str, down: bool) -> None:
        self.notes.append(f"{name}{'+' if down else '-'}")

    def sync(self) -> None:
        self.notes.append("sync")

    def take(self) -> str:
        """What was noted since the last time."""
        text = " ".join(self.notes)
        self.notes.clear()
        return text

    def tick(self) -> float:
        """Let the one timer that runs fire; its seconds."""
        (timer,) = self.timers
        self.timers.clear()
        timer.callback()
        return timer.seconds


@pytest.fixture(name="devices")
def _devices() -> Devices:
    return Devices()


@pytest.fixture(name="router")
def _router(devices: Devices) -> InputRouter:
    return devices.router


def test_keys_go_to_the_keyboard_at_once(devices: Devices, router: InputRouter) -> None:
    router.key("a", True)
    router.key_number(0x1E, False)
    router.key_number(0xC8, True)
    router.key_number(0x37, True)
    assert devices.take() == "a+ a- up+ kp_multiply+"


@pytest.mark.parametrize("number", [0, -1, 0x7F, 0x80, 0xFF, 256, 1 << 70])
def test_numbers_of_no_key_are_ignored(devices: Devices, router: InputRouter, number: int) -> None:
    router.key_number(number, True)
    router.key("unmapped", True)
    assert devices.take() == ""


def test_a_name_of_no_key_is_refused(devices: Devices, router: InputRouter) -> None:
    with pytest.raises(ValueError, match=r"^Parameter 'data' does not accept value 'enter'$"):
        router.key("enter", True)
    with pytest.raises(ValueError, match="does not accept value 'enter'"):
        router.send_key(["a", "enter"])
    assert devices.take() == ""


def test_send_key_waits_after_each_step(devices: Devices, router: InputRouter) -> None:
    router.send_key(["ctrl", "alt", 0xD3], 30)
    steps = [devices.take()]
    for _ in range(6):
        assert devices.tick() == 0.03
        steps.append(devices.take())
    assert steps == ["ctrl+", "alt+", "delete+", "delete-", "alt-", "ctrl-", ""]
    assert devices.timers == []


def test_keys_that_come_meanwhile_wait_their_turn(devices: Devices, router: InputRouter) -> None:
    router.send_key(["a"], 100)
    router.key("b", True)
    router.send_key(["c"], 1)
    assert devices.take() == "a+"
    assert devices.tick() == 0.1
    assert devices.take() == "a-"
    assert devices.tick() == 0.1
    assert devices.take() == "b+ c+"
    devices.tick()
    devices.tick()
    router.key("d", True)
    assert devices.take() == "c- d+"


@pytest.mark.parametrize("hold", [0, -5])
def test_without_hold_time_all_happens_at_once(
    devices: Devices, router: InputRouter, hold: int
) -> None:
    router.send_key(["shift", "a"], hold)
    assert devices.take() == "shift+ a+ a- shift-"
    assert devices.timers == []


def test_hold_times_have_a_limit(devices: Devices, router: InputRouter) -> None:
    router.send_key(["a"], 1 << 62)
    assert devices.tick() == MAX_HOLD_MS / 1000


def test_what_waits_is_bounded(devices: Devices, router: InputRouter) -> None:
    for _ in range(QUEUE_LIMIT):
        router.send_key(["a", "b"], 10)
    for _ in range(2 * QUEUE_LIMIT):
        router.key("c", True)
    steps = 0
    while devices.timers:
        devices.tick()
        steps += 1
    assert steps <= QUEUE_LIMIT
    assert len(devices.notes) <= QUEUE_LIMIT
    router.key("d", True)
    assert devices.notes[-1] == "d+"


def test_closing_forgets_what_waits(devices: Devices, router: InputRouter) -> None:
    router.send_key(["a"], 10)
    router.close()
    assert [timer.cancelled for timer in devices.timers] == [True]


def test_a_stopped_machine_takes_no_input_but_lets_keys_go(
    devices: Devices, router: InputRouter
) -> None:
    router.key("a", True)
    router.button("left", True)
    router.enabled = False
    devices.take()
    router.key("b", True)
    router.key("b", False)
    router.send_key(["c"])
    router.pointer_rel(5, 5)
    router.pointer_abs(5, 5, 10, 10)
    router.button("right", True)
    assert devices.take() == ""
    router.key("a", False)
    router.button("left", False)
    router.sync()
    assert devices.take() == "a- left- sync"


def test_release_all_lets_go_of_what_is_held(devices: Devices, router: InputRouter) -> None:
    for qcode, down in (("shift", True), ("a", True), ("b", True), ("b", False)):
        router.key(qcode, down)
    router.button("middle", True)
    devices.take()
    router.release_all()
    assert devices.take() == "a- shift- middle- sync"
    router.release_all()
    assert devices.take() == "sync"


def test_the_first_position_moves_nothing(devices: Devices, router: InputRouter) -> None:
    router.pointer_abs(100, 50, 640, 480)
    assert devices.take() == ""
    router.pointer_abs(103, 45, 640, 480)
    assert devices.take() == "3,0 0,-5"
    router.forget_position()
    router.pointer_abs(7, 7, 640, 480)
    assert devices.take() == ""


def test_another_plane_starts_anew(devices: Devices, router: InputRouter) -> None:
    router.pointer_abs(100, 100, 640, 480)
    router.pointer_abs(100, 100, 1024, 768)
    assert devices.take() == ""
    router.pointer_abs(101, 100, 1024, 768)
    assert devices.take() == "1,0"


def test_positions_outside_are_the_edge(devices: Devices, router: InputRouter) -> None:
    router.pointer_abs(0, 0, 100, 100)
    router.pointer_abs(1 << 40, -5, 100, 100)
    assert devices.take() == "99,0"


@pytest.mark.parametrize("plane", [(0, 1), (1, 0), (-1, 5)])
def test_a_plane_without_area_is_refused(router: InputRouter, plane: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="pointer plane"):
        router.pointer_abs(0, 0, *plane)


@given(
    screen=st.tuples(st.integers(1, 16384), st.integers(1, 16384)),
    plane=st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
    path=st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), min_size=2),
)
def test_scaled_motion_never_drifts(
    screen: tuple[int, int], plane: tuple[int, int], path: list[tuple[int, int]]
) -> None:
    devices = Devices()
    devices.router.screen = screen
    for x, y in path:
        devices.router.pointer_abs(x, y, *plane)
    for axis in (0, 1):
        first, last = (min(point[axis], plane[axis] - 1) for point in (path[0], path[-1]))
        exact = Fraction((last - first) * screen[axis], plane[axis])
        assert 0 <= exact - devices.motion_sum[axis] < 1


def test_buttons_and_wheel_clicks_pass(devices: Devices, router: InputRouter) -> None:
    router.button("wheel-up", True)
    router.button("side", False)
    router.sync()
    assert devices.take() == "wheel-up+ side- sync"
    with pytest.raises(ValueError, match=r"^Parameter 'button' does not accept value 'foo'$"):
        router.button("foo", True)


def test_without_devices_input_goes_nowhere() -> None:
    router = InputRouter(lambda _seconds, _callback: None)
    router.key("a", True)
    router.pointer_abs(1, 1, 2, 2)
    router.pointer_rel(1, 1)
    router.button("left", True)
    router.sync()
    router.release_all()


def test_leds_are_told_until_one_leaves(router: InputRouter) -> None:
    first: list[Leds] = []
    second: list[Leds] = []
    leave = router.on_leds(first.append)
    router.on_leds(second.append)
    router.set_leds(Leds(num=True))
    leave()
    leave()
    router.set_leds(Leds(caps=True))
    assert first == [Leds(num=True)]
    assert second == [Leds(num=True), Leds(caps=True)]
    assert router.leds == Leds(caps=True)
