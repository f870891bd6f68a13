# SPDX-License-Identifier: GPL-2.0-or-later
"""ZRLE and TRLE (RFC 6143 sections 7.7.6 and 7.7.5): tiles of palettes and run lengths.

The work is ``rfb_tiles.c``; ZRLE deflates its tiles through one stream a client.
"""

from vmm._native import lib
from vmm.display.encodings.deflate import DeflateStream
from vmm.display.encodings.kernel import Scratch, as_cpixels, payload, tiles
from vmm.display.encodings.rect import Payload
from vmm.display.pixels import PixelFormat, Pixels

MAX_LEVEL = 6
"""What QEMU uses whatever the client asks for; here a client may have less.

Level 9 takes five times as long over tiles of text and saves 1 %.
"""


def encode(
    pixels: Pixels, fmt: PixelFormat, scratch: Scratch, stream: DeflateStream, level: int
) -> bytes:
    """Payload of a ZRLE rectangle; ``pixels`` is not empty, ``level`` 0 to 9."""
    found = tiles(as_cpixels(pixels, fmt), lib.RFB_ZRLE_SIDE, scratch)
    return stream.compress_counted(found, min(level, MAX_LEVEL))


def encode_trle(pixels: Pixels, fmt: PixelFormat, scratch: Scratch) -> Payload:
    """Payload of a TRLE rectangle; ``pixels`` is not empty."""
    return payload(tiles(as_cpixels(pixels, fmt), lib.RFB_TRLE_SIDE, scratch))
