# SPDX-License-Identifier: GPL-2.0-or-later
"""Tight, encoding 7 of the RFB registry.

An area is first cut up: large areas of one colour become rectangles of their own (``solid.py``),
what is left strips of at most 65536 pixels. Each strip is then, by its number of colours,

    1                    a fill
    2                    a bit a pixel, deflated
    up to the limit      a byte a pixel, deflated
    more                 a JPEG if the client allows it, else all pixels, deflated

The gradient filter is not used: QEMU uses it only with ``lossy``, where JPEG is smaller.

Compression levels are the client's, 9 where it has none, and mean what they mean in QEMU
(``tight_conf`` of ui/vnc-enc-tight.c): how many pixels a colour of the palette must stand for, and
which zlib level serves indexed, two-coloured and full-coloured data. So do the quality levels. The
four zlib streams are used as there: 0 full colour, 1 two colours, 2 indexed.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from vmm.display.encodings import kernel
from vmm.display.encodings.deflate import DeflateStream
from vmm.display.encodings.kernel import Bytes, Picture, Scratch
from vmm.display.encodings.numbers import TIGHT
from vmm.display.encodings.rect import EncodedRect
from vmm.display.encodings.solid import Area, split
from vmm.display.pixels import PixelFormat, Pixels

MIN_TO_COMPRESS = 12
"""Shorter data is sent as it is, without a length."""
MIN_JPEG_PIXELS = 4096
_FILL, _JPEG, _EXPLICIT_FILTER = 0x80, 0x90, 0x40
_PALETTE_FILTER = 1
_FULL, _MONO, _INDEXED = 0, 1, 2
JPEG_QUALITY = (5, 10, 15, 25, 37, 50, 60, 70, 75, 80)
"""Of libjpeg, by the client's quality level."""


class Levels(NamedTuple):
    """What a compression level means."""

    pixels_per_colour: int
    indexed: int
    mono: int
    full: int


LEVELS = (
    Levels(4, 0, 0, 0),
    Levels(8, 1, 1, 1),
    Levels(24, 3, 3, 2),
    Levels(32, 5, 5, 3),
    Levels(32, 6, 6, 4),
    Levels(32, 7, 7, 5),
    Levels(48, 7, 7, 6),
    Levels(64, 8, 8, 7),
    Levels(64, 9, 9, 8),
    Levels(96, 9, 9, 9),
)


class TightEncoder:
    """Tight for one client: its four zlib streams, of which three are used."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._streams = {number: DeflateStream() for number in (_FULL, _MONO, _INDEXED)}

    def encode(
        self, pixels: Pixels, x: int, y: int, fmt: PixelFormat, quality: int | None, compress: int
    ) -> list[EncodedRect]:
        """Encode an area of at least one pixel; see ``ClientEncoder.encode``."""
        picture = kernel.as_tpixels(pixels, fmt)
        if fmt.bits_per_pixel == 8:
            quality = None  # the protocol allows JPEG for 16 and 32 bits only
        rects = []
        for area in split(picture):
            part = area.of(picture)
            payload = self._payload(part, area.of_pixels(pixels), quality, LEVELS[compress])
            rects.append(
                EncodedRect(x + area.x, y + area.y, area.width, area.height, TIGHT, payload)
            )
        return rects

    def _payload(
        self, picture: Picture, pixels: Pixels, quality: int | None, levels: Levels
    ) -> bytes:
        limit = _palette_limit(picture, levels)
        count, colours, numbers = kernel.index_colours(picture, limit, self._scratch)
        if count == 1:
            return bytes((_FILL,)) + colours
        if count:
            return self._indexed(picture, count, colours, numbers, levels)
        if quality is not None and picture.pixels.size >= MIN_JPEG_PIXELS:
            return _jpeg(pixels, JPEG_QUALITY[quality], self._scratch)
        packed = kernel.pack(picture, self._scratch)
        return bytes((_FULL << 4,)) + self._deflated(packed, _FULL, levels.full)

    def _indexed(
        self, picture: Picture, count: int, colours: bytes, numbers: Bytes, levels: Levels
    ) -> bytes:
        stream, level = _INDEXED, levels.indexed
        if count == 2:
            stream, level = _MONO, levels.mono
            numbers = np.packbits(numbers.reshape(picture.pixels.shape), axis=1).reshape(-1)
        control = bytes((_EXPLICIT_FILTER | stream << 4, _PALETTE_FILTER, count - 1))
        return control + colours + self._deflated(numbers, stream, level)

    def _deflated(self, data: Bytes, stream: int, level: int) -> bytes:
        if data.size < MIN_TO_COMPRESS:
            return data.tobytes()
        piece = self._streams[stream].compress(data, level)
        return compact_length(len(piece)) + piece


def _palette_limit(picture: Picture, levels: Levels) -> int:
    """How many colours may be indexed: two of one byte, which a whole index would not shorten."""
    if picture.wire_bytes == 1:
        return 2
    return min(max(picture.pixels.size // levels.pixels_per_colour, 2), 256)


def _jpeg(pixels: Pixels, quality: int, scratch: Scratch) -> bytes:
    height, width = pixels.shape
    rgb = kernel.pack(kernel.as_rgb(pixels), scratch)
    image = Image.frombuffer("RGB", (width, height), rgb, "raw", "RGB", 0, 1)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    data = out.getvalue()
    return bytes((_JPEG,)) + compact_length(len(data)) + data


def compact_length(length: int) -> bytes:
    """A length of 0 to 4194303 in one to three bytes, seven bits a byte, the lowest first.

    Raises:
        ValueError: longer than that.
    """
    if not 0 <= length < 1 << 22:
        raise ValueError(f"{length} bytes do not fit a compact length")
    if length < 1 << 7:
        return bytes((length,))
    if length < 1 << 14:
        return bytes((length & 0x7F | 0x80, length >> 7))
    return bytes((length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14))


__all__ = ["JPEG_QUALITY", "LEVELS", "Area", "Levels", "TightEncoder", "compact_length"]
