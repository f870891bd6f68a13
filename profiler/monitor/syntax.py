# SPDX-License-Identifier: GPL-2.0-or-later
"""A line that a person types, as a QMP command.

    query-status
    qom-set path=/objects/io0 property=poll-max-ns value=0
    blockdev-add driver=file node-name=n0 filename="disk image.img" cache.direct=true
    send-key keys=[{"type":"qcode","data":"ret"}]
    {"execute": "query-block"}

The rules are qmp-shell's: a value that is a number, `true`, `false`, `null`, or begins like a JSON
list or object is that, everything else is text; dots make objects; quotes keep spaces. In a value
that begins as JSON, spaces need no quotes.
"""

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from profiler.errors import UserError

_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", re.ASCII)
_MOST_DIGITS = 1000  # Python refuses to read more than some thousand
_BRACKETS = {"{": "}", "[": "]"}


class LineError(UserError):
    """A line that cannot be a command."""


@dataclass(frozen=True)
class QmpCommand:
    """A command with its arguments; `oob`: to be run out of band."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    oob: bool = False


def parse_line(line: str) -> QmpCommand:
    """The command that a line stands for. Raises LineError."""
    text = line.strip()
    if text.startswith("{"):
        return _from_json(text)
    words = _words(text)
    if not words:
        raise LineError("an empty line is no command")
    arguments: dict[str, Any] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise LineError(f"'{word}': expected key=value, as in query-blockstats"
                                " query-nodes=true")  # fmt: skip
        _put(arguments, key, _value(value))
    return QmpCommand(words[0], arguments)


def _from_json(text: str) -> QmpCommand:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LineError(f"not JSON: {error}") from error
    oob = "exec-oob" in message
    name = message.get("exec-oob" if oob else "execute")
    arguments = message.get("arguments", {})
    unknown = set(message) - {"execute", "exec-oob", "arguments", "id"}
    if unknown or not isinstance(name, str) or not isinstance(arguments, dict):
        raise LineError('expected {"execute": NAME, "arguments": {...}}')
    return QmpCommand(name, arguments, oob)


def _words(text: str) -> list[str]:
    """Words apart by blanks; those in quotes, and those in JSON's brackets, do not count."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        end = _word_end(text, at)
        word = text[at:end]
        key, equals, value = word.partition("=")
        words.append(word if equals and value[:1] in _BRACKETS else _unquoted(word, key))
        at = end
    return words


def _word_end(text: str, at: int) -> int:
    depth, quote, escaped = 0, "", False
    while at < len(text):
        char = text[at]
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in _BRACKETS:
            depth += 1
        elif char in _BRACKETS.values():
            depth -= 1
        elif char.isspace() and depth <= 0:
            break
        at += 1
    return at


def _unquoted(word: str, key: str) -> str:
    try:
        return "".join(shlex.split(word))
    except ValueError as error:
        raise LineError(f"'{key}': {str(error).lower()}") from error


def _value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text):
        number = float(text)
        if text.lstrip("+-").isdigit() and len(text) <= _MOST_DIGITS:
            return int(text)
        return number if math.isfinite(number) else text
    if text[:1] in _BRACKETS:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LineError(f"'{text}' is not JSON: {error}") from error
    return text


def _put(arguments: dict[str, Any], dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    inside = arguments
    for name in path:
        inside = inside.setdefault(name, {})
        if not isinstance(inside, dict):
            raise LineError(f"'{dotted}': '{name}' has a value of its own already")
    if last in inside:
        raise LineError(f"'{dotted}' is given twice")
    inside[last] = value
