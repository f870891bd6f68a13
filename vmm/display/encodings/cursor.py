# SPDX-License-Identifier: GPL-2.0-or-later
"""The shape of the pointer, drawn by the client: Cursor (-239) and Cursor With Alpha (-314)."""

import struct

import numpy as np
from numpy.typing import NDArray

from vmm.display.encodings.numbers import CURSOR, CURSOR_WITH_ALPHA, RAW
from vmm.display.encodings.rect import EncodedRect
from vmm.display.pixels import RGB_MASK, PixelFormat, Pixels, convert

SHOWN = 0x80
"""Least alpha, 0 to 255, of a pixel that a client without alpha shows."""


def encode(argb: Pixels, hot_x: int, hot_y: int, fmt: PixelFormat) -> EncodedRect:
    """Cursor (RFC 6143 section 7.8.1): pixels, then one bit a pixel, set where it is shown.

    Args:
        argb: shape (height, width), values 0xAARRGGBB; may be empty, which hides the pointer.
        hot_x: of the pixel that points, in pixels from the left.
        hot_y: the same from the top.
        fmt: the client's.
    """
    height, width = argb.shape
    shown = np.packbits(argb >> 24 >= SHOWN, axis=1).tobytes()
    payload = convert(argb & np.uint32(RGB_MASK), fmt).tobytes() + shown
    return EncodedRect(hot_x, hot_y, width, height, CURSOR, payload)


def encode_with_alpha(argb: Pixels, hot_x: int, hot_y: int) -> EncodedRect:
    """Cursor With Alpha (the RFB registry): raw pixels of red, green, blue, alpha, a byte each.

    The intensities go out multiplied by alpha, as that encoding wants them; ``argb`` has them
    plain. The client's pixel format plays no part.
    """
    height, width = argb.shape
    red, green, blue, alpha = (_byte(argb, shift) for shift in (16, 8, 0, 24))
    scaled = [(level * alpha + 127) // 255 for level in (red, green, blue)]
    pixels = np.stack([*scaled, alpha], axis=-1).astype(np.uint8)
    payload = struct.pack(">i", RAW) + pixels.tobytes()
    return EncodedRect(hot_x, hot_y, width, height, CURSOR_WITH_ALPHA, payload)


def _byte(pixels: Pixels, shift: int) -> NDArray[np.uint32]:
    return pixels >> np.uint32(shift) & np.uint32(0xFF)
