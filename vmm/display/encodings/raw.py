# SPDX-License-Identifier: GPL-2.0-or-later
"""Raw (RFC 6143 section 7.7.1): the pixels, row by row."""

from vmm.display.pixels import PixelFormat, Pixels, convert


def encode(pixels: Pixels, fmt: PixelFormat) -> bytes:
    """Payload of a raw rectangle."""
    return convert(pixels, fmt).tobytes()
