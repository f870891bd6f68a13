# SPDX-License-Identifier: GPL-2.0-or-later
"""A small object model: typed properties, links, and a tree of paths.

The same declarations serve the command line, configuration files and a monitor: an object class
names its properties once, with type, default and help, and they are read and written by their
dashed names (``poll-max-ns``). Paths follow QEMU: ``/objects/io0``, ``/machine/peripheral/disk0``.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from vmm.errors import VmmError

MAX_HOST_CPUS = 1024  # glibc's cpu_set_t
T = TypeVar("T")


class PropertyError(VmmError):
    """Unknown property, wrong type, or one that cannot change any more."""


def parse_bool(value: object) -> bool:
    """Accept on/off, yes/no, true/false and booleans."""
    if isinstance(value, bool):
        return value
    words = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    text = str(value).lower()
    if text not in words:
        raise ValueError("expects on or off")
    return words[text]


def host_cpu(value: object) -> int:
    """A CPU number of the host, or -1 for any. Whether it exists shows when a thread starts."""
    text = str(value)
    if not re.fullmatch(r"-1|[0-9]{1,9}", text) or int(text) >= MAX_HOST_CPUS:
        raise ValueError(f"'{text}' is not a CPU number below {MAX_HOST_CPUS}, or -1")
    return int(text)


class Property(Generic[T]):
    """A typed property of a QomObject, used as a descriptor.

    Args:
        convert: turns user input into the value; raises ValueError with a short reason.
        default: value before anybody sets it.
        doc: one line of help.
        live: may be set after the object is realized (its ``property_changed`` hook is called).
    """

    def __init__(
        self, convert: Callable[[Any], T], default: T, doc: str, *, live: bool = False
    ) -> None:
        self.convert = convert
        self.default = default
        self.doc = doc
        self.live = live
        self.name = ""

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.name = attribute.replace("_", "-")

    @overload
    def __get__(self, obj: None, owner: type) -> Self: ...
    @overload
    def __get__(self, obj: "QomObject", owner: type) -> T: ...
    def __get__(self, obj: "QomObject | None", owner: type) -> "Self | T":
        if obj is None:
            return self
        value: T = obj._values.get(self.name, self.default)
        return value

    def __set__(self, obj: "QomObject", value: Any) -> None:
        if obj.realized and not self.live:
            raise PropertyError(f"property '{self.name}' of {obj.TYPE} cannot change once realized")
        try:
            converted = self.convert(value)
        except (ValueError, TypeError) as error:
            raise PropertyError(f"property '{self.name}' of {obj.TYPE}: {error}") from None
        before = self.__get__(obj, type(obj))
        obj._values[self.name] = converted
        if obj.realized:
            try:
                obj.property_changed(self.name)
            except BaseException:
                obj._values[self.name] = before  # it could not be applied
                raise


class Link(Property["QomObject | None"]):
    """A property that names another object, of a given QOM type."""

    def __init__(self, target_type: str, doc: str, *, live: bool = False) -> None:
        super().__init__(self._check_target, None, doc, live=live)
        self.target_type = target_type

    def _check_target(self, value: Any) -> "QomObject | None":
        if value is None:
            return None
        if not isinstance(value, QomObject) or self.target_type != value.TYPE:
            raise ValueError(f"expects an object of type {self.target_type}")
        return value


class QomObject:
    """Base of everything in the tree. Subclasses set TYPE and declare properties."""

    TYPE: ClassVar[str] = "object"

    def __init__(self, object_id: str) -> None:
        self.id = object_id
        self.realized = False
        self.path = ""
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

    def get(self, name: str) -> object:
        """Value of a property as a monitor shows it: a link is the target's path ('' if unset).

        Raises:
            PropertyError: no such property.
        """
        prop = self._property(name)
        value = prop.__get__(self, type(self))
        if isinstance(prop, Link):
            return value.path if isinstance(value, QomObject) else ""
        return value

    def set(self, name: str, value: object) -> None:
        """Set a property by its dashed name.

        Raises:
            PropertyError: no such property, bad value, or fixed once realized.
        """
        self._property(name).__set__(self, value)

    def property_changed(self, name: str) -> None:
        """Apply a live property; called after it was set on a realized object."""

    def _property(self, name: str) -> Property[Any]:
        prop = self.properties().get(name)
        if prop is None:
            known = ", ".join(sorted(self.properties())) or "none"
            raise PropertyError(f"{self.TYPE} has no property '{name}' (it has: {known})")
        return prop


@dataclass(frozen=True)
class PropertyInfo:
    """One row of :meth:`QomTree.list`: name and type (``child<iothread>`` for children)."""

    name: str
    type: str


class QomTree:
    """Objects by absolute path."""

    def __init__(self) -> None:
        self._objects: dict[str, QomObject] = {}

    def add(self, path: str, obj: QomObject) -> None:
        """Put an object at ``path``.

        Raises:
            VmmError: the path is taken.
        """
        if path in self._objects:
            raise VmmError(f"duplicate ID '{path.rsplit('/', 1)[-1]}' at {path}")
        obj.path = path
        self._objects[path] = obj

    def remove(self, path: str) -> None:
        """Take an object out of the tree."""
        self._objects.pop(path).path = ""

    def resolve(self, path: str) -> QomObject:
        """The object at an absolute path.

        Raises:
            VmmError: nothing is there.
        """
        obj = self._objects.get(path)
        if obj is None:
            raise VmmError(f"no object at '{path}'")
        return obj

    def find(self, object_id: str, object_type: str) -> QomObject:
        """The object of this id and type, wherever it lives.

        Raises:
            VmmError: there is none; the message lists the ids of that type.
        """
        same_type = [obj for obj in self if object_type == obj.TYPE]
        for obj in same_type:
            if obj.id == object_id:
                return obj
        known = ", ".join(obj.id for obj in same_type) or "none is defined"
        raise VmmError(f"no {object_type} object with id '{object_id}' (known: {known})")

    def list(self, path: str) -> list[PropertyInfo]:
        """Children and properties at a path, as qom-list gives them."""
        here = self._objects.get(path)
        prefix = path.rstrip("/") + "/"
        children: dict[str, str] = {}
        for other, obj in self._objects.items():
            if other.startswith(prefix):
                name, _, rest = other[len(prefix) :].partition("/")
                if rest:
                    children.setdefault(name, "container")
                else:  # an object that has children of its own is what it is
                    children[name] = obj.TYPE
        rows = [PropertyInfo(name, f"child<{kind}>") for name, kind in sorted(children.items())]
        if here is not None:
            for name, prop in here.properties().items():
                kind = f"link<{prop.target_type}>" if isinstance(prop, Link) else _type_name(prop)
                rows.append(PropertyInfo(name, kind))
        elif not rows and path != "/":
            raise VmmError(f"no object at '{path}'")
        return rows

    def __iter__(self) -> Iterator[QomObject]:
        return iter(list(self._objects.values()))


def _type_name(prop: Property[Any]) -> str:
    """QAPI's name of a property's type, from its default."""
    if isinstance(prop.default, bool):
        return "bool"
    if isinstance(prop.default, int):
        return "int"
    return "string"
