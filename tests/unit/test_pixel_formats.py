# SPDX-License-Identifier: GPL-2.0-or-later
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pictures import COMMON_FORMATS, Picture, formats, pictures
from tests.support.rfb_reader import PixelReader, Reader, Values, used_bits, value_of_rgb
from vmm.display.pixels import NATIVE, PixelFormat, convert


def expected(pixels: Picture, fmt: PixelFormat) -> Values:
    wide = pixels.astype(np.uint64)
    channels = [wide >> np.uint64(shift) & np.uint64(255) for shift in (16, 8, 0)]
    red, green, blue = (channel.astype(object) for channel in channels)
    return np.asarray(value_of_rgb(red, green, blue, fmt)).astype(np.uint64)


@given(formats(), pictures())
def test_each_intensity_goes_to_the_nearest_one_of_the_format(
    fmt: PixelFormat, pixels: Picture
) -> None:
    wire = convert(pixels, fmt)
    assert wire.shape == pixels.shape
    assert wire.itemsize * 8 == fmt.bits_per_pixel
    values = PixelReader.pixel(fmt).read(Reader(wire.tobytes()), pixels.size)
    np.testing.assert_array_equal(values.reshape(pixels.shape), expected(pixels, fmt))


def test_the_screens_own_format_costs_no_copy() -> None:
    pixels = np.zeros((2, 3), np.uint32)
    assert convert(pixels, NATIVE) is pixels


def test_pixels_that_are_not_next_to_each_other_convert_too() -> None:
    pixels = np.arange(24, dtype=np.uint32).reshape(4, 6)[:, ::2]
    fmt = PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0)
    np.testing.assert_array_equal(convert(pixels, fmt), convert(pixels.copy(), fmt))


@pytest.mark.parametrize(
    ("fmt", "cpixel", "rgb"),
    [
        (NATIVE, (0, 3), True),
        (PixelFormat(32, 24, True, True, 255, 255, 255, 16, 8, 0), (1, 3), True),
        (PixelFormat(32, 24, False, True, 255, 255, 255, 24, 16, 8), (1, 3), True),
        (PixelFormat(32, 24, True, True, 255, 255, 255, 24, 16, 8), (0, 3), True),
        (PixelFormat(32, 32, False, True, 255, 255, 255, 16, 8, 0), (0, 4), False),
        (PixelFormat(32, 24, False, True, 255, 255, 255, 24, 8, 0), (0, 4), True),
        (PixelFormat(32, 16, False, True, 31, 63, 31, 16, 10, 8), (0, 3), False),
        (PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0), (0, 2), False),
        (PixelFormat(8, 8, False, False, 0, 0, 0, 0, 0, 0), (0, 1), False),
    ],
)
def test_compressed_pixels_are_what_rfc_6143_makes_of_the_format(
    fmt: PixelFormat, cpixel: tuple[int, int], rgb: bool
) -> None:
    assert fmt.cpixel == cpixel
    assert fmt.tpixel_is_rgb == rgb


@given(formats())
def test_a_format_survives_the_wire(fmt: PixelFormat) -> None:
    data = fmt.pack()
    assert len(data) == 16
    assert PixelFormat.parse(data) == fmt
    assert fmt.used_bits == used_bits(fmt)


def test_the_bytes_of_the_usual_format_are_those_of_the_rfc() -> None:
    assert NATIVE.pack().hex() == "20180001" + "00ff00ff00ff" + "100800" + "000000"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({0: 24}, "24 bits per pixel"),
        ({0: 0}, "0 bits per pixel"),
        ({1: 0}, "depth 0"),
        ({1: 33}, "depth 33"),
        ({3: 0}, "a colour map with 32"),
        ({5: 0}, "maximum 0"),
        ({10: 25}, "maximum 255 at bit 25"),
        ({10: 255}, "maximum 255 at bit 255"),
        ({10: 8}, "on top of another"),
    ],
)
def test_a_format_that_cannot_be_is_refused_with_the_reason(
    change: dict[int, int], said: str
) -> None:
    data = bytearray(NATIVE.pack())
    for place, value in change.items():
        data[place] = value
    with pytest.raises(ValueError, match=said):
        PixelFormat.parse(bytes(data))


@given(st.binary(max_size=20) | st.binary(min_size=16, max_size=16))
def test_whatever_a_client_sends_is_a_usable_format_or_an_error(data: bytes) -> None:
    try:
        fmt = PixelFormat.parse(data)
    except ValueError:
        return
    wire = convert(np.array([[0, 0xFFFFFF]], np.uint32), fmt)
    assert wire.nbytes == 2 * fmt.bytes_per_pixel


def test_the_colour_map_says_what_its_pixels_mean() -> None:
    fmt = COMMON_FORMATS[-1]
    assert not fmt.true_colour
    entries = fmt.colour_map()
    assert entries.shape == (256, 3)
    for colour in (0x000000, 0xFFFFFF, 0xFF0000, 0x00FF00, 0x0000FF):
        (number,) = convert(np.array([[colour]], np.uint32), fmt).tobytes()
        shown = [int(level) >> 8 for level in entries[number]]
        assert shown == [colour >> 16, colour >> 8 & 255, colour & 255]
