# SPDX-License-Identifier: GPL-2.0-or-later
"""What a monitor sends: QAPI's ``send-key`` and ``input-send-event`` (ui.json) as router calls.

Everything is checked before anything is sent, and the errors are worded as QEMU's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vmm.input.qcodes import number_of_qcode
from vmm.input.router import ABSOLUTE_RANGE, BUTTONS, DEFAULT_HOLD_MS, InputRouter

AXES = ("x", "y")
MAX_EVENTS = 4096
_INT64 = 1 << 63
_MAX_MOTION = 1 << 20  # pixels of one event; more is no motion that anybody made
_TYPE_NAMES: dict[type, str] = {dict: "object", bool: "boolean", int: "integer", str: "string"}

Action = Callable[[InputRouter], None]


def send_events(router: InputRouter, events: object) -> None:
    """``input-send-event``: all events, then one sync.

    Args:
        router: where they go.
        events: the command's ``events`` as parsed JSON, a list of QAPI's InputEvent.

    Raises:
        ValueError: not of that form; nothing was sent.
    """
    actions = [
        _event(entry, f"events[{i}]") for i, entry in enumerate(_list(events, "events", MAX_EVENTS))
    ]
    for action in actions:
        action(router)
    router.sync()


def send_keys(router: InputRouter, keys: object, hold_time: object = None) -> None:
    """``send-key``: press all in order, release in reverse; returns before that is done.

    Args:
        router: where they go.
        keys: the command's ``keys`` as parsed JSON, a list of QAPI's KeyValue.
        hold_time: ``hold-time`` in milliseconds, None for the default of 100.

    Raises:
        ValueError: not of that form; nothing was sent.
    """
    limit = MAX_EVENTS
    parsed = [_key_value(key, f"keys[{i}]") for i, key in enumerate(_list(keys, "keys", limit))]
    hold = DEFAULT_HOLD_MS if hold_time is None else _integer(hold_time, "hold-time")
    router.send_key(parsed, hold)


def _event(value: object, path: str) -> Action:
    fields = _fields(value, path, ("type", "data"))
    kind = _typed(fields["type"], str, f"{path}.type")
    parse = {"key": _key, "btn": _button, "rel": _relative, "abs": _absolute}.get(kind)
    if parse is None:
        raise ValueError(f"Parameter 'type' does not accept value '{_shown(kind)}'")
    return parse(fields["data"], f"{path}.data")


def _key(value: object, path: str) -> Action:
    fields = _fields(value, path, ("down", "key"))
    down = _typed(fields["down"], bool, f"{path}.down")
    key = _key_value(fields["key"], f"{path}.key")
    if isinstance(key, str):
        return lambda router: router.key(key, down)
    return lambda router: router.key_number(key, down)


def _key_value(value: object, path: str) -> str | int:
    """QAPI's KeyValue: a QKeyCode name or QEMU's number."""
    fields = _fields(value, path, ("type", "data"))
    kind = _typed(fields["type"], str, f"{path}.type")
    if kind == "number":
        return _integer(fields["data"], f"{path}.data")
    if kind != "qcode":
        raise ValueError(f"Parameter 'type' does not accept value '{_shown(kind)}'")
    name: str = _typed(fields["data"], str, f"{path}.data")
    number_of_qcode(_shown(name))
    return name


def _button(value: object, path: str) -> Action:
    fields = _fields(value, path, ("down", "button"))
    down = _typed(fields["down"], bool, f"{path}.down")
    name = _choice(fields["button"], BUTTONS, f"{path}.button", "button")
    return lambda router: router.button(name, down)


def _move(value: object, path: str) -> tuple[int, int]:
    fields = _fields(value, path, ("axis", "value"))
    axis = AXES.index(_choice(fields["axis"], AXES, f"{path}.axis", "axis"))
    return axis, _integer(fields["value"], f"{path}.value")


def _relative(value: object, path: str) -> Action:
    axis, delta = _move(value, path)
    delta = min(max(delta, -_MAX_MOTION), _MAX_MOTION)
    return lambda router: router.pointer_rel(*((delta, 0) if axis == 0 else (0, delta)))


def _absolute(value: object, path: str) -> Action:
    axis, position = _move(value, path)
    return lambda router: router.pointer_axis(axis, position, ABSOLUTE_RANGE)


# QAPI's types.


def _list(value: object, path: str, limit: int) -> Sequence[object]:
    if not isinstance(value, list):
        raise ValueError(f"Invalid parameter type for '{path}', expected: array")
    if len(value) > limit:
        raise ValueError(f"Parameter '{path}' has more than {limit} entries")
    return value


def _fields(value: object, path: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    """The members of an object that has exactly these."""
    members: Mapping[str, Any] = _typed(value, dict, path)
    for name in names:
        if name not in members:
            raise ValueError(f"Parameter '{path}.{name}' is missing")
    for name in members:
        if name not in names:
            raise ValueError(f"Parameter '{path}.{_shown(name)}' is unexpected")
    return members


def _typed(value: object, kind: type, path: str) -> Any:
    if type(value) is not kind:  # a boolean is no integer here
        raise ValueError(f"Invalid parameter type for '{path}', expected: {_TYPE_NAMES[kind]}")
    return value


def _integer(value: object, path: str) -> int:
    number: int = _typed(value, int, path)
    if not -_INT64 <= number < _INT64:
        raise ValueError(f"Invalid parameter type for '{path}', expected: integer")
    return number


def _choice(value: object, choices: tuple[str, ...], path: str, name: str) -> str:
    text: str = _typed(value, str, path)
    if text not in choices:
        raise ValueError(f"Parameter '{name}' does not accept value '{_shown(text)}'")
    return text


def _shown(text: str) -> str:
    """A name as it may stand in a message of one line."""
    return text if text.isprintable() and len(text) <= 64 else ascii(text[:64])[1:-1]
