# SPDX-License-Identifier: GPL-2.0-or-later
"""What decoders of RFB rectangles share: bytes to be used up, pixels of a format, zlib streams."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmm.display.pixels import PixelFormat

Values = NDArray[np.uint64]


class DecodeError(Exception):
    """The payload is not what the specification says."""


def need(condition: bool, what: str) -> None:
    """Raise DecodeError unless the condition holds."""
    if not condition:
        raise DecodeError(what)


class Reader:
    """Bytes to be used up."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next bytes, all of them."""
        need(self.at + count <= len(self.data), f"{count} bytes wanted at {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def end(self) -> None:
        """Nothing may be left."""
        need(self.at == len(self.data), f"{len(self.data) - self.at} bytes left over")


@dataclass
class PixelReader:
    """Reads PIXEL, CPIXEL or TPIXEL as values of the client's format."""

    fmt: PixelFormat
    size: int
    shift: int = 0
    rgb: bool = False

    @classmethod
    def pixel(cls, fmt: PixelFormat) -> "PixelReader":
        """PIXEL."""
        return cls(fmt, fmt.bits_per_pixel // 8)

    @classmethod
    def cpixel(cls, fmt: PixelFormat) -> "PixelReader":
        """CPIXEL of TRLE and ZRLE."""
        if fmt.true_colour and fmt.bits_per_pixel == 32 and fmt.depth <= 24:
            used = used_bits(fmt)
            if used < 1 << 24:
                return cls(fmt, 3)
            if used % 256 == 0:
                return cls(fmt, 3, shift=8)
        return cls.pixel(fmt)

    @classmethod
    def tpixel(cls, fmt: PixelFormat) -> "PixelReader":
        """TPIXEL of Tight."""
        eight = (fmt.red_max, fmt.green_max, fmt.blue_max) == (255, 255, 255)
        if fmt.true_colour and fmt.bits_per_pixel == 32 and fmt.depth == 24 and eight:
            return cls(fmt, 3, rgb=True)
        return cls.pixel(fmt)

    def read(self, reader: Reader, count: int) -> Values:
        """So many pixels."""
        raw = np.frombuffer(reader.take(count * self.size), np.uint8).reshape(count, self.size)
        parts = raw.astype(np.uint64)
        if self.rgb:
            shifts = [self.fmt.red_shift, self.fmt.green_shift, self.fmt.blue_shift]
        else:
            order = range(self.size)
            shifts = [
                8 * i + self.shift for i in (reversed(order) if self.fmt.big_endian else order)
            ]
        found = np.zeros(count, np.uint64)
        for column, shift in enumerate(shifts):
            found |= parts[:, column] << np.uint64(shift)
        return found & np.uint64(used_bits(self.fmt))


def channels(fmt: PixelFormat) -> list[tuple[int, int]]:
    """Maximum and shift of red, green, blue; without true colour those of the 3-3-2 map."""
    if not fmt.true_colour:
        return [(7, 5), (7, 2), (3, 0)]
    return [
        (fmt.red_max, fmt.red_shift),
        (fmt.green_max, fmt.green_shift),
        (fmt.blue_max, fmt.blue_shift),
    ]


def used_bits(fmt: PixelFormat) -> int:
    """Mask of the bits that hold intensities."""
    return sum((2 ** maximum.bit_length() - 1) << shift for maximum, shift in channels(fmt))


def value_of_rgb(red: Any, green: Any, blue: Any, fmt: PixelFormat) -> Any:
    """Intensities 0..255 (integers or arrays) as a pixel value, to the nearest."""
    return sum(
        (2 * level * maximum + 255) // 510 << shift
        for level, (maximum, shift) in zip((red, green, blue), channels(fmt), strict=True)
    )


def inflate(stream: Any, data: bytes, size: int) -> bytes:
    """Exactly `size` bytes out of the next piece of a stream that goes on."""
    try:
        found: bytes = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise DecodeError(str(error)) from None
    need(len(found) == size, f"{len(found)} bytes or more inflated, not {size}")
    need(not stream.eof and not stream.unconsumed_tail, "the stream ended, or bytes are left over")
    return found


def inflate_all(stream: Any, data: bytes, limit: int) -> bytes:
    """At most `limit` bytes out of the next piece of a stream that goes on."""
    try:
        found: bytes = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise DecodeError(str(error)) from None
    need(len(found) <= limit, "more than the tiles can take")
    need(not stream.eof and not stream.unconsumed_tail, "the stream ended, or bytes are left over")
    return found
