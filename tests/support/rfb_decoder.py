# SPDX-License-Identifier: GPL-2.0-or-later
"""A client's half of the RFB encodings, written from the specifications and stricter than clients.

Every length is checked, nothing may be left over, and what the specifications leave open counts as
wrong: a Hextile tile that relies on colours from before a raw tile, a compact length in more bytes
than it needs. Shares no code with the encoders.

    screen = Screen(1024, 768, fmt)
    screen.draw(rect)        # screen.values: pixel values in the client's format
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.rfb_reader import (
    DecodeError,
    PixelReader,
    Reader,
    Values,
    inflate,
    inflate_all,
    need,
)
from tests.support.rfb_tight_decoder import tight
from vmm.display.encodings import EncodedRect
from vmm.display.pixels import PixelFormat


@dataclass
class Streams:
    """The zlib streams of one connection."""

    basic: Any = field(default_factory=zlib.decompressobj)
    zrle: Any = field(default_factory=zlib.decompressobj)
    tight: list[Any] = field(default_factory=lambda: [zlib.decompressobj() for _ in range(4)])


class Screen:
    """What a client has on its screen, and its streams."""

    def __init__(self, width: int, height: int, fmt: PixelFormat) -> None:
        self.fmt = fmt
        self.values: Values = np.zeros((height, width), np.uint64)
        self.lossy = np.zeros((height, width), np.bool_)
        self.streams = Streams()

    def draw(self, rect: EncodedRect) -> None:
        """Decode a rectangle onto the screen.

        Raises:
            DecodeError: it is not as specified, or not on the screen.
        """
        reader = Reader(bytes(rect.payload))
        self.draw_from(rect, reader, reader.end)

    def draw_from(
        self, rect: EncodedRect, reader: Reader, end: Callable[[], None] = lambda: None
    ) -> None:
        """Decode a rectangle whose payload is read as it comes; ``end`` may still object to it.

        Raises:
            DecodeError: as ``draw``.
        """
        height, width = self.values.shape
        need(rect.width > 0 and rect.height > 0, "an empty rectangle")
        need(rect.x >= 0 and rect.x + rect.width <= width, "beside the screen")
        need(rect.y >= 0 and rect.y + rect.height <= height, "below the screen")
        place = np.s_[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
        found, lossy = self._decode(rect, reader)
        end()
        self.values[place] = found
        self.lossy[place] = lossy

    def _decode(self, rect: EncodedRect, reader: Reader) -> tuple[Values, bool]:
        size = (rect.width, rect.height)
        if rect.encoding == 7:
            return tight(reader, self.fmt, self.streams.tight, *size)
        return self._lossless(rect, reader), False

    def _lossless(self, rect: EncodedRect, reader: Reader) -> Values:
        size = (rect.width, rect.height)
        if rect.encoding == 0:
            return raw(reader, self.fmt, *size)
        if rect.encoding == 1:
            return self._copy(reader, *size)
        if rect.encoding == 5:
            return hextile(reader, self.fmt, *size)
        if rect.encoding == 6:
            return counted_zlib(reader, self.fmt, self.streams.basic, *size)
        if rect.encoding == 15:
            return tiles(reader, self.fmt, 16, *size)
        if rect.encoding == 16:
            return zrle(reader, self.fmt, self.streams.zrle, *size)
        raise DecodeError(f"encoding {rect.encoding}")

    def _copy(self, reader: Reader, width: int, height: int) -> Values:
        x, y = struct.unpack(">HH", reader.take(4))
        need(
            y + height <= self.values.shape[0] and x + width <= self.values.shape[1],
            "copied from outside of the screen",
        )
        return self.values[y : y + height, x : x + width].copy()


def raw(reader: Reader, fmt: PixelFormat, width: int, height: int) -> Values:
    """RFC 6143 section 7.7.1."""
    return PixelReader.pixel(fmt).read(reader, width * height).reshape(height, width)


def counted_zlib(reader: Reader, fmt: PixelFormat, stream: Any, width: int, height: int) -> Values:
    """Encoding 6: raw pixels in the connection's stream."""
    (length,) = struct.unpack(">I", reader.take(4))
    size = width * height * fmt.bits_per_pixel // 8
    return raw(Reader(inflate(stream, reader.take(length), size)), fmt, width, height)


@dataclass
class Hextile:
    """Colours that carry over from tile to tile; None: not known."""

    reader: Reader
    pixels: PixelReader
    ground: np.uint64 | None = None
    ink: np.uint64 | None = None

    def pixel(self) -> np.uint64:
        """One pixel."""
        return np.uint64(self.pixels.read(self.reader, 1)[0])

    def tile(self, out: Values) -> None:
        """Decode a tile onto a view."""
        mask = self.reader.u8()
        need(mask < 32, f"Hextile mask {mask:#x}")
        height, width = out.shape
        if mask & 1:
            need(mask == 1, "a raw tile with other bits")
            out[:] = self.pixels.read(self.reader, width * height).reshape(height, width)
            self.ground = self.ink = None
            return
        need(not (mask & 4 and mask & 16), "a foreground and coloured subrectangles")
        need(bool(mask & 8) or not mask & 16, "coloured subrectangles, but none at all")
        if mask & 2:
            self.ground = self.pixel()
        if mask & 4:
            self.ink = self.pixel()
        if self.ground is None:
            raise DecodeError("no background known")
        out[:] = self.ground
        for _ in range(self.reader.u8() if mask & 8 else 0):
            self._subrect(out, bool(mask & 16))
        if mask & 16:
            self.ink = None

    def _subrect(self, out: Values, coloured: bool) -> None:
        colour = self.pixel() if coloured else self.ink
        if colour is None:
            raise DecodeError("no foreground known")
        where, size = self.reader.take(2)
        x, y, width, height = where >> 4, where & 15, (size >> 4) + 1, (size & 15) + 1
        need(x + width <= out.shape[1] and y + height <= out.shape[0], "outside of the tile")
        out[y : y + height, x : x + width] = colour


