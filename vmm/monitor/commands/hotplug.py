# SPDX-License-Identifier: GPL-2.0-or-later
"""Objects and devices that come and go (qapi/qom.json, qapi/qdev.json)."""

import re
from typing import Any

from vmm.errors import KeyedError
from vmm.monitor.errors import MonitorError
from vmm.monitor.qapi import INT, STR, Command, Enum, Member, Struct, optional
from vmm.monitor.registry import Call
from vmm.qom.create import device_class

_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")

_IOTHREAD = Struct(
    "IothreadProperties",
    (
        optional("poll-max-ns", INT, "longest busy poll in ns", "32768"),
        optional("poll-grow", INT, "factor by which polling grows, 0: 2", "0"),
        optional("poll-shrink", INT, "divisor by which it shrinks, 0: to none", "0"),
        optional("cpu", INT, "host CPU to run on, -1: any", "-1"),
    ),
)
_OBJECT = Struct(
    "ObjectOptions",
    (Member("qom-type", Enum("ObjectType", ("iothread",))), Member("id", STR)),
    tag="qom-type",
    variants={"iothread": _IOTHREAD},
)
_DEVICE = Struct(
    "q_obj_device_add-arg",
    (
        Member("driver", STR, "`virtio-blk-device`"),
        optional("bus", STR, "accepted if it is empty: a free slot is taken"),
        optional("id", STR, "to name it by", "one is made up"),
    ),
    "Further arguments are the device's properties; `drive`, a block node, is mandatory.",
)


def _object_add(call: Call, qom_type: str, id: str, **properties: Any) -> None:
    _check_id(id)
    named = {name.replace("_", "-"): value for name, value in properties.items()}
    call.machine.hotplug.object_add(qom_type, id, named)


def _object_del(call: Call, id: str) -> None:
    call.machine.hotplug.object_del(id)


def _device_add(call: Call, arguments: dict[str, Any]) -> None:
    left = dict(arguments)
    driver, device_id, bus = left.pop("driver"), left.pop("id", None), left.pop("bus", "")
    if bus:
        raise MonitorError(f"Bus '{bus}' not found")
    if device_id is not None:
        _check_id(device_id)
    try:
        device_class(call.machine.types, driver)
    except KeyedError as error:  # QEMU's words, then a hint for people: programs get the words
        raise MonitorError(str(error).partition(" (")[0]) from None
    call.machine.hotplug.device_add(driver, device_id, left)


def _check_id(id: str) -> None:
    if not _ID.fullmatch(id):
        raise MonitorError("Parameter 'id' expects an identifier")


def _device_del(call: Call, id: str) -> None:
    call.machine.hotplug.device_del(id)


COMMANDS = (
    Command("object-add", _object_add, "Make an object: an iothread starts.", _OBJECT),
    Command("object-del", _object_del, "End an object that nobody uses.", (Member("id", STR),)),
    Command(
        "device_add",
        _device_add,
        "Plug a device; a further argument is a property of it.",
        _DEVICE,
        gen=False,
    ),
    Command(
        "device_del",
        _device_del,
        "Unplug a device. Event DEVICE_DELETED.",
        (Member("id", STR, "its id or absolute QOM path"),),
    ),
)
