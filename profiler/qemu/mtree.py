# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's memory map: which device answers at an address, out of `info mtree -f`.

The text has one paragraph for each flat view: the address spaces that share it, its root region,
and its ranges in ascending order, without overlap:

    FlatView #1
     AS "memory", root: system
     Root memory region: system
      00000000feb00000-00000000feb001ff (prio 0, i/o): virtio-mmio
      00000000febf0180-00000000febf03ff (prio 1, i/o): vga.mmio @0000000000000180 KVM

Rules
 1. vCPUs of KVM go through the address spaces `memory` and `I/O`; other views are skipped.
 2. A range of the root region itself is a hole: no device answers there.
 3. A region that is cut in pieces (`@` is the offset of a piece) is one region. Regions of one name
    at several places are numbered by address: `virtio-mmio[0]`, `virtio-mmio[1]`, …
 4. The text comes from another process: what does not look like this raises MapError, nothing else.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from profiler.errors import UserError

ADDRESS_END = 1 << 64


class MapError(UserError):
    """A memory map that makes no sense."""


class Space(Enum):
    """An address space of the guest."""

    MEMORY = "memory"
    IO = "io"


@dataclass(frozen=True)
class Range:
    """Addresses `start` to `end`, both inclusive, at which the region `name` answers."""

    start: int
    end: int
    name: str


@dataclass(frozen=True)
class MemoryMap:
    """Ranges of both address spaces, ascending and without overlap."""

    memory: tuple[Range, ...] = ()
    io: tuple[Range, ...] = ()
    _starts: dict[Space, list[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the order. Raises MapError."""
        starts = {}
        for space in Space:
            ranges = self.ranges(space)
            before = -1
            for part in ranges:
                if not before < part.start <= part.end < ADDRESS_END:
                    raise MapError(f"a memory map with {part.name} in the wrong place")
                before = part.end
            starts[space] = [part.start for part in ranges]
        object.__setattr__(self, "_starts", starts)

    def __len__(self) -> int:
        """Number of ranges."""
        return len(self.memory) + len(self.io)

    def ranges(self, space: Space) -> tuple[Range, ...]:
        """The ranges of one address space."""
        return self.memory if space is Space.MEMORY else self.io

    def find(self, space: Space, address: int) -> Range | None:
        """The range that holds an address; None if no device answers there."""
        index = bisect_right(self._starts[space], address) - 1
        if index < 0:
            return None
        found = self.ranges(space)[index]
        return found if address <= found.end else None

    def names(self, space: Space, start: int, end: int) -> list[str]:
        """Names of the regions between two addresses, both inclusive, each once, ascending."""
        ranges = self.ranges(space)
        first = max(0, bisect_right(self._starts[space], start) - 1)
        last = bisect_right(self._starts[space], end)
        return list(dict.fromkeys(r.name for r in ranges[first:last] if r.end >= start))

    def over(self, older: "MemoryMap") -> "MemoryMap":
        """This map, and where it has holes what an older one knew.

        A guest that moves or disables a device leaves what was recorded before under its old place.
        """
        return MemoryMap(memory=_overlay(self.memory, older.memory), io=_overlay(self.io, older.io))


def _overlay(newer: Sequence[Range], older: Sequence[Range]) -> tuple[Range, ...]:
    parts = list(newer)
    index = 0
    for old in older:
        at = old.start
        while index and newer[index - 1].end >= at:
            index -= 1
        while index < len(newer) and newer[index].end < at:
            index += 1
        while index < len(newer) and newer[index].start <= old.end:
            if newer[index].start > at:
                parts.append(replace(old, start=at, end=newer[index].start - 1))
            at = newer[index].end + 1
            index += 1
        if at <= old.end:
            parts.append(replace(old, start=at))
    return tuple(sorted(parts, key=lambda part: part.start))


@dataclass(frozen=True)
class _Piece:
    start: int
    end: int
    name: str
    offset: int

    @property
    def base(self) -> int:
        """Where the region would begin if no piece were covered; negative for some aliases."""
        return self.start - self.offset


@dataclass
class _View:
    spaces: set[str] = field(default_factory=set)
    root: str = ""
    pieces: list[_Piece] = field(default_factory=list)


_SPACE = re.compile(r' AS "(.*)", root: ')
_ROOT = re.compile(r" Root memory region: (.*)")
_PIECE = re.compile(r"  ([0-9a-f]{1,16})-([0-9a-f]{1,16}) \(prio -?\d+, [^()]+\): (.*)", re.ASCII)
_OFFSET = re.compile(r"(.*) @([0-9a-f]{1,16})", re.ASCII)
_ACCELERATORS = (" KVM", " HVF")
_MEMORY_VIEWS = ("memory", "cpu-memory-0")
_IO_VIEWS = ("I/O",)


def parse_mtree(text: str) -> MemoryMap:
    """The map out of the answer to `info mtree -f`. Raises MapError."""
    views = _views(text.split("\n"))
    return MemoryMap(
        memory=_numbered(_choose(views, _MEMORY_VIEWS)), io=_numbered(_choose(views, _IO_VIEWS))
    )


def _views(lines: Iterable[str]) -> list[_View]:
    views: list[_View] = []
    for number, line in enumerate(lines, 1):
        if line.startswith("FlatView #"):
            views.append(_View())
        elif not line.strip() or line.strip() == "No rendered FlatView":
            continue
        elif not views:
            raise _nonsense(number, line)
        elif match := _SPACE.match(line):
            views[-1].spaces.add(match[1])
        elif match := _ROOT.fullmatch(line):
            views[-1].root = match[1]
        elif match := _PIECE.fullmatch(line):
            views[-1].pieces.append(_piece(match))
        else:
            raise _nonsense(number, line)
    return views


def _nonsense(number: int, line: str) -> MapError:
    shown = "".join(c if c.isprintable() else "?" for c in line.strip()[:60])
    return MapError(f"line {number} of QEMU's memory map makes no sense: '{shown}'")


def _piece(match: re.Match[str]) -> _Piece:
    name = match[3]
    for mark in _ACCELERATORS:
        name = name.removesuffix(mark)
    offset = 0
    if cut := _OFFSET.fullmatch(name):
        name, offset = cut[1], int(cut[2], 16)
    return _Piece(int(match[1], 16), int(match[2], 16), name or "(no name)", offset)


def _choose(views: Sequence[_View], wanted: Sequence[str]) -> list[_Piece]:
    for name in wanted:
        for view in views:
            if name in view.spaces:
                return [piece for piece in view.pieces if piece.name != view.root]
    raise MapError(f"QEMU's memory map has no address space {wanted[0]}")


def _numbered(pieces: Sequence[_Piece]) -> tuple[Range, ...]:
    bases: dict[str, set[int]] = defaultdict(set)
    for piece in pieces:
        bases[piece.name].add(piece.base)
    numbers = {
        (name, base): f"{name}[{number}]" if len(found) > 1 else name
        for name, found in bases.items()
        for number, base in enumerate(sorted(found))
    }
    return tuple(Range(p.start, p.end, numbers[p.name, p.base]) for p in pieces)
