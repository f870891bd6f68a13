# SPDX-License-Identifier: GPL-2.0-or-later
"""What could be typed next: command names, argument names, words that an argument takes.

All of it comes from the monitor's own schema, so that it is right for ours and for any QEMU.
"""

from collections.abc import Mapping, Sequence
from typing import Any


class QmpCompleter:
    """Completes qmp-shell lines from the answer to query-qmp-schema."""

    def __init__(self, schema: Sequence[Mapping[str, Any]]) -> None:
        self._by_name = {str(each.get("name")): each for each in schema}
        self._commands = sorted(
            name for name, each in self._by_name.items() if each.get("meta-type") == "command"
        )

    def complete(self, line: str, word: str) -> list[str]:
        """Candidates for `word`, the last one of `line`."""
        before = line[: len(line) - len(word)].split()
        if not before:
            return [f"{name} " for name in self._commands if name.startswith(word)]
        members = self._members(before[0])
        key, equals, value = word.partition("=")
        if equals:
            words = self._words(members.get(key))
            return [f"{key}={each} " for each in words if each.startswith(value)]
        given = {each.partition("=")[0] for each in before[1:]}
        return [f"{name}=" for name in sorted(members.keys() - given) if name.startswith(word)]

    def _members(self, command: str) -> dict[str, str]:
        """Argument names and their types, those of all variants, too."""
        arguments = self._by_name.get(command, {}).get("arg-type")
        found = self._by_name.get(str(arguments), {})
        members = {each["name"]: each["type"] for each in found.get("members", ())}
        for variant in found.get("variants", ()):
            inner = self._by_name.get(variant["type"], {}).get("members", ())
            members |= {each["name"]: each["type"] for each in inner}
        return members

    def _words(self, type_name: str | None) -> list[str]:
        kind = self._by_name.get(str(type_name), {})
        if kind.get("meta-type") == "builtin" and kind.get("json-type") == "boolean":
            return ["true", "false"]
        if kind.get("meta-type") != "enum":
            return []
        members = kind.get("members")
        if members is not None:
            return [str(each["name"]) for each in members]
        return [str(each) for each in kind.get("values", ())]


class HmpCompleter:
    """Completes names of the human monitor's commands, from its help."""

    def __init__(self, commands: str, info: str) -> None:
        self._commands = _names(commands, 0)
        self._info = _names(info, 1)

    def complete(self, line: str, word: str) -> list[str]:
        """Candidates for `word`, the last one of `line`."""
        before = line[: len(line) - len(word)].split()
        if not before or before == ["help"]:
            return [f"{name} " for name in self._commands if name.startswith(word)]
        if before in (["info"], ["help", "info"]):
            return [f"{name} " for name in self._info if name.startswith(word)]
        return []


def _names(text: str, column: int) -> list[str]:
    """Names, without their short forms, from lines such as `stop|s  -- stop emulation`."""
    found = set()
    for line in text.splitlines():
        words = line.split()
        if len(words) > column and " -- " in line and not line[0].isspace():
            found |= {name for name in words[column].split("|") if len(name) > 1}
    return sorted(found)
