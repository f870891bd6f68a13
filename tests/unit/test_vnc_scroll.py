# SPDX-License-Identifier: GPL-2.0-or-later
"""CopyRect: what a client has somewhere else is not sent again, and nothing gets wrong by it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.vnc import COPY_RECT, RAW, Rig, serve
from vmm.display.encodings import copyrect
from vmm.display.pixels import Pixels
from vmm.display.vnc import scroll
from vmm.display.vnc.rectangles import Rect, rectangles, tile_grid
from vmm.display.vnc.scroll import ScrollTracker

WIDTH, HEIGHT = 90, 70
WHOLE = [Rect(0, 0, WIDTH, HEIGHT)]


def noise(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 1 << 24, (HEIGHT, WIDTH), np.uint32)


def scrolled(pixels: Pixels, rows: int, seed: int) -> Pixels:
    """Moved up by some rows, with new ones below."""
    return np.concatenate([pixels[rows:], noise(seed)[:rows]])


@pytest.fixture
def tracker() -> ScrollTracker:
    """Of a client that has ``noise(0)``."""
    made = ScrollTracker()
    assert made.split(noise(0), WHOLE, True, True) == ([], WHOLE)
    return made


def test_a_scroll_is_a_move_and_what_is_new(tracker: ScrollTracker) -> None:
    new = scrolled(noise(0), 16, 1)
    (move,), rest = tracker.split(new, WHOLE, False, True)
    assert (move.y, move.height, move.payload) == (0, HEIGHT - 16, bytes([0, 0, 0, 16]))
    # The tiles that hold the last 16 rows.
    assert rest == [Rect(0, 48, WIDTH, HEIGHT - 48)]


@pytest.mark.parametrize(("fresh", "complete"), [(True, True), (False, False)])
def test_nothing_moves_for_a_client_that_has_lost_or_lacks_something(
    tracker: ScrollTracker, fresh: bool, complete: bool
) -> None:
    new = scrolled(noise(0), 16, 1)
    assert tracker.split(new, WHOLE, fresh, complete) == ([], WHOLE)


def test_a_client_that_has_a_part_only_is_not_tracked() -> None:
    tracker = ScrollTracker()
    part = [Rect(0, 0, WIDTH, 32)]
    assert tracker.split(noise(0), part, True, True) == ([], part)
    assert tracker.split(scrolled(noise(0), 16, 1), WHOLE, False, True) == ([], WHOLE)
    moves, _ = tracker.split(scrolled(scrolled(noise(0), 16, 1), 16, 2), WHOLE, False, True)
    assert moves  # the whole screen in between was enough


def test_after_looks_in_vain_there_are_fewer(
    tracker: ScrollTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []

    def find(old: Pixels, new: Pixels) -> list[object]:
        looks.append(None)
        return []

    monkeypatch.setattr(copyrect, "find_scroll", find)
    for seed in range(200):
        tracker.split(noise(seed), WHOLE, False, True)
    assert 5 <= len(looks) <= 12


def test_a_large_screen_is_not_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scroll, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    tracker = ScrollTracker()
    tracker.split(noise(0), WHOLE, True, True)
    assert tracker.split(scrolled(noise(0), 16, 1), WHOLE, False, True) == ([], WHOLE)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["scroll", "change", "fresh", "partial"]),
        st.integers(-40, 40),
        st.integers(0, 1 << 20),
    ),
    max_size=12,
)


@given(STEPS)
def test_moves_and_the_rest_always_make_the_new_screen(
    steps: list[tuple[str, int, int]],
) -> None:
    tracker, new = ScrollTracker(), noise(0)
    client = np.zeros_like(new)
    for kind, rows, seed in [("fresh", 0, 0), *steps]:
        before = new.copy()
        if kind == "scroll":
            new = np.roll(new, rows, axis=0)
        else:
            new = new.copy()
            y = seed % HEIGHT
            new[y : y + abs(rows)] = noise(seed)[y : y + abs(rows)]
        parts = differences(client, new)
        if kind == "partial":  # the client did not ask for the rest
            parts = parts[:1]
        if kind == "fresh":
            client[:] = 0xDEAD
            parts = WHOLE
        assert before.shape == new.shape
        moves, parts = tracker.split(new, parts, kind == "fresh", kind != "partial")
        for move in moves:
            src = int.from_bytes(move.payload[2:], "big")
            client[move.y : move.y + move.height] = client[src : src + move.height].copy()
        for rect in parts:
            place = np.s_[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
            client[place] = new[place]
        if kind != "partial":
            np.testing.assert_array_equal(client, new)


def differences(old: Pixels, new: Pixels) -> list[Rect]:
    grid = tile_grid(WIDTH, HEIGHT)
    for y, x in np.ndindex(*grid.shape):
        place = np.s_[y * 16 : y * 16 + 16, x * 16 : x * 16 + 16]
        grid[y, x] = not np.array_equal(old[place], new[place])
    return rectangles(grid, WIDTH, HEIGHT)


@pytest.mark.parametrize("copies", [True, False])
def test_a_client_is_sent_moves_if_it_knows_them(tmp_path: Path, copies: bool) -> None:
    async def scenario(rig: Rig) -> None:
        rig.console.noise(1)
        client = await rig.client(RAW, *([COPY_RECT] if copies else []))
        client.request(incremental=False)
        await client.update()
        pixels = rig.console.surface.pixels
        pixels[:-16] = pixels[16:].copy()
        rig.console.fill(0, 44, 100, 16, 0x123456)
        rig.console._dirty[:] = True
        found = await client.pixels()
        assert (COPY_RECT in {each.encoding for each in found}) is copies
        np.testing.assert_array_equal(client.screen, pixels & 0xFFFFFF)
        client.request(incremental=False)  # what it had is lost
        pixels[:-16] = pixels[16:].copy()
        rig.console._dirty[:] = True
        rig.watch.refresh()
        client.screen[:] = 0xDEAD
        while not np.array_equal(client.screen, pixels & 0xFFFFFF):
            await client.update()
            client.request()

    serve(tmp_path, scenario)