def hextile(reader: Reader, fmt: PixelFormat, width: int, height: int) -> Values:
    """RFC 6143 section 7.7.4."""
    out: Values = np.zeros((height, width), np.uint64)
    state = Hextile(reader, PixelReader.pixel(fmt))
    for y in range(0, height, 16):
        for x in range(0, width, 16):
            state.tile(out[y : y + 16, x : x + 16])
    return out


def zrle(reader: Reader, fmt: PixelFormat, stream: Any, width: int, height: int) -> Values:
    """RFC 6143 section 7.7.6."""
    (length,) = struct.unpack(">I", reader.take(4))
    limit = width * height * 5 + ((width + 63) // 64) * ((height + 63) // 64)
    inside = Reader(inflate_all(stream, reader.take(length), limit))
    found = tiles(inside, fmt, 64, width, height)
    inside.end()
    return found


def tiles(reader: Reader, fmt: PixelFormat, side: int, width: int, height: int) -> Values:
    """The tiles of RFC 6143 sections 7.7.5 and 7.7.6, without the forms that reuse a palette."""
    out: Values = np.zeros((height, width), np.uint64)
    pixels = PixelReader.cpixel(fmt)
    for y in range(0, height, side):
        for x in range(0, width, side):
            part = out[y : y + side, x : x + side]
            part[:] = tile(reader, pixels, part.shape[1], part.shape[0])
    return out


def tile(reader: Reader, pixels: PixelReader, width: int, height: int) -> Values:
    """One tile."""
    kind = reader.u8()
    count = width * height
    if kind == 0:
        return pixels.read(reader, count).reshape(height, width)
    if kind == 1:
        return np.full((height, width), pixels.read(reader, 1)[0])
    if kind <= 16:
        return packed(reader, pixels.read(reader, kind), width, height)
    need(kind == 128 or kind >= 130, f"subencoding {kind}")
    found: list[Values] = []
    palette = pixels.read(reader, kind - 128)
    while count:
        length = 1
        if kind == 128:
            colour = pixels.read(reader, 1)[0]
            length = run_length(reader)
        else:
            index = reader.u8()
            need(index & 127 < len(palette), "a number beyond the palette")
            colour = palette[index & 127]
            if index & 128:
                length = run_length(reader)
        need(length <= count, "a run beyond the tile")
        found.append(np.full(length, colour))
        count -= length
    return np.concatenate(found).reshape(height, width)


def run_length(reader: Reader) -> int:
    """A run length."""
    length = 1
    while (byte := reader.u8()) == 255:
        length += 255
    return length + byte


def packed(reader: Reader, palette: Values, width: int, height: int) -> Values:
    """A packed palette tile."""
    bits = 1 if len(palette) == 2 else 2 if len(palette) <= 4 else 4
    stride = (width * bits + 7) // 8
    rows = np.frombuffer(reader.take(stride * height), np.uint8).reshape(height, stride)
    fields = np.unpackbits(rows, axis=1).reshape(height, -1, bits)
    numbers = fields.dot(1 << np.arange(bits - 1, -1, -1))
    need(not numbers[:, width:].any(), "padding that is not zero")
    numbers = numbers[:, :width]
    need(bool((numbers < len(palette)).all()), "a number beyond the palette")
    found: Values = palette[numbers]
    return found


def cursor(rect: EncodedRect, fmt: PixelFormat) -> tuple[Values, NDArray[np.bool_]]:
    """Pseudo-encoding -239: pixel values and which of them are shown."""
    need(rect.encoding == -239, f"encoding {rect.encoding}")
    reader = Reader(bytes(rect.payload))
    pixels = raw(reader, fmt, rect.width, rect.height)
    stride = (rect.width + 7) // 8
    bits = np.frombuffer(reader.take(stride * rect.height), np.uint8)
    reader.end()
    mask = np.unpackbits(bits.reshape(rect.height, stride), axis=1)
    need(not mask[:, rect.width :].any(), "padding that is not zero")
    return pixels, mask[:, : rect.width].astype(np.bool_)


def cursor_with_alpha(rect: EncodedRect) -> NDArray[np.uint8]:
    """Pseudo-encoding -314: red, green, blue (times alpha) and alpha of each pixel."""
    need(rect.encoding == -314, f"encoding {rect.encoding}")
    reader = Reader(bytes(rect.payload))
    need(struct.unpack(">i", reader.take(4)) == (0,), "not raw")
    data = np.frombuffer(reader.take(rect.width * rect.height * 4), np.uint8)
    reader.end()
    return data.reshape(rect.height, rect.width, 4)
