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
    """Classes by type name; the bases of each are known with it.

    Args:
        classes: the types; their bases come with them.
        declared: types whose classes are not loaded, because that takes long.
    """

    def __init__(
        self, classes: Iterable[type[QomObject]], declared: Iterable[TypeInfo] = ()
    ) -> None:
        self._classes: dict[str, type[QomObject]] = {}
        for leaf in classes:
            for base in reversed(leaf.__mro__):
                if issubclass(base, QomObject) and "TYPE" in vars(base):
                    self._classes.setdefault(base.TYPE, base)
        self._infos = {name: _info(cls) for name, cls in self._classes.items()}
        self._infos |= {info.name: info for info in declared}

    def list(self, implements: str = "object", *, abstract: bool = False) -> list[TypeInfo]:
        """Types derived from one, itself included, by name; as qom-list-types."""
        return sorted(
            (
                info
                for info in self._infos.values()
                if (abstract or not info.abstract) and self.implements(info.name, implements)
            ),
            key=lambda info: info.name,
        )

    def implements(self, name: str, base: str) -> bool:
        """Whether a type is another or derived from it; types that are not known are neither."""
        while name != base and name in self._infos:
            name = self._infos[name].parent
        return name == base and name in self._infos

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


def _info(cls: type[QomObject]) -> TypeInfo:
    """What a class says of itself."""
    bases = [base for base in cls.__mro__[1:] if issubclass(base, QomObject)]
    parents = [base.TYPE for base in bases if "TYPE" in vars(base)]
    return TypeInfo(cls.TYPE, parents[0] if parents else "", bool(vars(cls).get("ABSTRACT")))
