# SPDX-License-Identifier: GPL-2.0-or-later
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pictures import Picture, picture, pictures
from tests.support.rfb_decoder import Screen
from tests.support.rfb_reader import DecodeError
from vmm.display.encodings import ClientEncoder, copyrect
from vmm.display.encodings.copyrect import Move, find_scroll
from vmm.display.pixels import NATIVE


def apply(moves: list[Move], old: Picture) -> Picture:
    found = old.copy()
    for move in moves:
        rows = found[move.src_y : move.src_y + move.rows].copy()
        found[move.dst_y : move.dst_y + move.rows] = rows
    return found


def moved_rows(moves: list[Move], old: Picture, new: Picture) -> int:
    """Rows that moves put right; all rows they touch must be right."""
    result = apply(moves, old)
    for move in moves:
        rows = slice(move.dst_y, move.dst_y + move.rows)
        np.testing.assert_array_equal(result[rows], new[rows])
    return sum(move.rows for move in moves)


@pytest.mark.parametrize("distance", [1, 14, 16, -14, 100])
def test_scrolled_text_is_found(distance: int) -> None:
    tall = picture("text", 320, 500, np.random.default_rng(1))
    old, new = tall[150:350], tall[150 + distance : 350 + distance]
    moves = find_scroll(old, new)
    assert moved_rows(moves, old, new) >= 200 - abs(distance) - 28


def test_a_scrolled_window_between_lines_that_stay_is_found() -> None:
    random = np.random.default_rng(2)
    old = picture("text", 320, 240, random)
    new = old.copy()
    new[40:180] = old[54:194]
    new[180:194] = picture("noise", 320, 14, random)
    moves = find_scroll(old, new)
    assert moved_rows(moves, old, new) >= 120
    assert all(move.src_y - move.dst_y == 14 for move in moves)
    np.testing.assert_array_equal(apply(moves, old)[:40], new[:40])


@pytest.mark.parametrize("distance", [20, -20])
def test_no_move_overwrites_the_source_of_a_later_one(distance: int) -> None:
    random = np.random.default_rng(7)
    old = picture("noise", 64, 200, random)
    new = np.roll(old, -distance, axis=0)
    new[95:105] = picture("noise", 64, 10, random)
    moves = find_scroll(old, new)
    assert len(moves) == 2
    assert moved_rows(moves, old, new) == 200 - 20 - 10


@pytest.mark.parametrize("kind", ["solid", "text", "noise"])
def test_a_picture_that_stays_has_no_moves(kind: str) -> None:
    pixels = picture(kind, 64, 64, np.random.default_rng(3))
    assert find_scroll(pixels, pixels.copy()) == []


def test_unlike_pictures_have_no_moves() -> None:
    old, new = (picture("noise", 64, 64, np.random.default_rng(seed)) for seed in (4, 5))
    assert find_scroll(old, new) == []


@given(pictures(), st.integers(-70, 70), st.integers(0, 69), st.integers(0, 69))
def test_what_is_copied_is_always_right(old: Picture, distance: int, first: int, last: int) -> None:
    new = np.roll(old, distance, axis=0)
    new[first : last + 1] = old[first : last + 1]
    moved_rows(find_scroll(old, new), old, new)


def test_pictures_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="pictures of"):
        find_scroll(np.zeros((2, 2), np.uint32), np.zeros((2, 3), np.uint32))


def test_a_copy_arrives() -> None:
    pixels = picture("noise", 50, 40, np.random.default_rng(6))
    screen = Screen(50, 40, NATIVE)
    for rect in ClientEncoder().encode(pixels, 0, 0, 0, NATIVE, None, 9, False):
        screen.draw(rect)
    screen.draw(copyrect.encode(0, 10, 5, 0, 20, 30))
    np.testing.assert_array_equal(screen.values[:30, 5:25], pixels[10:40, :20])
    with pytest.raises(DecodeError):
        screen.draw(copyrect.encode(31, 10, 5, 0, 20, 30))


def test_letters_whose_rows_come_twice_are_found_as_well() -> None:
    rows = np.random.default_rng(5).integers(0, 1 << 24, (40, 50), np.uint32)
    old = np.repeat(rows, 2, axis=0)
    new = np.concatenate([old[16:], np.zeros((16, 50), np.uint32)])
    assert find_scroll(old, new) == [Move(16, 0, 64)]
