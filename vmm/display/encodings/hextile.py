# SPDX-License-Identifier: GPL-2.0-or-later
"""Hextile (RFC 6143 section 7.7.4): tiles of 16x16 pixels; the work is ``rfb_hextile.c``."""

from vmm.display.encodings.kernel import Scratch, as_pixels, hextile, payload
from vmm.display.encodings.rect import Payload
from vmm.display.pixels import PixelFormat, Pixels


def encode(pixels: Pixels, fmt: PixelFormat, scratch: Scratch) -> Payload:
    """Payload of a Hextile rectangle; ``pixels`` is not empty."""
    return payload(hextile(as_pixels(pixels, fmt), scratch))
