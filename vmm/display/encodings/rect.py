# SPDX-License-Identifier: GPL-2.0-or-later
"""A rectangle of a FramebufferUpdate."""

import struct
from dataclasses import dataclass

Payload = bytes | memoryview
"""Bytes, or a view: of the encoded pixels, or of a buffer that is left alone meanwhile."""
_HEADER = struct.Struct(">HHHHi")


@dataclass(frozen=True)
class EncodedRect:
    """One rectangle: place and size in pixels, encoding number, and what follows its header."""

    x: int
    y: int
    width: int
    height: int
    encoding: int
    payload: Payload

    def header(self) -> bytes:
        """The 12 bytes in front of the payload (RFC 6143 section 7.6.1).

        Raises:
            struct.error: a place or size that does not fit 16 bits.
        """
        return _HEADER.pack(self.x, self.y, self.width, self.height, self.encoding)
