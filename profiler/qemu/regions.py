# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of devices beside a recording: `FILE.regions.json`.

The recorder inside QEMU knows the port or the address of an exit, not the device that answers
there. Whoever has QEMU's monitor writes the memory map into this file; the reader turns
`mmio 0xfeb00e50` into `virtio-mmio[23] 0xfeb00e50` by it.

    {"schema": 1, "pid": 4711, "process_start_time": 815,
     "spaces": {"memory": [{"start": 4273995776, "end": 4273996287, "name": "virtio-mmio[0]"}],
                "io": [...]}}

Rules
 1. Names are a help, never a condition: a file that is missing, damaged, too large, of another
    process or of another user is as good as none.
 2. It is replaced as a whole, so that a reader sees the old one or the new one.
"""

import json
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler import decode
from profiler.errors import UserError
from profiler.qemu.mtree import MapError, MemoryMap, Range, Space

SCHEMA = 1
LARGEST = 4 << 20
"""Bytes of a file that is read at most; a thousand devices need about 300 KiB."""

LONGEST_NAME = 80
"""Characters of a name that are kept."""

_WINDOW_COPIES = (".begin", ".end")
_ACCESS = re.compile(r"(pio|mmio) (0x([0-9a-f]{1,16})(?:\+0x([0-9a-f]{1,16}))?)", re.ASCII)
_SPACES = {"pio": Space.IO, "mmio": Space.MEMORY}


def regions_path(recording: Path) -> Path:
    """Where the names for a recording lie. Both copies of a window share those of their recording.

    `vm.bql`, `vm.bql.begin` and `vm.bql.end` give `vm.bql.regions.json`.
    """
    name = recording.name
    for suffix in _WINDOW_COPIES:
        if name.endswith(suffix) and name != suffix:
            name = name.removesuffix(suffix)
            break
    return recording.with_name(f"{name}.regions.json")


@dataclass(frozen=True)
class Access:
    """The addresses of an exit: one, or a page of them (`end` inclusive); `text` as recorded."""

    space: Space
    start: int
    end: int
    text: str

    @classmethod
    def parse(cls, region: str) -> "Access | None":
        """The addresses in a recorded region; None if it has none, as `exit hlt` or `mmio`."""
        match = _ACCESS.fullmatch(region)
        if match is None:
            return None
        start, size = int(match[3], 16), int(match[4] or "1", 16)
        return cls(_SPACES[match[1]], start, start + max(size, 1) - 1, match[2])


def device_of(region: str, names: MemoryMap) -> str:
    """The name for people of a recorded region, `serial 0x3f8`; empty if the map does not know.

    A page of addresses has a name only if all its devices have the same one.
    """
    access = Access.parse(region)
    if access is None:
        return ""
    found = names.names(access.space, access.start, access.end)
    return f"{found[0]} {access.text}" if len(found) == 1 else ""


def uncovered(regions: Iterable[str], names: MemoryMap) -> frozenset[str]:
    """Those of the recorded regions with an address at which the map has no device."""
    accesses = ((region, Access.parse(region)) for region in regions)
    return frozenset(
        region
        for region, access in accesses
        if access and not names.names(access.space, access.start, access.end)
    )


def write_regions(path: Path, pid: int, process_start_time: int, names: MemoryMap) -> None:
    """Write or replace the file with mode 0600. Raises UserError."""
    document = {
        "schema": SCHEMA,
        "pid": pid,
        "process_start_time": process_start_time,
        "spaces": {
            space.value: [
                {"start": part.start, "end": part.end, "name": part.name}
                for part in names.ranges(space)
            ]
            for space in Space
        },
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(partial, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot write the names of devices to {path}: {reason}") from error


@dataclass(frozen=True)
class _Stamp:
    inode: int
    modified: int
    size: int


class RegionNames:
    """The names for one recording, read again whenever the file is another one."""

    def __init__(self, recording: Path, pid: int, process_start_time: int, owner: int) -> None:
        """`owner` is the user id of the recording's file: names of a third user are ignored."""
        self._path = regions_path(recording)
        self._process = (pid, process_start_time)
        self._owners = (owner, os.getuid())
        self._stamp: _Stamp | None = None
        self._names = MemoryMap()

    def current(self) -> MemoryMap:
        """The map as it lies there now; an empty one if there is none that can be used."""
        try:
            status = self._path.lstat()
            stamp = _Stamp(status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            self._stamp, self._names = None, MemoryMap()
            return self._names
        if stamp != self._stamp:
            self._stamp = stamp
            self._names = self._read() or MemoryMap()
        return self._names

    def _read(self) -> MemoryMap | None:
        try:
            document = json.loads(self._text())
            if document["schema"] != SCHEMA:
                return None
            if (document["pid"], document["process_start_time"]) != self._process:
                return None
            spaces = document["spaces"]
            return MemoryMap(
                memory=_ranges(spaces[Space.MEMORY.value]), io=_ranges(spaces[Space.IO.value])
            )
        except (OSError, ValueError, LookupError, TypeError, RecursionError, MapError):
            return None

    def _text(self) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(self._path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid not in self._owners:
                raise PermissionError
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError
        return data


def _ranges(parts: Any) -> tuple[Range, ...]:
    return tuple(_range(part) for part in parts)


def _range(part: Any) -> Range:
    start, end, name = part["start"], part["end"], part["name"]
    if type(start) is not int or type(end) is not int or not isinstance(name, str):
        raise TypeError
    return Range(start, end, decode.text(name.encode("utf-8", "replace"))[:LONGEST_NAME])
