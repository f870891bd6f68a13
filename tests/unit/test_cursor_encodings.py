# SPDX-License-Identifier: GPL-2.0-or-later
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pictures import formats
from tests.support.rfb_decoder import Screen, cursor, cursor_with_alpha
from vmm.display.encodings import RAW, ClientEncoder
from vmm.display.encodings.cursor import encode, encode_with_alpha
from vmm.display.pixels import NATIVE, PixelFormat


@given(formats(), st.integers(1, 70), st.integers(1, 64), st.integers(0, 2**32 - 1))
def test_pixels_and_mask_arrive_in_the_clients_format(
    fmt: PixelFormat, width: int, height: int, seed: int
) -> None:
    argb = np.random.default_rng(seed).integers(0, 2**32, (height, width), np.uint32)
    rect = encode(argb, 3, 4, fmt)
    assert (rect.x, rect.y, rect.width, rect.height) == (3, 4, width, height)
    pixels, shown = cursor(rect, fmt)
    np.testing.assert_array_equal(shown, argb >> 24 >= 128)
    screen = Screen(width, height, fmt)
    for raw in ClientEncoder().encode(argb, 0, 0, RAW, fmt, None, 9, False):
        screen.draw(raw)
    np.testing.assert_array_equal(pixels, screen.values)


@pytest.mark.parametrize(
    ("argb", "rgba"),
    [
        (0xFF102030, (0x10, 0x20, 0x30, 0xFF)),
        (0x80FF0010, (0x80, 0, 0x08, 0x80)),
        (0x80030000, (2, 0, 0, 0x80)),
        (0x00FFFFFF, (0, 0, 0, 0)),
    ],
)
def test_alpha_is_multiplied_into_the_intensities(
    argb: int, rgba: tuple[int, int, int, int]
) -> None:
    rect = encode_with_alpha(np.full((2, 3), argb, np.uint32), 1, 0)
    assert (rect.x, rect.y, rect.width, rect.height) == (1, 0, 3, 2)
    assert (cursor_with_alpha(rect) == rgba).all()


def test_a_pointer_without_pixels_hides_it() -> None:
    rect = encode(np.zeros((0, 0), np.uint32), 0, 0, NATIVE)
    assert (rect.width, rect.height, rect.payload) == (0, 0, b"")
