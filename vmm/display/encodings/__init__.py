# SPDX-License-Identifier: GPL-2.0-or-later
"""Framebuffer encodings of RFB: pixels of the screen in, payloads of rectangles out.

One file an encoding; ``ClientEncoder`` holds what lives as long as a client, its zlib streams.
"""

from vmm.display.encodings.client import DEFAULT_COMPRESS, SUPPORTED, ClientEncoder
from vmm.display.encodings.numbers import (
    COPYRECT,
    CURSOR,
    CURSOR_WITH_ALPHA,
    HEXTILE,
    RAW,
    TIGHT,
    TRLE,
    ZLIB,
    ZRLE,
)
from vmm.display.encodings.rect import EncodedRect, Payload

__all__ = [
    "COPYRECT",
    "CURSOR",
    "CURSOR_WITH_ALPHA",
    "DEFAULT_COMPRESS",
    "HEXTILE",
    "RAW",
    "SUPPORTED",
    "TIGHT",
    "TRLE",
    "ZLIB",
    "ZRLE",
    "ClientEncoder",
    "EncodedRect",
    "Payload",
]
