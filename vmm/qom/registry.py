# SPDX-License-Identifier: GPL-2.0-or-later
"""The types that exist: what qom-list-types tells, and what -object and -device can make."""

from collections.abc import Iterable
from dataclasses import dataclass

from vmm.errors import VmmError
from vmm.qom.object import Device, QomObject
from vmm.qom.properties import did_you_mean


@dataclass(frozen=True)
class TypeInfo:
    """One type. ``parent`` is empty for the root."""

    name: str
    parent: str
    abstract: bool


class TypeRegistry:
    """Classes by type name; the bases of each are known with it."""

    def __init__(self, classes: Iterable[type[QomObject]]) -> None:
        self._classes: dict[str, type[QomObject]] = {}
        for leaf in classes:
            for base in reversed(leaf.__mro__):
                if issubclass(base, QomObject) and "TYPE" in vars(base):
                    self._classes.setdefault(base.TYPE, base)

    def list(self, implements: str = "object", *, abstract: bool = False) -> list[TypeInfo]:
        """Types derived from one, itself included, by name; as qom-list-types."""
        found = [self._info(cls) for cls in self._classes.values() if cls.implements(implements)]
        return sorted(
            (info for info in found if abstract or not info.abstract), key=lambda info: info.name
        )

    def _info(self, cls: type[QomObject]) -> TypeInfo:
        bases = [base.TYPE for base in cls.__mro__[1:] if "TYPE" in vars(base)]  # type: ignore[attr-defined]
        return TypeInfo(cls.TYPE, bases[0] if bases else "", bool(vars(cls).get("ABSTRACT")))

    def get(self, name: str) -> type[QomObject]:
        """The class of a type.

        Raises:
            VmmError: there is none.
        """
        if name not in self._classes:
            hint = did_you_mean(name, self._classes)
            raise VmmError(f"there is no type '{name}' ({hint})")
        return self._classes[name]

    def objects(self) -> dict[str, type[QomObject]]:
        """What -object and object-add can make, by type name."""
        return {
            name: cls
            for name, cls in sorted(self._classes.items())
            if cls.USER_CREATABLE and not issubclass(cls, Device)
        }

    def devices(self) -> dict[str, type[Device]]:
        """What -device and device_add can make, by driver name."""
        return {
            name: cls
            for name, cls in sorted(self._classes.items())
            if issubclass(cls, Device) and cls.USER_CREATABLE
        }
