# SPDX-License-Identifier: GPL-2.0-or-later
"""Objects and devices that are to be made, checked before anything is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vmm.cmdline.given import Given, OptionError, blamed_on
from vmm.errors import KeyedError, VmmError
from vmm.qom import TypeRegistry
from vmm.qom.create import check_id, check_properties, device_class, object_class


@dataclass(frozen=True)
class ObjectOptions:
    """An object to make: its type, id and other properties, text or JSON values."""

    type: str
    id: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceOptions:
    """A device to make: its driver, id (None: a name is made) and properties."""

    driver: str
    id: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


def _take_text(values: dict[str, Any], *keys: str) -> str:
    """Remove and return the first of the keys that is there; empty if none is."""
    for key in keys:
        if key in values:
            value = values.pop(key)
            if not isinstance(value, str):
                raise KeyedError(f"{key} must be a string", key)
            return value
    return ""


def object_options(given: Given, types: TypeRegistry) -> ObjectOptions:
    """Check one object. Its type stands under ``qom-type`` or ``type``.

    Raises:
        OptionError: no such type or property, a bad id or value.
    """
    with blamed_on(given.place):
        values = dict(given.values)
        kind, object_id = _take_text(values, "qom-type", "type"), _take_text(values, "id")
        cls = object_class(types, kind)
        if not object_id:
            raise VmmError(f"needs an id, as in {kind},id=io0")
        return ObjectOptions(kind, check_id(object_id), check_properties(cls, values))


def device_options(given: Given, types: TypeRegistry) -> DeviceOptions:
    """Check one device by its driver's properties.

    Raises:
        OptionError: no such driver or property, a bad id or value.
    """
    with blamed_on(given.place):
        values = dict(given.values)
        driver, device_id = _take_text(values, "driver"), _take_text(values, "id")
        cls = device_class(types, driver)
        if device_id:
            check_id(device_id)
        return DeviceOptions(driver, device_id or None, check_properties(cls, values))


def check_unique(objects: list[tuple[Given, ObjectOptions]]) -> None:
    """No two objects of one id.

    Raises:
        OptionError: there are.
    """
    seen: set[str] = set()
    for given, options in objects:
        if options.id in seen:
            raise OptionError(f"{given.place('id')}: duplicate ID '{options.id}' for object")
        seen.add(options.id)
