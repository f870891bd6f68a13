# SPDX-License-Identifier: GPL-2.0-or-later
"""Screen, keys, pointer and VNC (qapi/ui.json)."""

from pathlib import Path
from typing import Any

from vmm.display.options import IMAGE_FORMATS
from vmm.errors import DeviceNotFoundError
from vmm.input.events import send_events, send_keys
from vmm.input.qcodes import NUMBERS, UNMAPPED
from vmm.input.router import BUTTONS
from vmm.monitor.errors import MonitorError
from vmm.monitor.qapi import (
    BOOL,
    INT,
    STR,
    Array,
    Command,
    Enum,
    Member,
    Struct,
    optional,
)
from vmm.monitor.registry import Call

_KEY_VALUE = Struct(
    "KeyValue",
    (Member("type", Enum("KeyValueKind", ("number", "qcode"))),),
    tag="type",
    variants={
        "number": Struct("IntWrapper", (Member("data", INT, "QEMU's number of the key"),)),
        "qcode": Struct(
            "QKeyCodeWrapper", (Member("data", Enum("QKeyCode", (UNMAPPED, *NUMBERS)), "its name"),)
        ),
    },
)
_MOVE = Struct(
    "InputMoveEvent",
    (Member("axis", Enum("InputAxis", ("x", "y"))), Member("value", INT, "0..0x7fff if absolute")),
)
_KEY = Struct("InputKeyEvent", (Member("key", _KEY_VALUE), Member("down", BOOL)))
_BUTTON = Struct(
    "InputBtnEvent", (Member("button", Enum("InputButton", BUTTONS)), Member("down", BOOL))
)
_EVENT = Struct(
    "InputEvent",
    (Member("type", Enum("InputEventKind", ("key", "btn", "rel", "abs"))),),
    tag="type",
    variants={
        "key": Struct("InputKeyEventWrapper", (Member("data", _KEY),)),
        "btn": Struct("InputBtnEventWrapper", (Member("data", _BUTTON),)),
        "rel": Struct("InputRelEventWrapper", (Member("data", _MOVE),)),
        "abs": Struct("InputAbsEventWrapper", (Member("data", _MOVE),)),
    },
)
_DEVICE = (
    optional("device", STR, "id or QOM path of the screen's device", "the only one"),
    optional("head", INT, "0", "0"),
)


async def screendump(
    call: Call,
    filename: str,
    device: str | None = None,
    head: int | None = None,
    format: str = "ppm",
) -> None:
    """Write the screen to a file."""
    _check_screen(call, device, head)
    if call.machine.config.framebuffer is None:
        raise MonitorError("There is no console to take a screendump from")
    await call.machine.screendump(Path(filename), format)


def _check_screen(call: Call, device: str | None, head: int | None) -> None:
    if head is not None and device is None:
        raise MonitorError("'head' must be specified together with 'device'")
    if device is None:
        return
    screen = call.machine.config.framebuffer is not None
    if not screen or device.rpartition("/")[2] != "framebuffer":
        raise DeviceNotFoundError(device)
    if head:
        raise MonitorError(f"device '{device}' (head {head}) is not bound to a QemuConsole")


def send_key(call: Call, keys: list[dict[str, Any]], hold_time: int | None = None) -> None:
    """Press and release keys."""
    _refuse(lambda: send_keys(call.machine.input, keys, hold_time))


def _send_events(
    call: Call, events: list[dict[str, Any]], device: str | None = None, head: int | None = None
) -> None:
    _check_screen(call, device, head)
    _refuse(lambda: send_events(call.machine.input, events))


def _refuse(send: Any) -> None:
    """Input's errors, in QEMU's words, as a monitor's."""
    try:
        send()
    except ValueError as error:
        raise MonitorError(str(error)) from None


COMMANDS = (
    Command(
        "screendump",
        screendump,
        "Write what the screen shows to a file; the lock is free while it is encoded and written.",
        (
            Member("filename", STR),
            *_DEVICE,
            optional("format", Enum("ImageFormat", tuple(reversed(IMAGE_FORMATS))), "", "ppm"),
        ),
    ),
    Command(
        "send-key",
        send_key,
        "Press keys in order, and release them in reverse. Returns before that is done.",
        (
            Member("keys", Array(_KEY_VALUE)),
            optional("hold-time", INT, "ms between two steps", "100"),
        ),
    ),
    Command(
        "input-send-event",
        _send_events,
        "Keys, buttons and motion; absolute positions become motion.",
        (*_DEVICE, Member("events", Array(_EVENT))),
    ),
)
