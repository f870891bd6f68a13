# SPDX-License-Identifier: GPL-2.0-or-later
"""Zlib, encoding 6 of the RFB registry: raw pixels through one stream a client."""

import numpy as np

from vmm.display.encodings.deflate import DeflateStream
from vmm.display.pixels import PixelFormat, Pixels, convert


def encode(pixels: Pixels, fmt: PixelFormat, stream: DeflateStream, level: int) -> bytes:
    """Payload of a zlib rectangle; ``level`` 0 to 9."""
    wire = np.ascontiguousarray(convert(pixels, fmt))
    return stream.compress_counted(wire.view(np.uint8), level)
