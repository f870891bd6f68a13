# SPDX-License-Identifier: GPL-2.0-or-later
"""The answer to query-qmp-schema: what there is, as QEMU's clients read it (qapi/introspect.json).

Names of types are not part of the interface: here as in QEMU they are numbers, so that nobody
relies on them. Builtin types, commands, events and members keep their names.
"""

from collections.abc import Iterable
from typing import Any

from vmm.monitor.qapi import (
    EMPTY,
    Alternate,
    Array,
    Builtin,
    Command,
    Enum,
    Event,
    Member,
    Struct,
    Type,
)


def schema_info(commands: Iterable[Command], events: Iterable[Event]) -> list[dict[str, Any]]:
    """SchemaInfo of every command and event, then of every type that one of them needs."""
    types = _Types()
    rows = [_command(types, each) for each in commands]
    rows += [
        {"name": each.name, "meta-type": "event", "arg-type": types.name(each.data)}
        for each in events
    ]
    return rows + types.rows()


def _command(types: "_Types", command: Command) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": command.name,
        "meta-type": "command",
        "arg-type": types.name(command.arguments),
        "ret-type": types.name(command.returns),
    }
    if command.oob:
        row["allow-oob"] = True
    if command.features:
        row["features"] = list(command.features)
    return row


class _Types:
    """Numbers for types, in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {EMPTY.name: "0"}
        self._met: list[Type] = [EMPTY]
        self._names: set[str] = {"0"}

    def name(self, kind: Type) -> str:
        """The name of a type, which is met by that."""
        if isinstance(kind, Array):
            name = f"[{self.name(kind.element)}]"
        elif isinstance(kind, Builtin):
            name = kind.name
        else:
            name = self._numbers.setdefault(kind.name, str(len(self._numbers)))
        if name not in self._names:
            self._names.add(name)
            self._met.append(kind)
        return name

    def rows(self) -> list[dict[str, Any]]:
        """All types that were met, and those that they need."""
        found = []
        for kind in self._met:  # grows meanwhile
            row = {"name": self.name(kind), "meta-type": _meta_type(kind)}
            found.append(row | self._parts(kind))
        return found

    def _parts(self, kind: Type) -> dict[str, Any]:
        if isinstance(kind, Builtin):
            return {"json-type": kind.json_type}
        if isinstance(kind, Enum):
            members = [{"name": value} for value in kind.values]
            return {"members": members, "values": list(kind.values)}
        if isinstance(kind, Array):
            return {"element-type": self.name(kind.element)}
        if isinstance(kind, Alternate):
            return {"members": [{"type": self.name(each)} for each in kind.types]}
        return self._struct(kind)

    def _struct(self, kind: Struct) -> dict[str, Any]:
        row: dict[str, Any] = {"members": [self._member(each) for each in kind.members]}
        if kind.tag:
            tag = next(each.type for each in kind.members if each.name == kind.tag)
            assert isinstance(tag, Enum)
            row["tag"] = kind.tag
            row["variants"] = [
                {"case": case, "type": self.name(kind.variants.get(case, EMPTY))}
                for case in tag.values
            ]
        return row

    def _member(self, member: Member) -> dict[str, Any]:
        row = {"name": member.name, "type": self.name(member.type)}
        return row | ({"default": None} if member.optional else {})


def _meta_type(kind: Type) -> str:
    names = {Builtin: "builtin", Enum: "enum", Array: "array", Alternate: "alternate"}
    return names.get(type(kind), "object")
