# SPDX-License-Identifier: GPL-2.0-or-later
"""What encodes for one client, with the state that both ends of the connection keep."""

from vmm.display.encodings import hextile, raw, zlib, zrle
from vmm.display.encodings.deflate import DeflateStream
from vmm.display.encodings.kernel import Scratch
from vmm.display.encodings.numbers import HEXTILE, RAW, TIGHT, TRLE, ZLIB, ZRLE
from vmm.display.encodings.rect import EncodedRect, Payload
from vmm.display.encodings.tight import TightEncoder
from vmm.display.pixels import PixelFormat, Pixels

SUPPORTED: tuple[int, ...] = (TIGHT, ZRLE, ZLIB, HEXTILE, TRLE, RAW)
"""Encodings of ``ClientEncoder``, the server's favourite first; a client's own order goes first."""
DEFAULT_COMPRESS = 9
"""Level for a client that asked for none, as in QEMU, for zlib, ZRLE and Tight alike."""


class ClientEncoder:
    """Encodes areas for one client, in the order in which they are sent.

    Owns the client's zlib streams: one for zlib, one for ZRLE, four for Tight, all for as long as
    the connection lasts. Not thread-safe: one thread at a time. The pixels must not change during
    a call, nor before its payloads have been used: one may be a view of them.
    """

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._zlib = DeflateStream()
        self._zrle = DeflateStream()
        self._tight = TightEncoder(self._scratch)

    def encode(
        self,
        pixels: Pixels,
        x: int,
        y: int,
        encoding: int,
        fmt: PixelFormat,
        quality: int | None,
        compress: int,
        last_rect: bool,
    ) -> list[EncodedRect]:
        """Encode an area, in one rectangle or, with Tight, in several.

        Args:
            pixels: of the area; of no pixels at all gives no rectangle.
            x: of its upper left corner on the screen, in pixels.
            y: of the same.
            encoding: one of ``SUPPORTED``.
            fmt: the client's.
            quality: of JPEG, 0 (worst) to 9; None where nothing may be lost. Only Tight uses it.
            compress: zlib level, 0 to 9; only zlib, ZRLE and Tight use it.
            last_rect: whether the client knows LastRect; none of the encodings needs that, because
                the list is complete when it is returned.

        Raises:
            ValueError: an encoding, level or quality there is not.
        """
        if not 0 <= compress <= 9 or (quality is not None and not 0 <= quality <= 9):
            raise ValueError(f"compression level {compress}, quality {quality}: not 0 to 9")
        if encoding not in SUPPORTED:
            raise ValueError(f"there is no encoder for encoding {encoding}")
        if not pixels.size:
            return []
        if encoding == TIGHT:
            return self._tight.encode(pixels, x, y, fmt, quality, compress)
        payload = self._payload(pixels, encoding, fmt, compress)
        return [EncodedRect(x, y, pixels.shape[1], pixels.shape[0], encoding, payload)]

    def _payload(self, pixels: Pixels, encoding: int, fmt: PixelFormat, compress: int) -> Payload:
        if encoding == HEXTILE:
            return hextile.encode(pixels, fmt, self._scratch)
        if encoding == ZRLE:
            return zrle.encode(pixels, fmt, self._scratch, self._zrle, compress)
        if encoding == TRLE:
            return zrle.encode_trle(pixels, fmt, self._scratch)
        if encoding == ZLIB:
            return zlib.encode(pixels, fmt, self._zlib, compress)
        return raw.encode(pixels, fmt, self._scratch)
