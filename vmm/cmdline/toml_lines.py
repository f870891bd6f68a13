# SPDX-License-Identifier: GPL-2.0-or-later
"""On which line of a TOML document a key stands, which tomllib does not tell.

A line belongs to a statement until the lines since its beginning parse as a document of their own:
tomllib itself is the scanner, so strings and arrays over several lines need no second grammar. Used
only when there is something to say about a line.
"""

import tomllib
from collections.abc import Iterator

Key = tuple[str | int, ...]


def _statements(text: str) -> Iterator[tuple[int, dict[str, object], bool]]:
    """First line (from 1), content, and whether it is a table's header, of each statement."""
    begun, lines = 0, text.split("\n")
    for number in range(len(lines)):
        part = "\n".join(lines[begun : number + 1])
        try:
            content = tomllib.loads(part)
        except tomllib.TOMLDecodeError:
            continue
        if content:
            lead = next(i for i in range(begun, number + 1) if _is_code(lines[i]))
            yield lead + 1, content, lines[lead].lstrip().startswith("[")
        begun = number + 1


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _paths(content: object, prefix: Key) -> Iterator[Key]:
    """Every key below ``prefix``, those on the way included."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield (*prefix, name)
            yield from _paths(value, (*prefix, name))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            if isinstance(value, dict):
                yield (*prefix, index)
                yield from _paths(value, (*prefix, index))


class KeyLines:
    """Lines of a document that tomllib accepts.

    Args:
        text: the whole document.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Key, int] = {}
        self._lengths: dict[Key, int] = {}
        table: Key = ()
        for line, content, is_header in _statements(text.replace("\r\n", "\n")):
            if is_header:
                table = self._enter(content, line)
            else:
                for key in _paths(content, table):
                    self._lines.setdefault(key, line)

    def _enter(self, content: dict[str, object], line: int) -> Key:
        """The key of the table that a header opens."""
        here: Key = ()
        node: object = content
        while isinstance(node, dict) and node:
            ((name, node),) = node.items()
            here = (*here, name)
            if isinstance(node, list):  # [[name]]: one more of them
                self._lengths[here] = self._lengths.get(here, 0) + 1
                self._lines.setdefault(here, line)
                here = (*here, self._lengths[here] - 1)
                node = node[0]
            elif here in self._lengths:  # a table of the last of an array
                here = (*here, self._lengths[here] - 1)
        self._lines.setdefault(here, line)
        return here

    def of(self, key: Key) -> int:
        """The line of a key, or of the nearest table around it; 1 if there is none."""
        while key and key not in self._lines:
            key = key[:-1]
        return self._lines.get(key, 1)
