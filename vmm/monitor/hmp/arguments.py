# SPDX-License-Identifier: GPL-2.0-or-later
"""The words behind a command of the human monitor, parsed and refused as QEMU does (monitor/hmp.c).

Errors are texts for people, without the ``Error:`` that a command's own failure gets.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vmm.errors import VmmError

_INT = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)")
_ESCAPES = {"n": "\n", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


class HmpError(VmmError):
    """A line that cannot be carried out; the text may have several lines."""


class Kind(Enum):
    """What an argument is."""

    FLAG = "flag"
    TEXT = "string"
    FILE = "filename"
    INT = "integer"


@dataclass(frozen=True)
class Parameter:
    """One parameter, in the order of the line. A flag is its letter."""

    name: str
    kind: Kind
    optional: bool = False


def flag(letter: str) -> Parameter:
    """``-m``."""
    return Parameter(letter, Kind.FLAG, optional=True)


def parse(name: str, parameters: tuple[Parameter, ...], text: str) -> dict[str, Any]:
    """The arguments by parameter name; flags are booleans, an optional one may be missing.

    Raises:
        HmpError: the text is not what ``name`` takes.
    """
    found: dict[str, Any] = {}
    left = text.strip()
    for parameter in parameters:
        if parameter.kind is Kind.FLAG:
            found[parameter.name], left = _flag(name, parameters, parameter.name, left)
        elif left:
            found[parameter.name], left = _word(name, parameter, left)
        elif not parameter.optional:
            raise HmpError(f"{name}: {parameter.kind.value} expected")
        left = left.lstrip()
    if left:
        raise HmpError(f"{name}: extraneous characters at the end of line")
    return found


def _flag(name: str, known: tuple[Parameter, ...], letter: str, text: str) -> tuple[bool, str]:
    if not text.startswith("-"):
        return False, text
    if text[1:2] == letter:
        return True, text[2:]
    others = [each.name for each in known if each.kind is Kind.FLAG]
    if text[1:2] not in others:
        raise HmpError(f"{name}: unsupported option -{text[1:2]}")
    return False, text


def _word(name: str, parameter: Parameter, text: str) -> tuple[Any, str]:
    if parameter.kind is Kind.INT:
        return _integer(name, text)
    if text.startswith('"'):
        return _quoted(name, parameter, text)
    word = text.split(maxsplit=1)[0]
    return word, text[len(word) :]


def _integer(name: str, text: str) -> tuple[int, str]:
    found = _INT.match(text)
    if not found:
        raise HmpError(f"invalid char '{text[0]}' in expression")
    value = int(found[0][:30], 16 if "x" in found[0].lower() else 10)
    if abs(value) >= 1 << 63:
        raise HmpError("number too large")
    if not -(1 << 31) <= value < 1 << 32:
        raise HmpError(f"'{name}' has failed: integer is for 32-bit values")
    return value, text[found.end() :]


def _quoted(name: str, parameter: Parameter, text: str) -> tuple[str, str]:
    word, at = "", 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
            if text[at] not in _ESCAPES:
                raise HmpError(f"unsupported escape code: '\\{text[at]}'")
            word += _ESCAPES[text[at]]
        else:
            word += text[at]
        at += 1
    if at >= len(text):
        raise HmpError(f"unterminated string\n{name}: {parameter.kind.value} expected")
    return word, text[at + 1 :]
