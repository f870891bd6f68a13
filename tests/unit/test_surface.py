# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures in video memory: where they end, and which rows a page has to do with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.display.options import Mode
from vmm.display.surface import Surface, blank, surface_in

PAGE = 4096
VRAM = 16 << 20


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    gap=st.integers(0, 3000),
    pages=st.sets(st.integers(0, 120)),
)
def test_a_row_is_dirty_exactly_when_one_of_its_pixels_is_on_a_dirty_page(
    width: int, height: int, gap: int, pages: set[int]
) -> None:
    vram = np.zeros(124 * 1024, np.uint32)
    mode = Mode(width, height, (width + gap) * 4)
    dirty = np.array([page in pages for page in range(124)])
    rows = surface_in(vram, mode).rows_of_pages(dirty, PAGE)
    expected = [
        any((y * mode.stride + x * 4) // PAGE in pages for x in range(width)) for y in range(height)
    ]
    assert rows.tolist() == expected


def test_a_surface_is_a_view_of_video_memory() -> None:
    vram = np.zeros(1024, np.uint32)
    surface = surface_in(vram, Mode(3, 2, 40))
    vram[10 + 2] = 0x123456
    assert surface.pixels[1, 2] == 0x123456
    assert (surface.width, surface.height) == (3, 2)


@pytest.mark.parametrize(
    "mode",
    [
        Mode(0, 1, 4), Mode(1, 0, 4), Mode(16385, 1, 1 << 17), Mode(1, 16385, 4), Mode(2, 1, 7),
        Mode(2, 1, 4), Mode(2, 1, 9), Mode(1024, 4097, 4096), Mode(1, 2, VRAM // 2 + 4),
        Mode(1, 1, 0), Mode(2**32 - 1, 2**32 - 1, 2**32 - 4), Mode(-1, 1, 4),
    ],
)  # fmt: skip
def test_a_mode_that_is_no_picture_in_the_memory_is_refused(mode: Mode) -> None:
    assert not mode.fits(VRAM)
    with pytest.raises(ValueError, match="does not fit"):
        surface_in(np.zeros(VRAM // 4, np.uint32), mode)


@pytest.mark.parametrize("mode", [Mode(1024, 4096, 4096), Mode(1, 1, 4), Mode(1, 1, VRAM)])
def test_a_mode_may_use_the_memory_to_its_last_byte(mode: Mode) -> None:
    assert mode.fits(VRAM)
    assert surface_in(np.zeros(VRAM // 4, np.uint32), mode).pixels.shape == (
        mode.height,
        mode.width,
    )


def test_a_surface_says_the_shape_it_has() -> None:
    with pytest.raises(ValueError, match="is not the shape of 3x4"):
        Surface(3, 4, np.zeros((3, 4), np.uint32))
    assert not blank(3, 4).pixels.any()
