# SPDX-License-Identifier: GPL-2.0-or-later
"""Pixel formats of RFB clients, and pixels of the screen converted to them.

The screen is XRGB8888 (a ``uint32`` of value 0x00RRGGBB). A client may ask for 8, 16 or 32 bits in
either byte order with any place and width of the three intensities (RFC 6143 section 7.4).

Conversion is two table look-ups a pixel, one by its red and one by its green and blue, so that any
maximum costs the same and the upper, unused byte falls away. The formats in common use skip that.
"""

import struct
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint32]
"""A screen or a part of it: shape (height, width), values 0x00RRGGBB."""
Wire = NDArray[Any]
"""Pixels as a client wants them; ``tobytes()`` of it is what goes onto the wire."""

RGB_MASK = 0x00FFFFFF
_LAYOUT = struct.Struct(">BBBBHHHBBB3x")
_RGB332 = ((7, 5), (7, 2), (3, 0))
"""Maximum and shift of red, green and blue in the colour map of ``colour_map``."""


@dataclass(frozen=True)
class PixelFormat:
    """PIXEL_FORMAT of RFC 6143 section 7.4; ``red_max`` and so on count from 0, shifts are bits."""

    bits_per_pixel: int
    depth: int
    big_endian: bool
    true_colour: bool
    red_max: int
    green_max: int
    blue_max: int
    red_shift: int
    green_shift: int
    blue_shift: int

    @classmethod
    def parse(cls, data: bytes) -> "PixelFormat":
        """Read the 16 bytes of the wire.

        The maxima and shifts of a client that wants a colour map have no meaning and are not
        looked at.

        Raises:
            ValueError: not 16 bytes, or a format that cannot be: other than 8, 16 or 32 bits, a
                depth of none or more than those, an intensity outside of the pixel or on top of
                another one, a colour map for other than 8 bits.
        """
        if len(data) != _LAYOUT.size:
            raise ValueError(f"a pixel format has {_LAYOUT.size} bytes, not {len(data)}")
        bits, depth, endian, true_colour, *channels = _LAYOUT.unpack(data)
        fmt = cls(bits, depth, bool(endian), bool(true_colour), *channels)
        fmt._check()
        return fmt

    def _check(self) -> None:
        if self.bits_per_pixel not in (8, 16, 32):
            raise ValueError(f"{self.bits_per_pixel} bits per pixel: not 8, 16 or 32")
        if not 1 <= self.depth <= self.bits_per_pixel:
            raise ValueError(f"depth {self.depth} with {self.bits_per_pixel} bits per pixel")
        if not self.true_colour:
            if self.bits_per_pixel != 8:
                raise ValueError(f"a colour map with {self.bits_per_pixel} bits per pixel: not 8")
            return
        used = 0
        for maximum, shift in self.channels:
            mask = (1 << maximum.bit_length()) - 1 << shift
            if not maximum or mask >> self.bits_per_pixel or mask & used:
                raise ValueError(
                    f"an intensity of maximum {maximum} at bit {shift} of {self.bits_per_pixel}:"
                    " outside of the pixel, or on top of another one"
                )
            used |= mask

    def pack(self) -> bytes:
        """The 16 bytes of the wire."""
        return _LAYOUT.pack(
            self.bits_per_pixel, self.depth, self.big_endian, self.true_colour,
            self.red_max, self.green_max, self.blue_max,
            self.red_shift, self.green_shift, self.blue_shift,
        )  # fmt: skip

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes of one PIXEL: 1, 2 or 4."""
        return self.bits_per_pixel // 8

    @property
    def channels(self) -> tuple[tuple[int, int], ...]:
        """Maximum and shift of red, green and blue; those of the colour map for its clients."""
        if not self.true_colour:
            return _RGB332
        return (
            (self.red_max, self.red_shift),
            (self.green_max, self.green_shift),
            (self.blue_max, self.blue_shift),
        )

    @property
    def used_bits(self) -> int:
        """Mask of the bits of a pixel's value that hold intensities."""
        return sum((1 << maximum.bit_length()) - 1 << shift for maximum, shift in self.channels)

    @property
    def is_xrgb(self) -> bool:
        """Whether the intensities lie as on the screen, in either byte order."""
        return self.bits_per_pixel == 32 and self.channels == ((255, 16), (255, 8), (255, 0))

    @cached_property
    def wire_dtype(self) -> np.dtype[Any]:
        """Type of one PIXEL, with its byte order."""
        order = ">" if self.big_endian else "<"
        return np.dtype(f"{order}u{self.bytes_per_pixel}")

    @cached_property
    def cpixel(self) -> tuple[int, int]:
        """First byte and number of bytes of a CPIXEL in a PIXEL (RFC 6143 section 7.7.5)."""
        if not self.true_colour or self.bits_per_pixel != 32 or self.depth > 24:
            return 0, self.bytes_per_pixel
        if not self.used_bits >> 24:
            return int(self.big_endian), 3
        if not self.used_bits & 0xFF:
            return int(not self.big_endian), 3
        return 0, 4

    @property
    def tpixel_is_rgb(self) -> bool:
        """Whether a TPIXEL (Tight) is red, green, blue, a byte each, instead of a PIXEL."""
        return (
            self.true_colour
            and self.bits_per_pixel == 32
            and self.depth == 24
            and all(maximum == 255 for maximum, _ in self.channels)
        )

    @cached_property
    def tables(self) -> tuple[Wire, Wire]:
        """Wire pixels by the upper half of an XRGB8888 pixel, and by its lower half, to be or-ed.

        65536 entries each, made at the first use.
        """
        red, green, blue = (self._intensities(*channel) for channel in self.channels)
        halves = np.arange(65536)
        upper, lower = red[halves & 0xFF], green[halves >> 8] | blue[halves & 0xFF]
        return upper.astype(self.wire_dtype), lower.astype(self.wire_dtype)

    @staticmethod
    def _intensities(maximum: int, shift: int) -> NDArray[np.uint64]:
        """All 256 intensities of the screen, rounded to the nearest of the format, in place."""
        return ((np.arange(256, dtype=np.uint64) * maximum + 127) // 255) << np.uint64(shift)

    def colour_map(self) -> NDArray[np.uint16]:
        """Red, green and blue (0..65535) of all 256 entries for a client without true colour.

        A fixed map of 3, 3 and 2 bits, as QEMU gives out; shape (256, 3), for
        SetColourMapEntries (RFC 6143 section 7.6.2).
        """
        entries = np.arange(256)[:, None]
        maxima = np.array([maximum for maximum, _ in _RGB332])
        shifts = np.array([shift for _, shift in _RGB332])
        found: NDArray[np.uint16] = ((entries >> shifts & maxima) * 65535 // maxima).astype("u2")
        return found


NATIVE = PixelFormat(32, 24, False, True, 255, 255, 255, 16, 8, 0)
"""What the server offers: the screen's own pixels on a little-endian host."""


def convert(pixels: Pixels, fmt: PixelFormat) -> Wire:
    """Pixels in a client's format and byte order, same shape.

    The result may be ``pixels`` itself or a view of it. In formats of four bytes that lie as on the
    screen the unused byte is passed through as it is; the protocol gives it no meaning.
    """
    if fmt.is_xrgb:
        if fmt.wire_dtype.isnative:
            return pixels
        return pixels.byteswap().view(fmt.wire_dtype)
    upper, lower = fmt.tables
    if sys.byteorder == "little" and pixels.strides[-1] == 4:
        halves = pixels.view(np.uint16)
        return _or(upper.take(halves[:, 1::2]), lower.take(halves[:, ::2]))
    return _or(upper.take(pixels >> 16), lower.take(pixels & 0xFFFF))


def _or(upper: Wire, lower: Wire) -> Wire:
    # Bytes are what is or-ed: whatever order they have, it is the same on both sides.
    native = upper.dtype.newbyteorder("=")
    return np.bitwise_or(upper.view(native), lower.view(native)).view(upper.dtype)
