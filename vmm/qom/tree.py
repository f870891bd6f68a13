# SPDX-License-Identifier: GPL-2.0-or-later
"""The composition tree: objects by path, found as QEMU's object_resolve_path finds them."""

from collections.abc import Iterator
from dataclasses import dataclass

from vmm.errors import DeviceNotFoundError, VmmError
from vmm.qom.object import Container, QomObject
from vmm.qom.properties import Link

CONTAINERS = ("/machine", "/machine/peripheral", "/machine/unattached", "/objects")
"""They are there however empty, as in QEMU."""


@dataclass(frozen=True)
class PropertyInfo:
    """One row of :meth:`QomTree.list`: name and type (``child<iothread>`` for children)."""

    name: str
    type: str
    description: str = ""


class QomTree:
    """Objects by absolute path."""

    def __init__(self) -> None:
        self._objects: dict[str, QomObject] = {"/": self._rooted("/", Container(""))}
        for path in CONTAINERS:
            self._make_container(path)

    def _rooted(self, path: str, obj: QomObject) -> QomObject:
        obj.path, obj.tree = path, self
        return obj

    def _make_container(self, path: str) -> None:
        """``path`` and what leads to it, where nothing is yet."""
        while path and path not in self._objects:
            parent, _, name = path.rpartition("/")
            self._objects[path] = self._rooted(path, Container(name))
            path = parent

    def add(self, path: str, obj: QomObject) -> None:
        """Put an object at ``path``; what leads there is made. A container gives way.

        Raises:
            VmmError: the path is taken.
        """
        there = self._objects.get(path)
        if there is not None and type(there) is not Container:
            raise VmmError(f"duplicate ID '{path.rsplit('/', 1)[-1]}' at {path}")
        self._make_container(path.rpartition("/")[0])
        self._objects[path] = self._rooted(path, obj)

    def remove(self, path: str) -> None:
        """Take an object out of the tree."""
        obj = self._objects.pop(path)
        obj.path, obj.tree = "", None
        if path in CONTAINERS or self._children(path):
            self._make_container(path)

    def resolve(self, path: str, of_type: str = "object") -> QomObject:
        """The object of a path: absolute, or the end of one if only one object has it.

        Empty components are skipped and links are followed, as object_resolve_path_type does.

        Raises:
            DeviceNotFoundError: nothing of that type is there.
            VmmError: a partial path fits several objects.
        """
        parts = [part for part in path.split("/") if part]
        starts = ["/"] if path.startswith("/") or not parts else list(self._objects)
        ends = [self._walk(start, parts) for start in starts] if path else []
        found = [obj for obj in ends if obj is not None and obj.implements(of_type)]
        if len(found) > 1:
            raise VmmError(f"Path '{path}' is ambiguous")
        if not found:
            raise DeviceNotFoundError(path)
        return found[0]

    def ids(self, of_type: str) -> list[str]:
        """Ids of all objects of a type, in the order they were added."""
        return [obj.id for obj in self if obj.implements(of_type)]

    def _walk(self, start: str, parts: list[str]) -> QomObject | None:
        here = self._objects[start]
        for part in parts:
            child = self._objects.get(f"{here.path.rstrip('/')}/{part}")
            if child is None:
                link = here.properties().get(part)
                child = link.value(here) if isinstance(link, Link) else None
            if child is None or child.tree is not self:
                return None
            here = child
        return here

    def find(self, object_id: str, object_type: str) -> QomObject:
        """The object of this id and type, wherever it lives.

        Raises:
            VmmError: there is none; the message lists the ids of that type.
        """
        for obj in self:
            if obj.id == object_id and obj.implements(object_type):
                return obj
        known = ", ".join(self.ids(object_type)) or "none is defined"
        raise VmmError(f"no {object_type} object with id '{object_id}' (known: {known})")

    def _children(self, path: str) -> list[QomObject]:
        prefix = path.rstrip("/") + "/"
        found = [p for p in self._objects if p.startswith(prefix) and "/" not in p[len(prefix) :]]
        return [self._objects[p] for p in sorted(found) if p != "/"]

    def list(self, path: str) -> list[PropertyInfo]:
        """Children and properties of the object at a path, as qom-list gives them.

        Raises:
            VmmError: as for :meth:`resolve`.
        """
        here = self.resolve(path)
        rows = [
            PropertyInfo(obj.path.rsplit("/", 1)[-1], f"child<{obj.TYPE}>")
            for obj in self._children(here.path)
        ]
        for name, prop in here.properties().items():
            rows.append(PropertyInfo(name, prop.type_name, prop.doc))
        return rows

    def __iter__(self) -> Iterator[QomObject]:
        """All objects that are more than a container."""
        return iter([obj for obj in self._objects.values() if type(obj) is not Container])
