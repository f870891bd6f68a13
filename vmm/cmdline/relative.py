# SPDX-License-Identifier: GPL-2.0-or-later
"""File names in a machine file: relative to that file, not to where the command is started."""

from collections.abc import Mapping
from pathlib import Path

from vmm.keyval import quote


def plain(value: str, base: Path) -> str:
    """A file name; ``-`` stays."""
    return value if value == "-" else str(base / value)


def kernel(value: str, base: Path) -> str:
    """A kernel: ``micro`` is none of a file."""
    return value if value == "micro" else plain(value, base)


def target(value: str, base: Path) -> str:
    """A target such as ``file:PATH`` or ``unix:PATH``; others stay."""
    kind, colon, name = value.partition(":")
    return f"{kind}:{base / name}" if colon and name and kind in ("file", "unix") else value


def monitor(value: str, base: Path) -> str:
    """Where a monitor listens: as a target, commas doubled."""
    return target(value, Path(quote(str(base))))


def vnc(value: str, base: Path) -> str:
    """A VNC display: a socket's path, and the files that its options name."""
    words = []
    for part in value.replace(",,", "\0").split(","):
        word = part.replace("\0", ",")
        key, equals, name = word.partition("=")
        if not equals:
            word = target(word, base)
        elif key == "password-file" or (key == "tls-creds" and name != "anon"):
            word = f"{key}={base / name}"
        elif key == "websocket":
            word = f"{key}={target(name, base)}"
        words.append(word.replace(",", ",,"))
    return ",".join(words)


def drive(table: Mapping[str, object], base: Path) -> dict[str, object]:
    """A table of a drive: its ``file``."""
    return {key: _name(value, base, key == "file") for key, value in table.items()}


def blockdev(table: Mapping[str, object], base: Path) -> dict[str, object]:
    """A table of a block node: ``filename``, also of a nested ``file``; ``file`` names a node."""
    found: dict[str, object] = {}
    for key, value in table.items():
        is_name = key.rpartition(".")[2] == "filename"
        found[key] = (
            blockdev(value, base) if isinstance(value, Mapping) else _name(value, base, is_name)
        )
    return found


def _name(value: object, base: Path, is_name: bool) -> object:
    return str(base / value) if is_name and isinstance(value, str) and value else value
