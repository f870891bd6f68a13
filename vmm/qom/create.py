# SPDX-License-Identifier: GPL-2.0-or-later
"""Making an object from (type, id, properties): the one way in for every door.

-object, [[object]] and object-add come here, and so do the properties of -device, [[device]] and
device_add. Values are text or JSON values, see :mod:`vmm.qom.types`.
"""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from vmm.errors import KeyedError, VmmError
from vmm.qom.object import QomObject
from vmm.qom.properties import Link, PropertyError, did_you_mean
from vmm.qom.registry import TypeRegistry
from vmm.qom.tree import QomTree

_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_HELP_COLUMN = 24
_DRIVER_ALIASES = {"virtio-blk": "virtio-blk-device"}  # of the only bus there is, as in QEMU


def check_id(object_id: str) -> str:
    """An id as QEMU's id_wellformed() takes it.

    Raises:
        VmmError: it is none.
    """
    if not _ID.fullmatch(object_id):
        raise KeyedError(
            f"'{object_id}': Parameter 'id' expects an identifier: a letter, then letters, digits, "
            "'-', '.' or '_'",
            "id",
        )
    return object_id


def object_class(types: TypeRegistry, type_name: str) -> type[QomObject]:
    """The class that -object and object-add make for a type name.

    Raises:
        VmmError: no such type, or none that a user can make.
    """
    known = types.objects()
    if type_name not in known:
        hint = did_you_mean(type_name, known)
        raise KeyedError(
            f"Parameter 'qom-type' does not accept value '{type_name}' ({hint})", "type"
        )
    return known[type_name]


def device_class(types: TypeRegistry, driver: str) -> type[QomObject]:
    """The class that -device and device_add make for a driver name.

    Raises:
        VmmError: no such driver; for one of another bus the message says what to use.
    """
    known = types.devices()
    name = _DRIVER_ALIASES.get(driver, driver)
    if name in known:
        return known[name]
    base = re.sub(r"-(pci|ccw)(-.*)?$", "-device", driver)
    if base in known and base != driver:
        raise KeyedError(f"'{driver}': this VMM has virtio-mmio only: use {base}", "driver")
    hint = did_you_mean(driver, known)
    raise KeyedError(f"'{driver}' is not a valid device model name ({hint})", "driver")


def check_properties(cls: type[QomObject], properties: Mapping[str, object]) -> dict[str, Any]:
    """The values of ``properties`` by their QOM names, converted; links stay path or id.

    Nothing is made: it is how a configuration is checked before a machine exists.

    Raises:
        PropertyError: unknown, read only, given twice or of the wrong type.
    """
    values: dict[str, Any] = {}
    for name, value in properties.items():
        prop = cls.property(name)
        if prop.name in values:
            raise PropertyError(f"property '{prop.name}' of {cls.TYPE} is given twice", name)
        if prop.read_only:
            raise PropertyError(f"Property '{cls.TYPE}.{prop.name}' is not writable", name)
        if isinstance(prop, Link):
            values[prop.name] = _link_text(cls, prop, value)
            continue
        try:
            values[prop.name] = prop.convert(value)
        except (ValueError, TypeError) as error:
            raise prop.wrong(cls.TYPE, value, error) from None
    return values


def _link_text(cls: type[QomObject], prop: Link, value: object) -> str:
    if not isinstance(value, str):
        raise prop.wrong(cls.TYPE, value, ValueError("must be a path or an id"))
    return value


def set_properties(obj: QomObject, properties: Mapping[str, object]) -> None:
    """Set several properties of an object that is in a tree.

    Raises:
        PropertyError: the first that cannot be set; those before it are.
    """
    for name, value in properties.items():
        obj.set(name, value)


def create_object(
    types: TypeRegistry,
    tree: QomTree,
    type_name: str,
    object_id: str,
    properties: Mapping[str, object],
) -> QomObject:
    """A new object at ``/objects/ID`` with its properties set; the caller realizes it.

    Raises:
        VmmError: unknown type, bad or taken id, or a bad property; nothing is left in the tree.
    """
    obj = object_class(types, type_name)(check_id(object_id))
    path = f"/objects/{object_id}"
    try:
        tree.add(path, obj)
    except VmmError:
        raise VmmError(
            f"attempt to add duplicate property '{object_id}' to object (type 'container')"
        ) from None
    try:
        set_properties(obj, properties)
    except VmmError:
        tree.remove(path)
        raise
    return obj


def property_help(cls: type[QomObject]) -> list[str]:
    """Lines as ``-device DRIVER,help`` prints them: what can be set, by name; 80 columns."""
    lines = [f"{cls.TYPE} options:"]
    for name, prop in sorted(cls.properties().items()):
        if prop.read_only:
            continue
        head = f"  {name}=<{prop.type_name}>".ljust(_HELP_COLUMN)
        text = f"{head} - {prop.doc}{_default_text(prop.default)}"
        indent = " " * (_HELP_COLUMN + 3)
        lines += textwrap.wrap(text, 80, subsequent_indent=indent, break_on_hyphens=False)
    return lines


def _default_text(default: object) -> str:
    if default is None or default in ("", ()):
        return ""
    shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else default
    return f" (default: {shown})"
