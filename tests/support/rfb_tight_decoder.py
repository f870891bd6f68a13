# SPDX-License-Identifier: GPL-2.0-or-later
"""Tight, for the decoder of tests/support/rfb_decoder.py."""

import io
import zlib
from typing import Any

import numpy as np
from PIL import Image

from tests.support.rfb_reader import (
    DecodeError,
    PixelReader,
    Reader,
    Values,
    inflate,
    need,
    value_of_rgb,
)
from vmm.display.pixels import PixelFormat


def compact_length(reader: Reader) -> int:
    """A length in one to three bytes."""
    first = reader.u8()
    if first < 128:
        return first
    second = reader.u8()
    length = first & 127 | (second & 127) << 7
    if second < 128:
        need(length >= 128, "a compact length in more bytes than it needs")
        return length
    length |= reader.u8() << 14
    need(length >= 1 << 14, "a compact length in more bytes than it needs")
    return length


def tight(
    reader: Reader, fmt: PixelFormat, streams: list[Any], width: int, height: int
) -> tuple[Values, bool]:
    """Encoding 7; also tells whether the pixels are those of a JPEG."""
    need(width <= 2048, "wider than Tight allows")
    control = reader.u8()
    for number in range(4):
        if control >> number & 1:
            streams[number] = zlib.decompressobj()
    pixels = PixelReader.tpixel(fmt)
    kind = control >> 4
    if kind == 8:
        return np.full((height, width), pixels.read(reader, 1)[0]), False
    if kind == 9:
        need(fmt.bits_per_pixel != 8, "JPEG for 8 bits")
        return jpeg(reader.take(compact_length(reader)), fmt, width, height), True
    need(kind < 8, f"compression {kind}")
    stream = streams[kind & 3]
    name = reader.u8() if kind & 4 else 0
    need(name in (0, 1), f"filter {name}")
    if name == 1:
        return indexed(reader, pixels, stream, width, height), False
    data = Reader(basic(reader, stream, width * height * pixels.size))
    return pixels.read(data, width * height).reshape(height, width), False


def indexed(reader: Reader, pixels: PixelReader, stream: Any, width: int, height: int) -> Values:
    """Tight's palette filter."""
    count = reader.u8() + 1
    need(count >= 2, "a palette of one colour")
    palette = pixels.read(reader, count)
    if count == 2:
        stride = (width + 7) // 8
        rows = np.frombuffer(basic(reader, stream, stride * height), np.uint8)
        bits = np.unpackbits(rows.reshape(height, stride), axis=1)
        need(not bits[:, width:].any(), "padding that is not zero")
        return np.take(palette, bits[:, :width])
    numbers = np.frombuffer(basic(reader, stream, width * height), np.uint8)
    need(bool((numbers < count).all()), "a number beyond the palette")
    return np.take(palette, numbers).reshape(height, width)


def basic(reader: Reader, stream: Any, size: int) -> bytes:
    """Tight's data of a known size, deflated unless it is short."""
    if size < 12:
        return reader.take(size)
    return inflate(stream, reader.take(compact_length(reader)), size)


def jpeg(data: bytes, fmt: PixelFormat, width: int, height: int) -> Values:
    """A JPEG in the client's format."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            need(image.size == (width, height), f"a JPEG of {image.size}")
            rgb = np.asarray(image.convert("RGB"), dtype=np.uint64)
    except OSError as error:
        raise DecodeError(str(error)) from None
    found: Values = value_of_rgb(rgb[..., 0], rgb[..., 1], rgb[..., 2], fmt).astype(np.uint64)
    return found
