# SPDX-License-Identifier: GPL-2.0-or-later
"""What monitors send: QAPI's forms, QEMU's words for what is wrong, and nothing half done."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ps2 import RAW, Pc
from vmm.input.events import MAX_EVENTS, send_events, send_keys

WHEEL_KNOCK = (0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF4)


def key(name: Any, down: Any = True) -> dict[str, Any]:
    return {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": name}}}


def number(value: Any, down: Any = True) -> dict[str, Any]:
    return {"type": "key", "data": {"down": down, "key": {"type": "number", "data": value}}}


def button(name: Any, down: Any = True) -> dict[str, Any]:
    return {"type": "btn", "data": {"down": down, "button": name}}


def move(kind: str, axis: Any, value: Any) -> dict[str, Any]:
    return {"type": kind, "data": {"axis": axis, "value": value}}


@pytest.fixture
def pc() -> Pc:
    pc = Pc(RAW)
    pc.aux(*WHEEL_KNOCK)
    return pc


def test_events_of_all_kinds_arrive(pc: Pc) -> None:
    send_events(pc.router, [key("shift"), number(0x1E), key("a", False), key("shift", False)])
    assert pc.read() == "12 1c f0 1c f0 12"
    send_events(pc.router, [move("rel", "x", 3), move("rel", "y", 4), button("left")])
    assert pc.read() == "M29 M03 Mfc M00"
    send_events(
        pc.router, [button("left", False), button("wheel-down"), button("wheel-down", False)]
    )
    assert pc.read() == "M08 M00 M00 M01"


def test_absolute_axes_move_the_pointer_by_pixels_of_the_screen(pc: Pc) -> None:
    pc.router.screen = (1024, 512)
    send_events(pc.router, [move("abs", "x", 0), move("abs", "y", 0)])
    assert pc.read() == ""
    send_events(pc.router, [move("abs", "x", 320), move("abs", "y", 640)])
    assert pc.read() == "M28 M0a Mf6 M00"


def test_no_events_are_fine(pc: Pc) -> None:
    send_events(pc.router, [])
    send_keys(pc.router, [])
    assert pc.read() == ""


def test_send_keys_holds_them_for_100_ms_unless_told(pc: Pc) -> None:
    send_keys(pc.router, [{"type": "qcode", "data": "a"}, {"type": "number", "data": 300}])
    assert [timer.seconds for timer in pc.timers] == [0.1]
    assert pc.read() == "1c"
    pc.timers.pop().callback()
    assert pc.read() == "f0 1c"
    pc.timers.pop().callback()
    send_keys(pc.router, [{"type": "qcode", "data": "b"}], 7)
    assert [timer.seconds for timer in pc.timers] == [0.007]


WRONG_KEYS = [
    ("x", "Invalid parameter type for 'keys', expected: array"),
    ([7], "Invalid parameter type for 'keys[0]', expected: object"),
    ([{"type": "qcode"}], "Parameter 'keys[0].data' is missing"),
    ([{"type": "qcode", "data": "foo"}], "Parameter 'data' does not accept value 'foo'"),
    ([{"type": "bar", "data": "a"}], "Parameter 'type' does not accept value 'bar'"),
    (
        [{"type": "qcode", "data": 5}],
        "Invalid parameter type for 'keys[0].data', expected: string",
    ),
    (
        [{"type": "number", "data": "x"}],
        "Invalid parameter type for 'keys[0].data', expected: integer",
    ),
    ([{"type": "qcode", "data": "a", "x": 1}], "Parameter 'keys[0].x' is unexpected"),
]


@pytest.mark.parametrize(("keys", "message"), WRONG_KEYS)
def test_wrong_keys_are_refused_in_qemus_words(pc: Pc, keys: Any, message: str) -> None:
    good = [{"type": "qcode", "data": "a"}]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        send_keys(pc.router, keys)
    if isinstance(keys, list):
        with pytest.raises(ValueError, match=r"keys|accept"):
            send_keys(pc.router, good + keys)
    assert pc.read() == ""
    assert pc.timers == []


def test_a_wrong_hold_time_is_refused(pc: Pc) -> None:
    for wrong in ("5", True, 1 << 63, 1.5):
        with pytest.raises(ValueError, match="'hold-time', expected: integer"):
            send_keys(pc.router, [{"type": "qcode", "data": "a"}], wrong)
    assert pc.read() == ""


WRONG_EVENTS = [
    (key("foo"), "Parameter 'data' does not accept value 'foo'"),
    (key("a", "x"), "Invalid parameter type for 'events[1].data.down', expected: boolean"),
    (key("a", 1), "Invalid parameter type for 'events[1].data.down', expected: boolean"),
    ({"type": "key", "data": {"down": True}}, "Parameter 'events[1].data.key' is missing"),
    ({"type": "key", "data": 7}, "Invalid parameter type for 'events[1].data', expected: object"),
    (button("foo"), "Parameter 'button' does not accept value 'foo'"),
    (
        {"type": "btn", "data": {"down": True}},
        "Parameter 'events[1].data.button' is missing",
    ),
    (move("rel", "z", 1), "Parameter 'axis' does not accept value 'z'"),
    (
        move("rel", "x", "1"),
        "Invalid parameter type for 'events[1].data.value', expected: integer",
    ),
    (
        move("rel", "x", 1 << 70),
        "Invalid parameter type for 'events[1].data.value', expected: integer",
    ),
    (move("nope", "x", 1), "Parameter 'type' does not accept value 'nope'"),
    ({**move("rel", "x", 1), "more": 1}, "Parameter 'events[1].more' is unexpected"),
    ({"data": {}}, "Parameter 'events[1].type' is missing"),
    ("x", "Invalid parameter type for 'events[1]', expected: object"),
    (key("a\nb"), "Parameter 'data' does not accept value 'a\\nb'"),
]


@pytest.mark.parametrize(("event", "message"), WRONG_EVENTS)
def test_a_wrong_event_is_refused_and_those_before_it_are_not_sent(
    pc: Pc, event: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        send_events(pc.router, [key("a"), event])
    assert pc.read() == ""


def test_too_many_events_are_refused(pc: Pc) -> None:
    with pytest.raises(ValueError, match=f"^Parameter 'events' has more than {MAX_EVENTS}"):
        send_events(pc.router, [key("a")] * (MAX_EVENTS + 1))
    assert pc.read() == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
ANY = JSON | st.sampled_from(["a", "shift", "left", "wheel-up", "x", "y", "qcode", "number", "rel"])
KEY_VALUE = st.fixed_dictionaries({"type": ANY, "data": ANY})
DATA = (
    st.fixed_dictionaries({"down": st.booleans() | ANY, "key": KEY_VALUE | ANY})
    | st.fixed_dictionaries({"down": st.booleans() | ANY, "button": ANY})
    | st.fixed_dictionaries({"axis": ANY, "value": ANY})
)
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from(["key", "btn", "rel", "abs"]) | ANY, "data": DATA | ANY}
)


@given(
    st.lists(EVENT | JSON, max_size=4) | JSON, st.lists(KEY_VALUE | JSON, max_size=4) | JSON, ANY
)
def test_whatever_a_monitor_sends_is_done_or_refused_in_one_line(
    events: Any, keys: Any, hold: Any
) -> None:
    pc = Pc(RAW)
    pc.aux(*WHEEL_KNOCK)
    refusals = []
    for send, arguments in ((send_events, (events,)), (send_keys, (keys, hold))):
        try:
            send(pc.router, *arguments)
        except ValueError as error:
            refusals.append(str(error))
    assert all("\n" not in text and len(text) < 400 for text in refusals)
    pc.drain()
