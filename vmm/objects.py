# SPDX-License-Identifier: GPL-2.0-or-later
"""User-creatable objects (``--object``, object-add): iothreads.

Main thread, under the BQL.
"""

from collections.abc import Mapping
from typing import Any

from vmm._native import lib
from vmm.bql import Bql
from vmm.errors import DeviceNotFoundError
from vmm.iothread import IoThread
from vmm.qom import QomTree, TypeRegistry
from vmm.qom.create import create_object


class UserObjects:
    """The children of /objects."""

    def __init__(self, bql: Bql, qom: QomTree, types: TypeRegistry, recorder: Any) -> None:
        self._bql = bql
        self._qom = qom
        self._types = types
        self._recorder = recorder
        self._iothreads: dict[str, IoThread] = {}

    def add(self, qom_type: str, object_id: str, props: Mapping[str, Any]) -> IoThread:
        """Make an object and start it.

        Raises:
            VmmError: an unknown type or property, a bad value, a bad or taken id.
        """
        iothread = create_object(self._types, self._qom, qom_type, object_id, props)
        assert isinstance(iothread, IoThread)  # there is no other type so far
        try:
            iothread.realize(self._recorder)
        except BaseException:
            self._qom.remove(iothread.path)
            raise
        self._iothreads[object_id] = iothread
        return iothread

    def find(self, object_id: str) -> IoThread | None:
        """The iothread of this id."""
        return self._iothreads.get(object_id)

    def known(self, object_id: str) -> IoThread:
        """The iothread of this id, for an option that names it.

        Raises:
            VmmError: there is none; the message lists the ids there are.
        """
        found = self._qom.find(object_id, IoThread.TYPE)
        assert isinstance(found, IoThread)
        return found

    def linked(self, object_id: str) -> IoThread:
        """The iothread that a device's link names, by id or path.

        Raises:
            DeviceNotFoundError: there is none.
        """
        found = self.find(object_id.removeprefix("/objects/"))
        if found is None:
            raise DeviceNotFoundError(object_id)
        return found

    def iothreads(self) -> list[IoThread]:
        """All iothreads in the order they were made."""
        return list(self._iothreads.values())

    def delete(self, object_id: str) -> None:
        """Stop and join an iothread that nothing is attached to. Holds the BQL, and marks it."""
        iothread = self._iothreads.pop(object_id)
        self._qom.remove(iothread.path)
        with self._bql.blocked(lib.BQLREC_BLOCKED_JOIN):
            iothread.unrealize()

    def close(self) -> None:
        """End all of them."""
        for object_id in reversed(list(self._iothreads)):
            self.delete(object_id)
