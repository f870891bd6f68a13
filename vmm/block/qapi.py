# SPDX-License-Identifier: GPL-2.0-or-later
"""Checked reading of QMP's JSON objects: types, unknown keys, with QAPI's words for what is wrong.

Wording as QEMU's input visitor has it (qapi/error.h, qapi/qmp/qerror.h): clients show it to people.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from vmm.errors import KeyedError
from vmm.qom.types import parse_bool, parse_size

T = TypeVar("T")
_TYPE_NAMES = {str: "string", bool: "boolean", int: "integer", dict: "object", list: "array"}


class Fields:
    """One JSON object whose keys are taken one by one; what is left over is refused.

    Args:
        values: the object.
        prefix: where it lies, for messages ("file." for the options of a child).
        text: booleans and numbers may be text, as on a command line.
    """

    def __init__(self, values: Mapping[str, Any], prefix: str = "", *, text: bool = False) -> None:
        self._left = dict(values)
        self._prefix = prefix
        self._text = text

    def take(self, key: str, kind: type[T], default: T) -> T:
        """Value of ``key``, or ``default``.

        Raises:
            VmmError: it is of another type; a boolean is no integer.
        """
        if key not in self._left:
            return default
        value = self._left.pop(key)
        if self._text and isinstance(value, str):
            value = _of_text(value, kind)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise KeyedError(
                f"Invalid parameter type for '{self._prefix}{key}', expected: {_TYPE_NAMES[kind]}",
                self._prefix + key,
            )
        return value

    def need(self, key: str, kind: type[T]) -> T:
        """Value of a mandatory key.

        Raises:
            VmmError: it is missing, or of another type.
        """
        if key not in self._left:
            raise KeyedError(f"Parameter '{self._prefix}{key}' is missing", self._prefix)
        return self.take(key, kind, kind())

    def natural(self, key: str, default: int, most: int) -> int:
        """A number from 0 to ``most``.

        Raises:
            VmmError: it is not.
        """
        value = self.take(key, int, default)
        if not 0 <= value <= most:
            raise KeyedError(
                f"Parameter '{self._prefix}{key}' expects a number from 0 to {most}",
                self._prefix + key,
            )
        return value

    def choice(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of several words.

        Raises:
            VmmError: another one.
        """
        value = self.take(key, str, default)
        if value not in allowed:
            raise KeyedError(
                f"Parameter '{self._prefix}{key}' does not accept value '{value}'",
                self._prefix + key,
            )
        return value

    def child(self, key: str) -> "Fields":
        """A nested object; an empty one if it is not there."""
        return Fields(self.take(key, dict, {}), f"{self._prefix}{key}.", text=self._text)

    def reference(self, key: str) -> "str | Fields":
        """A mandatory BlockdevRef: the name of a node, or the options of one.

        Raises:
            VmmError: it is missing or neither.
        """
        if isinstance(self._left.get(key), str):
            return self.take(key, str, "")
        return Fields(self.need(key, dict), f"{self._prefix}{key}.", text=self._text)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def finish(self) -> None:
        """Refuse what nobody took.

        Raises:
            VmmError: naming the first of it.
        """
        for key in self._left:
            raise KeyedError(f"Parameter '{self._prefix}{key}' is unexpected", self._prefix + key)


def _of_text(value: str, kind: type) -> object:
    """The boolean or number that a text stands for; the text itself if it stands for none."""
    try:
        converted: object = parse_bool(value) if kind is bool else value
    except ValueError:
        return value
    size = parse_size(value) if kind is int else None
    return converted if size is None else size
