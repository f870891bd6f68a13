# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol Buffers on the wire: messages one by one, and many of one shape at once.

Why by hand: a trace has tens of millions of messages of a few shapes. Building them as objects
takes microseconds each; here a shape is a `Template`, bytes with holes, and numpy fills the holes
of all messages. To keep a shape's length constant, numbers in holes are padded: a varint may end
in groups of zero bits, which every parser accepts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from profiler.traces.batch import Column

VARINT, FIXED64, BYTES = 0, 1, 2


def varint(value: int) -> bytes:
    """An unsigned number, 7 bits a byte."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def tag(number: int, kind: int) -> bytes:
    """What comes before the value of a field."""
    return varint(number << 3 | kind)


def unsigned(number: int, value: int) -> bytes:
    """A field with an unsigned number, an enumeration or a truth value."""
    return tag(number, VARINT) + varint(value)


def signed(number: int, value: int) -> bytes:
    """A field of type int32 or int64."""
    return unsigned(number, value & 0xFFFF_FFFF_FFFF_FFFF)


def text(number: int, value: str) -> bytes:
    """A field with a string."""
    return message(number, value.encode("utf-8", "replace"))


def message(number: int, *fields: bytes) -> bytes:
    """A field with bytes, or with a message made of fields."""
    content = b"".join(fields)
    return tag(number, BYTES) + varint(len(content)) + content


@dataclass(frozen=True)
class Hole:
    """Where a column goes: `width` bytes of padded varint, or 8 bytes of fixed64."""

    offset: int
    width: int
    column: str
    fixed: bool = False


@dataclass(frozen=True)
class Template:
    """A message, or part of one, with holes. Templates are added and nested like bytes."""

    data: bytes = b""
    holes: tuple[Hole, ...] = ()

    def __add__(self, other: "Template | bytes") -> "Template":
        if isinstance(other, bytes):
            return Template(self.data + other, self.holes)
        shifted = (
            Hole(hole.offset + len(self.data), hole.width, hole.column, hole.fixed)
            for hole in other.holes
        )
        return Template(self.data + other.data, self.holes + tuple(shifted))

    @classmethod
    def unsigned(cls, number: int, column: str, width: int) -> "Template":
        """A field with a number from a column, below 2 ** (7 * width)."""
        start = tag(number, VARINT)
        return cls(start + bytes(width), (Hole(len(start), width, column),))

    @classmethod
    def fixed64(cls, number: int, column: str) -> "Template":
        """A field with eight bytes from a column."""
        start = tag(number, FIXED64)
        return cls(start + bytes(8), (Hole(len(start), 8, column, fixed=True),))

    @classmethod
    def message(cls, number: int, content: "Template") -> "Template":
        """A field with a message."""
        return cls(tag(number, BYTES) + varint(len(content.data))) + content

    def fill(self, columns: Mapping[str, Column], count: int) -> Column:
        """`count` messages, one a row."""
        rows = np.empty((count, len(self.data)), "u1")
        rows[:] = np.frombuffer(self.data, "u1")
        for hole in self.holes:
            at = slice(hole.offset, hole.offset + hole.width)
            values = columns[hole.column].astype("<u8")
            rows[:, at] = _fixed(values) if hole.fixed else _padded(values, hole.width)
        return rows


def _fixed(values: Column) -> Column:
    return values.view("u1").reshape(-1, 8)


def _padded(values: Column, width: int) -> Column:
    digits = np.empty((len(values), width), "u1")
    for place in range(width):
        more = 0x80 if place < width - 1 else 0
        digits[:, place] = (values >> np.uint64(7 * place)) & np.uint64(0x7F)
        if more:
            digits[:, place] |= more
    return digits


def interleaved(which: Column, rows: Mapping[int, Column]) -> bytes:
    """Rows of several lengths one after another: the next row of `rows[which[i]]` for each i."""
    lengths = np.zeros(max(rows, default=0) + 1, np.int64)
    for kind, part in rows.items():
        lengths[kind] = part.shape[1]
    ends = np.cumsum(lengths[which])
    starts = ends - lengths[which]
    joined = np.empty(int(ends[-1]) if len(ends) else 0, "u1")
    for kind, part in rows.items():
        places = starts[which == kind]
        joined[places[:, np.newaxis] + np.arange(part.shape[1])] = part
    return joined.tobytes()
