# SPDX-License-Identifier: GPL-2.0-or-later
"""The C kernels (``rfb_*.h``), called with numpy arrays; each call gives the GIL up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmm._native import ffi, lib
from vmm.display.encodings.rect import Payload
from vmm.display.pixels import RGB_MASK, PixelFormat, Pixels, Wire, convert

Bytes = NDArray[np.uint8]
MIN_VIEW = 1 << 16
"""Bytes from which on a copy costs more than the next taker's new buffer."""


class Scratch:
    """A buffer that grows to what was needed once, so that pages are not faulted in each time.

    Results of some size are handed out as views of it (``payload``). As long as anybody holds such
    a view, the buffer stays with them and the next taker gets another one: a bytearray refuses to
    change its length while it is looked at.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, size: int) -> Bytes:
        """At least ``size`` bytes of no particular content, valid until the next call."""
        try:
            self._buffer.append(0)
            del self._buffer[-1]
        except BufferError:
            self._buffer = bytearray()
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        return np.frombuffer(self._buffer, np.uint8)


def payload(found: Bytes) -> Payload:
    """What was written to a ``Scratch``, to be kept: itself, or a copy if that is cheaper."""
    return found.tobytes() if found.size < MIN_VIEW else found.data


@dataclass(frozen=True)
class Picture:
    """Pixels in memory together with what C needs to know of them; not empty."""

    pixels: Wire
    """Keeps the memory alive that ``native`` points to."""
    native: Any
    """``RfbPixels *``."""

    @property
    def wire_bytes(self) -> int:
        """Bytes of one pixel on the wire."""
        return int(self.native.wire_bytes)


def describe(pixels: Wire, mask: int, wire: tuple[int, int], *, swap: bool = False) -> Picture:
    """Pixels for C: see ``RfbPixels`` for ``mask``, ``wire`` (offset, bytes) and ``swap``."""
    if pixels.strides[1] != pixels.itemsize or pixels.strides[0] < 0:
        pixels = np.ascontiguousarray(pixels)
    native = ffi.new("RfbPixels *")
    native.data = ffi.cast("const void *", pixels.__array_interface__["data"][0])
    native.height, native.width = pixels.shape
    # The distance of rows that are not there may be anything.
    native.stride = max(pixels.strides[0], pixels.shape[1] * pixels.itemsize)
    native.elem, native.mask, native.swap = pixels.itemsize, mask, swap
    native.wire_offset, native.wire_bytes = wire
    return Picture(pixels, native)


def as_pixels(pixels: Pixels, fmt: PixelFormat) -> Picture:
    """A picture whose pixels go onto the wire as PIXEL."""
    return _converted(pixels, fmt, (0, fmt.bytes_per_pixel))


def as_cpixels(pixels: Pixels, fmt: PixelFormat) -> Picture:
    """A picture whose pixels go onto the wire as CPIXEL."""
    return _converted(pixels, fmt, fmt.cpixel)


def as_rgb(pixels: Pixels) -> Picture:
    """A picture whose pixels go onto the wire as red, green, blue."""
    return describe(pixels, RGB_MASK, _RGB, swap=_LITTLE)


def as_tpixels(pixels: Pixels, fmt: PixelFormat) -> Picture:
    """A picture whose pixels go onto the wire as TPIXEL."""
    return as_rgb(pixels) if fmt.tpixel_is_rgb else as_pixels(pixels, fmt)


def _converted(pixels: Pixels, fmt: PixelFormat, wire: tuple[int, int]) -> Picture:
    if not fmt.is_xrgb:
        return describe(convert(pixels, fmt), _ALL, wire)
    # As on the screen, up to the byte order, which C sees to on the way out. The mask applies to
    # the screen's value.
    return describe(pixels, RGB_MASK, wire, swap=not fmt.wire_dtype.isnative)


def hextile(picture: Picture, scratch: Scratch) -> Bytes:
    """Hextile of a picture of PIXELs, in ``scratch``."""
    return _filled(lib.rfb_hextile, picture, scratch, lib.rfb_hextile_bound(picture.native))


def tiles(picture: Picture, side: int, scratch: Scratch) -> Bytes:
    """Tiles of TRLE or, not yet deflated, of ZRLE, in ``scratch``; ``side`` is 16 or 64 pixels."""

    def encode(native: Any, out: Any, size: int) -> int:
        return int(lib.rfb_tiles(native, side, out, size))

    return _filled(encode, picture, scratch, lib.rfb_tiles_bound(picture.native, side))


def pack(picture: Picture, scratch: Scratch) -> Bytes:
    """The pixels as they go onto the wire, in ``scratch``."""
    size = picture.pixels.size * picture.wire_bytes + lib.RFB_SLACK
    return _filled(lib.rfb_pack, picture, scratch, size)


def _filled(
    encode: Callable[[Any, Any, int], int], picture: Picture, scratch: Scratch, size: int
) -> Bytes:
    buffer = scratch.take(size)
    written = encode(picture.native, _pointer("uint8_t *", buffer), buffer.size)
    return buffer[: _checked(written)]


def solid_tiles(picture: Picture) -> NDArray[np.int64]:
    """The colour of each tile of 16x16 pixels, or -1; shape (rows, columns)."""
    side = lib.RFB_TIGHT_SIDE
    rows, columns = (-(-length // side) for length in picture.pixels.shape)
    found = np.empty((rows, columns), np.int64)
    _checked(lib.rfb_solid_tiles(picture.native, _pointer("int64_t *", found), found.size))
    return found


def strip_rows(picture: Picture, max_rows: int, min_rows: int) -> int:
    """How many rows, 1 to ``max_rows``, to encode together: see ``rfb_strip_rows``."""
    return _checked(lib.rfb_strip_rows(picture.native, max_rows, min_rows))


def index_colours(picture: Picture, limit: int, scratch: Scratch) -> tuple[int, bytes, Bytes]:
    """Number the colours of a picture in the order they appear, if they are at most ``limit``.

    Returns:
        How many there are (0: more than ``limit``), themselves as they go onto the wire, and the
        number of each pixel's, in ``scratch``.
    """
    colours = np.empty(limit * picture.wire_bytes + lib.RFB_SLACK, np.uint8)
    numbers = scratch.take(picture.pixels.size)
    count = _checked(
        lib.rfb_index_colours(
            picture.native,
            limit,
            _pointer("uint8_t *", colours),
            colours.size,
            _pointer("uint8_t *", numbers),
            numbers.size,
        )
    )
    if not count:  # and nothing that would keep the buffer from the next taker
        return 0, b"", np.empty(0, np.uint8)
    return count, colours[: count * picture.wire_bytes].tobytes(), numbers[: picture.pixels.size]


def _pointer(kind: str, array: NDArray[Any]) -> Any:
    return ffi.cast(kind, array.__array_interface__["data"][0])


def _checked(result: int) -> int:
    if result < 0:
        raise ValueError(f"a picture that cannot be encoded (error {-result})")
    return result


_ALL = 0xFFFFFFFF
_LITTLE = bool(np.little_endian)
_RGB = (1, 3)
"""Behind the unused byte of a pixel, once its bytes are in big-endian order."""
