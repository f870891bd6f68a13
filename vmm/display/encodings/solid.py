# SPDX-License-Identifier: GPL-2.0-or-later
"""How Tight cuts an area up: large parts of one colour, and strips of what is left.

A part of one colour costs four bytes instead of a stretch of deflated zeros, and keeps its colour
out of its neighbours' palettes. Parts are found on the map of 16x16 tiles (``rfb_solid_tiles``):
row by row, the first tile from which a large enough rectangle of tiles of one colour extends. The
area then falls into what is above, to the left of, to the right of and below that rectangle, and
those are searched in turn. Strips end where rows of two colours begin or end: those take one bit a
pixel instead of eight, and lines of text of several colours are two-coloured one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmm._native import lib
from vmm.display.encodings.kernel import Picture, describe, solid_tiles, strip_rows
from vmm.display.pixels import Pixels

MAX_WIDTH = 2048
"""Of a Tight rectangle, in pixels: a limit of the protocol."""
MAX_PIXELS = 65536
"""Of a strip: as QEMU's (``max_rect_size``), a screen's worth of colours is not one palette."""
MIN_SOLID_TILES = 8
"""2048 pixels: below that a rectangle's header outweighs what it saves (QEMU has the same)."""
MIN_SPLIT_PIXELS = 4096
MIN_MONO_ROWS, MIN_MONO_PIXELS = 8, 2048
"""What makes rows of two colours a strip of their own."""
MAX_SOLID = 4096
"""Rectangles of one colour in one area: an update counts its rectangles in 16 bits."""

Tiles = NDArray[np.int64]


@dataclass(frozen=True)
class Area:
    """A rectangle in pixels of the picture it is cut from."""

    x: int
    y: int
    width: int
    height: int

    def of_pixels(self, pixels: Pixels) -> Pixels:
        """A view of that part."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]

    def of(self, picture: Picture) -> Picture:
        """That part of a picture, sharing its memory."""
        native = picture.native
        wire = (native.wire_offset, native.wire_bytes)
        part = self.of_pixels(picture.pixels)
        return describe(part, native.mask, wire, swap=bool(native.swap))


def split(picture: Picture) -> Iterator[Area]:
    """Cut a picture into parts that cover it, in the order in which they are to be sent."""
    height, width = picture.pixels.shape
    if width * height < MIN_SPLIT_PIXELS:
        yield from _strips(picture, Area(0, 0, width, height))
        return
    search = _Search(solid_tiles(picture))
    side = lib.RFB_TIGHT_SIDE
    for tiles, is_solid in search.parts():
        x, y = tiles.x * side, tiles.y * side
        area = Area(x, y, min(tiles.width * side, width - x), min(tiles.height * side, height - y))
        yield from _columns(area) if is_solid else _strips(picture, area)


def _columns(area: Area) -> Iterator[Area]:
    for x in range(0, area.width, MAX_WIDTH):
        yield Area(area.x + x, area.y, min(MAX_WIDTH, area.width - x), area.height)


def _strips(picture: Picture, area: Area) -> Iterator[Area]:
    for column in _columns(area):
        most = MAX_PIXELS // column.width
        least = max(MIN_MONO_ROWS, MIN_MONO_PIXELS // column.width)
        y, end = column.y, column.y + column.height
        while y < end:
            rest = Area(column.x, y, column.width, end - y)
            rows = strip_rows(rest.of(picture), most, least)
            yield Area(column.x, y, column.width, rows)
            y += rows


class _Search:
    """Finds the large rectangles of one colour on a map of tiles; areas are in tiles here."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self._runs = _runs_to_the_right(tiles)
        self._budget = MAX_SOLID

    def parts(self) -> Iterator[tuple[Area, bool]]:
        """Areas that cover the map, and whether each is of one colour."""
        rows, columns = self._tiles.shape
        waiting = [Area(0, 0, columns, rows)]
        while waiting:
            area = waiting.pop()
            solid = self._first_solid(area) if self._budget else None
            if solid is None:
                yield area, False
                continue
            self._budget -= 1
            above, left, right, below = _around(area, solid)
            yield from ((part, False) for part in (above, left) if part.width and part.height)
            yield solid, True
            waiting += [part for part in (below, right) if part.width and part.height]

    def _first_solid(self, area: Area) -> Area | None:
        """The first large rectangle of one colour, row by row."""
        runs = self._runs[area.y : area.y + area.height, area.x : area.x + area.width]
        # The least that a rectangle starting here could be, if it went down to the end.
        left = np.minimum(runs, area.width - np.arange(area.width))
        reach = left * (area.height - np.arange(area.height))[:, None]
        ys, xs = np.nonzero(reach >= MIN_SOLID_TILES)
        for y, x in zip(ys.tolist(), xs.tolist(), strict=True):
            found = self._grow(area, area.x + x, area.y + y)
            if found is not None:
                return found
        return None

    def _grow(self, area: Area, x: int, y: int) -> Area | None:
        """The largest rectangle of the colour of tile (x, y) that has its corner there."""
        end = area.y + area.height
        same = self._tiles[y:end, x] == self._tiles[y, x]
        heights = same.size if same.all() else int(same.argmin())
        widths = np.minimum(self._runs[y : y + heights, x], area.x + area.width - x)
        widths = np.minimum.accumulate(widths)
        sizes = widths * np.arange(1, heights + 1)
        best = int(sizes.argmax())
        if sizes[best] < MIN_SOLID_TILES:
            return None
        return Area(x, y, int(widths[best]), best + 1)


def _around(area: Area, hole: Area) -> tuple[Area, Area, Area, Area]:
    """What is above, left, right of and below a hole; parts may be empty."""
    bottom = hole.y + hole.height
    right = hole.x + hole.width
    return (
        Area(area.x, area.y, area.width, hole.y - area.y),
        Area(area.x, hole.y, hole.x - area.x, hole.height),
        Area(right, hole.y, area.x + area.width - right, hole.height),
        Area(area.x, bottom, area.width, area.y + area.height - bottom),
    )


def _runs_to_the_right(tiles: Tiles) -> Tiles:
    """For each tile of one colour, how many such tiles follow it in its row, itself included."""
    runs = np.zeros_like(tiles)
    following = np.zeros(tiles.shape[0], np.int64)
    after = np.full(tiles.shape[0], -1, np.int64)
    for x in range(tiles.shape[1] - 1, -1, -1):
        colour = tiles[:, x]
        following = np.where(colour == after, following, 0) + 1
        following[colour < 0] = 0
        runs[:, x] = following
        after = colour
    return runs
