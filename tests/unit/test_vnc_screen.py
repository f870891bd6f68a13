# SPDX-License-Identifier: GPL-2.0-or-later
"""The server's copy and its tiles, against plain loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vmm.display.vnc.rectangles import (
    MAX_RECTANGLES,
    TILE,
    Rect,
    rectangles,
    tile_grid,
    tiles_of,
)
from vmm.display.vnc.screen import ServerScreen

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


def grids(seed: int, width: int, height: int, share: float) -> NDArray[np.bool_]:
    grid = tile_grid(width, height)
    return np.random.default_rng(seed).random(grid.shape) < share


@given(SIZES, st.integers(0, 1 << 30), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_rectangles_cover_dirty_tiles_once_and_no_other(
    size: tuple[int, int], seed: int, share: float
) -> None:
    width, height = size[0] * 7, size[1] * 7
    grid = grids(seed, width, height, share)
    painted = np.zeros((height, width), np.int32)
    found = rectangles(grid, width, height)
    for rect in found:
        painted[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += 1
    expected = grid.repeat(TILE, axis=0).repeat(TILE, axis=1)[:height, :width]
    if len(found) < MAX_RECTANGLES // 2:
        np.testing.assert_array_equal(painted, expected)
    assert (painted >= expected).all()
    assert painted.max(initial=0) <= 1


def test_a_full_screen_is_one_rectangle() -> None:
    assert rectangles(tile_grid(100, 50, dirty=True), 100, 50) == [Rect(0, 0, 100, 50)]


def test_a_chessboard_does_not_become_thousands_of_rectangles() -> None:
    grid = tile_grid(1600, 1600)
    grid[::2, ::2] = grid[1::2, 1::2] = True
    found = rectangles(grid, 1600, 1600)
    assert len(found) <= MAX_RECTANGLES
    assert sum(r.width * r.height for r in found) >= grid.sum() * TILE * TILE


def test_rectangles_beyond_a_clients_framebuffer_are_cut() -> None:
    grid = tile_grid(100, 100, dirty=True)
    assert rectangles(grid, 40, 100) == [Rect(0, 0, 40, 100)]
    grid[:, :3] = False
    assert rectangles(grid, 40, 100) == []


@given(SIZES, st.tuples(*[st.integers(0, 90)] * 4))
def test_the_tiles_of_an_area_are_those_it_touches(
    size: tuple[int, int], area: tuple[int, int, int, int]
) -> None:
    width, height = size
    rect = Rect(*area)
    grid = tile_grid(width, height)
    grid[tiles_of(rect)] = True
    for x, y in ((x, y) for x in range(width) for y in range(height)):
        inside = rect.x <= x < rect.x + rect.width and rect.y <= y < rect.y + rect.height
        assert not inside or grid[y // TILE, x // TILE]


def test_the_union_of_two_areas_is_around_both() -> None:
    assert Rect(1, 2, 3, 4).union(Rect(10, 0, 2, 3)) == Rect(1, 0, 11, 6)


@given(SIZES, st.integers(0, 1 << 30), st.integers(0, 20))
def test_only_tiles_that_differ_in_dirty_rows_change(
    size: tuple[int, int], seed: int, changes: int
) -> None:
    width, height = size
    random = np.random.default_rng(seed)
    screen = ServerScreen(width, height)
    pixels = random.integers(0, 1 << 32, (height, width), np.uint32)
    with screen.lock:
        screen.update_locked(pixels, np.ones(height, np.bool_))
        before = screen.area(Rect(0, 0, width, height)).copy()
        np.testing.assert_array_equal(before, pixels & 0xFFFFFF)
        for _ in range(changes):
            pixels[random.integers(height), random.integers(width)] ^= random.choice(
                np.array([0xFF000000, 0x1, 0x800000], np.uint32)
            )
        rows = random.random(height) < 0.5
        tiles = screen.update_locked(pixels, rows)
        after = screen.area(Rect(0, 0, width, height))
        expected = np.where(rows[:, None], pixels & 0xFFFFFF, before)
        np.testing.assert_array_equal(after, expected)
    changed = after != before
    for y, x in np.ndindex(*tiles.shape):
        part = changed[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
        assert tiles[y, x] == part.any()
