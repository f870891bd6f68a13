# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands, events and their types, declared once; arguments are checked by the declaration.

The vocabulary is QAPI's (QEMU's docs/devel/qapi-code-gen.rst); the words of the errors are those
of QEMU's input visitor, so that clients which match on them go on working.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vmm.monitor.errors import MonitorError

_INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True)
class Builtin:
    """A JSON value without parts. ``expected``: what a wrong value is told."""

    name: str
    json_type: str
    expected: str


STR = Builtin("str", "string", "string")
INT = Builtin("int", "int", "integer")
NUMBER = Builtin("number", "number", "number")
BOOL = Builtin("bool", "boolean", "boolean")
NULL = Builtin("null", "null", "null")
ANY = Builtin("any", "value", "value")


@dataclass(frozen=True)
class Enum:
    """One of some words."""

    name: str
    values: tuple[str, ...]
    doc: str = ""


@dataclass(frozen=True)
class Array:
    """A list of one type."""

    element: "Type"


@dataclass(frozen=True)
class Member:
    """A member of an object. ``default`` is for people: code sees None or what it declares."""

    name: str
    type: "Type"
    doc: str = ""
    optional: bool = False
    default: str = ""


@dataclass(frozen=True)
class Struct:
    """An object. With a ``tag`` it is a union: the tag's value says which members follow."""

    name: str
    members: tuple[Member, ...] = ()
    doc: str = ""
    tag: str = ""
    variants: Mapping[str, "Struct"] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Alternate:
    """A value of one of some types, told apart by their JSON types."""

    name: str
    types: tuple["Type", ...]
    doc: str = ""


Type = Builtin | Enum | Array | Struct | Alternate
EMPTY = Struct("q_empty")


def optional(name: str, kind: Type, doc: str = "", default: str = "") -> Member:
    """A member that may be left out."""
    return Member(name, kind, doc, optional=True, default=default)


@dataclass(frozen=True)
class Command:
    """A command. ``run`` gets the call, then the arguments under their names with ``_`` for ``-``.

    ``oob``: it may be run out of band, in the monitor's thread, where it must not block, take
    locks or touch the machine. ``gen`` False: the arguments are passed unchecked beyond the
    declared ones, in ``arguments`` (device_add).
    """

    name: str
    run: Callable[..., Any | Awaitable[Any]]
    doc: str
    args: tuple[Member, ...] | Struct = ()
    returns: Type = EMPTY
    oob: bool = False
    gen: bool = True
    features: tuple[str, ...] = ()

    @property
    def arguments(self) -> Struct:
        """The type of the arguments."""
        if isinstance(self.args, Struct):
            return self.args
        return Struct(f"q_obj_{self.name}-arg", self.args) if self.args else EMPTY

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments for ``run``.

        Raises:
            MonitorError: they are not what is declared.
        """
        if not self.gen:
            named = {
                m.name: arguments[m.name] for m in self.arguments.members if m.name in arguments
            }
            check(self.arguments, named, "")
            return {"arguments": dict(arguments)}
        checked: dict[str, Any] = check(self.arguments, arguments, "")
        return {name.replace("-", "_"): value for name, value in checked.items()}


@dataclass(frozen=True)
class Event:
    """An event and its data."""

    name: str
    doc: str
    data: Struct = EMPTY


def check(kind: Type, value: Any, where: str) -> Any:
    """``value`` as a ``kind``; ``where`` names it, as in ``keys[0].data``.

    Raises:
        MonitorError: it is not one, in the words of QEMU's input visitor.
    """
    if isinstance(kind, Builtin):
        if kind is not ANY and not _is(kind, value):
            raise _wrong_type(where, kind.expected)
        return value
    if isinstance(kind, Enum):
        return _check_enum(kind, value, where)
    if isinstance(kind, Array):
        if not isinstance(value, list):
            raise _wrong_type(where, "array")
        return [check(kind.element, each, f"{where}[{i}]") for i, each in enumerate(value)]
    if isinstance(kind, Alternate):
        return _check_alternate(kind, value, where)
    return _check_struct(kind, value, where)


def _is(kind: Builtin, value: Any) -> bool:
    if kind is INT:
        return isinstance(value, int) and not isinstance(value, bool) and value in _INT64
    if kind is NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is BOOL:
        return isinstance(value, bool)
    return value is None if kind is NULL else isinstance(value, str)


def _wrong_type(where: str, expected: str) -> MonitorError:
    return MonitorError(f"Invalid parameter type for '{where}', expected: {expected}")


def _check_enum(kind: Enum, value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(where, "string")
    if value not in kind.values:
        name = "null" if where.endswith("]") else where.rpartition(".")[2]
        raise MonitorError(f"Parameter '{name}' does not accept value '{value}'")
    return value


def _check_alternate(kind: Alternate, value: Any, where: str) -> Any:
    for each in kind.types:
        if _json_type(each, value):
            return check(each, value, where)
    raise _wrong_type(where, kind.name)


def _json_type(kind: Type, value: Any) -> bool:
    """Whether the JSON type of ``value`` selects ``kind`` of an alternate."""
    if isinstance(kind, Builtin):
        return _is(kind, value)
    if isinstance(kind, Enum):
        return isinstance(value, str)
    return isinstance(value, list if isinstance(kind, Array) else dict)


def _check_struct(kind: Struct, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong_type(where, "object")
    left = dict(value)
    found: dict[str, Any] = {}
    prefix = f"{where}." if where else ""
    _take_members(kind.members, left, found, prefix)
    if kind.tag and found.get(kind.tag) in kind.variants:
        _take_members(kind.variants[found[kind.tag]].members, left, found, prefix)
    for name in left:
        raise MonitorError(f"Parameter '{prefix}{name}' is unexpected")
    return found


def _take_members(
    members: tuple[Member, ...], left: dict[str, Any], found: dict[str, Any], prefix: str
) -> None:
    for member in members:
        if member.name in left:
            found[member.name] = check(member.type, left.pop(member.name), prefix + member.name)
        elif not member.optional:
            raise MonitorError(f"Parameter '{prefix}{member.name}' is missing")
