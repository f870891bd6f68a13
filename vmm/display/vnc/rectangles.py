# SPDX-License-Identifier: GPL-2.0-or-later
"""Dirty tiles to rectangles: few, and none that covers a clean tile without need."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TILE = 16
"""Pixels of a tile's side, as QEMU's VNC_DIRTY_PIXELS_PER_BIT."""
MAX_RECTANGLES = 256
"""Beyond that each band of tiles becomes one rectangle: headers and calls would cost more."""

Tiles = NDArray[np.bool_]


class Rect(NamedTuple):
    """Pixels."""

    x: int
    y: int
    width: int
    height: int

    def union(self, other: "Rect") -> "Rect":
        """The smallest rectangle around both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        bottom = max(self.y + self.height, other.y + other.height)
        return Rect(x, y, right - x, bottom - y)


def tile_grid(width: int, height: int, dirty: bool = False) -> Tiles:
    """Tiles of a screen of that many pixels, shape (rows, columns)."""
    return np.full((-(-height // TILE), -(-width // TILE)), dirty)


def tiles_of(area: Rect) -> tuple[slice, slice]:
    """Rows and columns of the tiles that an area touches."""
    rows = slice(area.y // TILE, -(-(area.y + area.height) // TILE))
    columns = slice(area.x // TILE, -(-(area.x + area.width) // TILE))
    return rows, columns


def rectangles(tiles: Tiles, width: int, height: int) -> list[Rect]:
    """Rectangles that cover the dirty tiles, cut to ``width`` and ``height`` pixels."""
    runs = _runs(tiles)
    found = _merge(runs)
    if len(found) > MAX_RECTANGLES:
        found = _merge(_spans(runs))
    cut = (
        Rect(
            x * TILE,
            y * TILE,
            min(end * TILE, width) - x * TILE,
            min(low * TILE, height) - y * TILE,
        )
        for x, y, end, low in found
    )
    return [rect for rect in cut if rect.width > 0 and rect.height > 0]


def _runs(tiles: Tiles) -> list[tuple[int, int, int]]:
    """(row, first column, column after the last) of each run of dirty tiles, row by row."""
    edges = np.diff(tiles, axis=1, prepend=False, append=False)
    rows, columns = np.nonzero(edges)
    return list(zip(rows[::2].tolist(), columns[::2].tolist(), columns[1::2].tolist(), strict=True))


def _spans(runs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """One run for each row, from its first dirty tile to its last."""
    spans: dict[int, tuple[int, int]] = {}
    for row, start, end in runs:
        first, _ = spans.get(row, (start, end))
        spans[row] = (first, end)
    return [(row, start, end) for row, (start, end) in spans.items()]


def _merge(runs: list[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
    """(x, y, right, bottom) in tiles: equal runs of neighbouring rows become one."""
    done: list[tuple[int, int, int, int]] = []
    growing: dict[tuple[int, int], tuple[int, int]] = {}  # columns -> (first row, row after last)
    for row, start, end in runs:
        first, after = growing.get((start, end), (row, row))
        if after != row:  # there is a clean row between
            done.append((start, first, end, after))
            first = row
        growing[start, end] = (first, row + 1)
    done += [(start, first, end, after) for (start, end), (first, after) in growing.items()]
    return sorted(done, key=lambda each: (each[1], each[0]))
