# SPDX-License-Identifier: GPL-2.0-or-later
"""CopyRect for one client: what it already has, somewhere else on its screen, is not sent again.

Runs where encoding runs, in the worker off the BQL: it takes a copy of what the client has, and
finding a move costs some milliseconds. Used for a job that brings the client up to date as a whole,
when much has changed; after moves were looked for in vain, some jobs pass without a look.
"""

import numpy as np

from vmm.display.encodings import copyrect
from vmm.display.encodings.rect import EncodedRect
from vmm.display.pixels import Pixels
from vmm.display.vnc.rectangles import TILE, Rect, Tiles, rectangles, tile_grid

MAX_PIXELS = 1 << 22
"""Of a screen; a copy of a larger one for each client is too much."""
MIN_SHARE = 4
"""At least one part in so many of the screen must have changed."""
MAX_SKIPPED = 32
"""Jobs without a look after a long time without a move."""


class ScrollTracker:
    """A client's screen as the server believes it to be. One thread at a time, like its encoder."""

    def __init__(self) -> None:
        self._known: Pixels | None = None
        self._misses = 0
        self._skip = 0

    def split(
        self, new: Pixels, parts: list[Rect], fresh: bool, complete: bool
    ) -> tuple[list[EncodedRect], list[Rect]]:
        """Moves that come first, and what is still to be encoded then.

        Args:
            new: the whole screen.
            parts: what would be encoded without any move.
            fresh: what the client had is lost, in part or as a whole.
            complete: after these parts the client has all of ``new``.
        """
        if fresh or self._known is None or self._known.shape != new.shape:
            self._start(new, parts)
            return [], parts
        moves: list[EncodedRect] = []
        if complete and self._is_worth_a_look(new, parts):
            moves = self._move(self._known, new)
        if moves:
            parts = _differences(self._known, new)
        for rect in parts:
            place = np.s_[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
            self._known[place] = new[place]
        return moves, parts

    def _start(self, new: Pixels, parts: list[Rect]) -> None:
        height, width = new.shape
        whole = parts == [Rect(0, 0, width, height)] and new.size <= MAX_PIXELS
        self._known = new.copy() if whole else None

    def _is_worth_a_look(self, new: Pixels, parts: list[Rect]) -> bool:
        if sum(rect.width * rect.height for rect in parts) * MIN_SHARE < new.size:
            return False
        if self._skip:
            self._skip -= 1
            return False
        return True

    def _move(self, known: Pixels, new: Pixels) -> list[EncodedRect]:
        found = copyrect.find_scroll(known, new)
        self._misses = 0 if found else self._misses + 1
        self._skip = min(2**self._misses - 1, MAX_SKIPPED) if self._misses < 16 else MAX_SKIPPED
        width = known.shape[1]
        moves = []
        for src, dst, rows in found:
            known[dst : dst + rows] = known[src : src + rows].copy()
            moves.append(copyrect.encode(0, src, 0, dst, width, rows))
        return moves


def _differences(known: Pixels, new: Pixels) -> list[Rect]:
    height, width = new.shape
    grid = tile_grid(width, height)
    padded = np.zeros((grid.shape[0] * TILE, grid.shape[1] * TILE), np.bool_)
    np.not_equal(known, new, out=padded[:height, :width])
    blocks = padded.reshape(grid.shape[0], TILE, grid.shape[1], TILE)
    tiles: Tiles = np.logical_or.reduce(blocks, axis=(1, 3))
    return rectangles(tiles, width, height)
