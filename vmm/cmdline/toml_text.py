# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing TOML: the part of it that a machine file needs. Reading is tomllib's."""

import re
from collections.abc import Mapping, Sequence

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def string(value: str) -> str:
    """A basic string on one line.

    Raises:
        ValueError: a lone surrogate, which TOML cannot hold (a file name that is not UTF-8).
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{value!a} is not UTF-8 text, which is all TOML can hold") from None
    return '"' + "".join(_character(char) for char in value) + '"'


def _character(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return f"\\u{ord(char):04x}" if ord(char) < 0x20 or ord(char) == 0x7F else char


def key(name: str) -> str:
    """A key, quoted where it must be."""
    return name if _BARE_KEY.fullmatch(name) else string(name)


def value(given: object) -> str:
    """A boolean, an integer, a string, a list, or a mapping as an inline table.

    Raises:
        ValueError: TOML has no such value.
    """
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int):
        return str(given)
    if isinstance(given, str):
        return string(given)
    if isinstance(given, Mapping):
        return "{ " + ", ".join(f"{key(k)} = {value(v)}" for k, v in given.items()) + " }"
    if isinstance(given, Sequence):
        return "[" + ", ".join(value(each) for each in given) + "]"
    raise ValueError(f"{given!r} has no form in TOML")


def table(header: str, content: Mapping[str, object]) -> str:
    """A table with its header: ``[machine]`` or ``[[drive]]``."""
    lines = [header, *(f"{key(name)} = {value(each)}" for name, each in content.items())]
    return "\n".join(lines) + "\n"
