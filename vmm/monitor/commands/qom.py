# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree of objects (qapi/qom.json)."""

from typing import Any

from vmm.iothread import IoThread
from vmm.monitor.errors import MonitorError
from vmm.monitor.qapi import (
    ANY,
    BOOL,
    INT,
    STR,
    Array,
    Command,
    Member,
    Struct,
    Type,
    check,
    optional,
)
from vmm.monitor.registry import Call
from vmm.qom.object import QomObject
from vmm.qom.properties import Property
from vmm.qom.types import INT64_MAX

_PROPERTY = Struct(
    "ObjectPropertyInfo",
    (
        Member("name", STR),
        Member("type", STR, "`string`, `int`, `bool`, `child<TYPE>` or `link<TYPE>`"),
        optional("description", STR),
    ),
)
_VALUE = Struct(
    "ObjectPropertyValue",
    (Member("name", STR), Member("type", STR), optional("value", ANY, "absent for children")),
)
_VALUES = Struct("ObjectPropertiesValues", (Member("properties", Array(_VALUE)),))
_TYPE = Struct(
    "ObjectTypeInfo",
    (Member("name", STR), optional("abstract", BOOL, "", "false"), optional("parent", STR)),
)
_PATH = Member("path", STR, "as `/objects/io0`, or the end of a path that only one object has")


def _list(call: Call, path: str) -> list[dict[str, Any]]:
    return [
        {"name": row.name, "type": row.type}
        | ({"description": row.description} if row.description else {})
        for row in call.machine.qom.list(path)
    ]


def _get(call: Call, path: str, property: str) -> Any:
    """A property's value; that of a child or link is the path of what it leads to."""
    tree = call.machine.qom
    obj = tree.resolve(path)
    for row in tree.list(path):
        if row.name == property and row.type.startswith("child<"):
            return f"{obj.path.rstrip('/')}/{property}"
    _declared(obj, property)
    return obj.get(property)


def _set(call: Call, path: str, property: str, value: Any) -> None:
    obj = call.machine.qom.resolve(path)
    declared = _declared(obj, property)
    check(_json_type(declared.type_name), value, property)  # QMP is stricter than a command line
    if isinstance(obj, IoThread) and property.startswith("poll-") and value < 0:
        raise MonitorError(f"{property} value must be in range [0, {INT64_MAX}]")
    call.machine.hotplug.set_property(path, property, value)


def _declared(obj: QomObject, name: str) -> Property[Any]:
    """A property's declaration. Raises MonitorError, in QEMU's words."""
    declared = obj.properties().get(name)
    if declared is None:
        raise MonitorError(f"Property '{obj.TYPE}.{name}' not found")
    return declared


def _json_type(type_name: str) -> Type:
    """What a client must send for a property of this type; ANY: the property looks itself."""
    if type_name == "bool":
        return BOOL
    if type_name == "size" or type_name.startswith(("int", "uint")):
        return INT
    return ANY if type_name.endswith("List") else STR


def _list_get(call: Call, paths: list[str]) -> list[dict[str, Any]]:
    found = []
    for path in paths:
        rows = []
        for info in _list(call, path):
            row = {"name": info["name"], "type": info["type"]}
            if not info["type"].startswith("child<"):
                row["value"] = _get(call, path, info["name"])
            rows.append(row)
        found.append({"properties": rows})
    return found


def _types(call: Call, implements: str = "object", abstract: bool = False) -> list[dict[str, Any]]:
    return [
        {"name": each.name}
        | ({"abstract": True} if each.abstract else {})
        | ({"parent": each.parent} if each.parent else {})
        for each in call.machine.types.list(implements, abstract=abstract)
    ]


COMMANDS = (
    Command("qom-list", _list, "Children and properties of an object.", (_PATH,),
            Array(_PROPERTY)),
    Command("qom-get", _get, "A property's value.",
            (_PATH, Member("property", STR, "its name")), ANY),
    Command("qom-set", _set, "Set a property; a link by the path or id of its target, or \"\".",
            (_PATH, Member("property", STR, "its name"), Member("value", ANY))),
    Command("qom-list-get", _list_get, "All properties of objects, with their values.",
            (Member("paths", Array(STR)),), Array(_VALUES)),
    Command(
        "qom-list-types",
        _types,
        "Types of objects.",
        (
            optional("implements", STR, "only those that are of this type, too", "all"),
            optional("abstract", BOOL, "abstract ones, too", "false"),
        ),
        Array(_TYPE),
    ),
)  # fmt: skip
