# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree of objects (qapi/qom.json)."""

from typing import Any

from vmm.errors import DeviceNotFoundError, VmmError
from vmm.iothread import IoThread
from vmm.monitor.errors import MonitorError
from vmm.monitor.qapi import ANY, BOOL, INT, STR, Array, Command, Member, Struct, check, optional
from vmm.monitor.registry import Call
from vmm.qom import QomObject

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
_PATH = Member("path", STR, "absolute, as `/objects/io0`")


def _list(call: Call, path: str) -> list[dict[str, Any]]:
    try:
        rows = call.machine.qom.list(path)
    except VmmError:
        raise DeviceNotFoundError(path) from None
    here = _declared(call, path)
    found: list[dict[str, Any]] = [{"name": "type", "type": "string"}]
    for row in rows:
        info = {"name": row.name, "type": row.type}
        if row.name in here and here[row.name].doc:
            info["description"] = here[row.name].doc
        found.append(info)
    return found


def _declared(call: Call, path: str) -> dict[str, Any]:
    try:
        return dict(call.machine.qom.resolve(path).properties())
    except VmmError:
        return {}


def _get(call: Call, path: str, property: str) -> Any:
    """A property's value; that of a child or link is the path of what it leads to."""
    for row in _list(call, path):
        if row["name"] == property and row["type"].startswith("child<"):
            return f"{path.rstrip('/')}/{property}"
    if property == "type":
        return _type_of(call, path)
    obj = _resolve(call, path)
    if property not in obj.properties():
        raise _no_property(obj, property)
    return obj.get(property)


def _set(call: Call, path: str, property: str, value: Any) -> None:
    obj = _resolve(call, path)
    declared = obj.properties().get(property)
    if declared is None:
        raise _no_property(obj, property)
    kind = type(declared.default) if declared.default is not None else str
    expected = {bool: BOOL, int: INT}.get(kind, STR)
    check(expected, value, property)
    if isinstance(obj, IoThread) and property.startswith("poll-") and value < 0:
        raise MonitorError(f"{property} value must be in range [0, {(1 << 63) - 1}]")
    call.machine.hotplug.set_property(path, property, value)


def _type_of(call: Call, path: str) -> str:
    try:
        return call.machine.qom.resolve(path).TYPE
    except VmmError:
        return "container"


def _resolve(call: Call, path: str) -> QomObject:
    try:
        return call.machine.qom.resolve(path)
    except VmmError:
        raise DeviceNotFoundError(path) from None


def _no_property(obj: QomObject, name: str) -> MonitorError:
    return MonitorError(f"Property '{obj.TYPE}.{name}' not found")


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


def _subclasses(base: type[QomObject]) -> list[type[QomObject]]:
    return [base, *(each for sub in base.__subclasses__() for each in _subclasses(sub))]


def _types(
    call: Call, implements: str | None = None, abstract: bool = False
) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for each in _subclasses(QomObject):
        if each is QomObject and not abstract:
            continue
        parents = [str(base.__dict__["TYPE"]) for base in each.__mro__ if "TYPE" in vars(base)]
        if (implements is None or implements in parents) and each.TYPE not in rows:
            rows[each.TYPE] = {"name": each.TYPE}
            if each is QomObject:
                rows[each.TYPE]["abstract"] = True
            if len(parents) > 1:
                rows[each.TYPE]["parent"] = parents[1]
    return list(rows.values())


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
