# SPDX-License-Identifier: GPL-2.0-or-later
"""Base classes of everything in the tree, and what a class says about its type."""

from typing import TYPE_CHECKING, Any, ClassVar

from vmm.qom.properties import Property, PropertyError, ReadOnly, did_you_mean

if TYPE_CHECKING:
    from vmm.qom.tree import QomTree


class QomObject:
    """Base of everything in the tree. Subclasses set TYPE and declare properties.

    A class that sets TYPE is a type of its own, its parent the nearest base that does.
    """

    TYPE: ClassVar[str] = "object"
    ABSTRACT: ClassVar[bool] = True
    """No object is of this very type; holds for the class that says so, not for its subclasses."""
    USER_CREATABLE: ClassVar[bool] = False
    """Made by -object, object-add and [[object]]; the constructor takes an id."""
    ALIASES: ClassVar[dict[str, str]] = {}
    """QEMU's other spellings of property names."""

    type = ReadOnly[str]("string", lambda obj: obj.TYPE, "QOM type")

    def __init__(self, object_id: str) -> None:
        self.id = object_id
        self.realized = False
        self.path = ""
        self.tree: QomTree | None = None
        self._values: dict[str, Any] = {}

    @classmethod
    def properties(cls) -> dict[str, Property[Any]]:
        """All declared properties by dashed name, base classes first."""
        found: dict[str, Property[Any]] = {}
        for base in reversed(cls.__mro__):
            for value in vars(base).values():
                if isinstance(value, Property):
                    found[value.name] = value
        return found

    @classmethod
    def property(cls, name: str) -> Property[Any]:
        """The property of a name or an alias.

        Raises:
            PropertyError: there is none; the message has the nearest or all names.
        """
        known = cls.properties()
        prop = known.get(cls.ALIASES.get(name, name))
        if prop is None:
            hint = did_you_mean(name, known)
            raise PropertyError(f"Property '{cls.TYPE}.{name}' not found ({hint})", name)
        return prop

    @classmethod
    def implements(cls, type_name: str) -> bool:
        """Whether this is of a type or of one derived from it (object_dynamic_cast)."""
        return any(vars(base).get("TYPE") == type_name for base in cls.__mro__)

    def get(self, name: str) -> object:
        """Value of a property as a monitor shows it: a link is the target's path ('' if unset).

        Raises:
            PropertyError: no such property.
        """
        return self.property(name).json(self)

    def set(self, name: str, value: object) -> None:
        """Set a property by its dashed name; text and JSON values are both understood.

        Raises:
            PropertyError: no such property, bad value, or fixed once realized.
        """
        self.property(name).__set__(self, value)

    def property_changed(self, name: str) -> None:
        """Apply a live property; called after it was set on a realized object."""


class Container(QomObject):
    """A place for children, nothing else."""

    TYPE = "container"


class Device(QomObject):
    """What -device, device_add and [[device]] make."""

    TYPE = "device"
    ABSTRACT = True

    realized_property = ReadOnly[bool](
        "bool", lambda device: device.realized, "wired and usable", name="realized"
    )
