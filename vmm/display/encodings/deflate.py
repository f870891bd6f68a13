# SPDX-License-Identifier: GPL-2.0-or-later
"""A zlib stream that lives as long as its client and may change its compression level.

The peer inflates one stream for good, so the stream never ends: each piece is flushed to a byte
boundary (``Z_SYNC_FLUSH``). Python's zlib has no ``deflateParams``; a new level is a new compressor
of *raw* deflate blocks, which continue the stream where the old one was flushed. It starts with an
empty window, so the first piece at a new level refers back to nothing.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_MEM_LEVEL = 9  # MAX_MEM_LEVEL, as QEMU's encoders use
_HEADER = b"\x78\x01"  # RFC 1950: deflate, window of 32 KiB; the level in it is only information


class DeflateStream:
    """One stream; pieces must reach the peer in the order they were compressed."""

    def __init__(self) -> None:
        self._compressor: zlib._Compress | None = None
        self._level = -1
        self._started = False

    def compress(self, data: NDArray[np.uint8], level: int) -> bytes:
        """One piece of the stream, flushed: ``level`` 0 (stored) to 9 (smallest)."""
        if self._compressor is None or level != self._level:
            self._compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, _MEM_LEVEL)
            self._level = level
        start = b"" if self._started else _HEADER
        self._started = True
        body = self._compressor.compress(data.data)
        return b"".join((start, body, self._compressor.flush(zlib.Z_SYNC_FLUSH)))

    def compress_counted(self, data: NDArray[np.uint8], level: int) -> bytes:
        """The same behind its length in four bytes, as zlib and ZRLE rectangles have it."""
        piece = self.compress(data, level)
        return struct.pack(">I", len(piece)) + piece
