# SPDX-License-Identifier: GPL-2.0-or-later
"""CopyRect (RFC 6143 section 7.7.2), and a detector of what it is good for: vertical scrolling."""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmm.display.encodings.numbers import COPYRECT
from vmm.display.encodings.rect import EncodedRect
from vmm.display.pixels import Pixels

MIN_ROWS = 8
"""Fewer rows that moved are not worth a rectangle of their own."""
_ROWS_TOGETHER = 4
_PRIMES = (1, 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
_SEED = 1  # of the rows' weights: any will do, but the same each time


class Move(NamedTuple):
    """Rows that are now at ``dst_y`` and were at ``src_y``; counts and places in pixels."""

    src_y: int
    dst_y: int
    rows: int


def encode(src_x: int, src_y: int, x: int, y: int, width: int, height: int) -> EncodedRect:
    """A rectangle at (x, y) that the client copies from (src_x, src_y) of its own screen.

    Raises:
        struct.error: a place that does not fit 16 bits.
    """
    return EncodedRect(x, y, width, height, COPYRECT, struct.pack(">HH", src_x, src_y))


def find_scroll(old: Pixels, new: Pixels) -> list[Move]:
    """Find rows of one picture that are whole rows of another one, all moved by one distance.

    Rows are compared by a checksum first, then exactly, so a move is never wrong. Rows that look
    like others of the same picture do not vote on the distance: blank lines are everywhere.

    Args:
        old: what the client has; of the same shape as ``new``.
        new: what it should have.

    Returns:
        Moves of at least ``MIN_ROWS`` rows, in an order in which none overwrites the source of a
        later one; none where nothing moved.

    Raises:
        ValueError: the shapes differ.
    """
    if old.shape != new.shape:
        raise ValueError(f"pictures of {old.shape} and {new.shape}")
    changed = (old != new).any(axis=1)
    if np.count_nonzero(changed) < MIN_ROWS:
        return []
    distance = _distance(_checksums(old), _checksums(new), changed)
    if not distance:
        return []
    height = new.shape[0]
    start, end = max(0, -distance), min(height, height - distance)
    same = np.zeros(height, np.bool_)
    same[start:end] = (new[start:end] == old[start + distance : end + distance]).all(axis=1)
    # Without this, unchanged rows that also look like the ones further on would be copied.
    moves = [Move(first + distance, first, rows) for first, rows in _runs(same, changed)]
    return moves if distance > 0 else moves[::-1]


def _checksums(pixels: Pixels) -> NDArray[np.uint32]:
    weights = np.random.default_rng(_SEED).integers(1, 1 << 32, pixels.shape[1], np.uint32)
    rows: NDArray[np.uint32] = pixels @ weights
    # With the rows below it, one of two equal rows of a letter is told from the other.
    found = rows.copy()
    for below in range(1, _ROWS_TOGETHER):
        found += np.roll(rows, -below) * np.uint32(_PRIMES[below])
    return found


def _distance(old: NDArray[np.uint32], new: NDArray[np.uint32], changed: NDArray[np.bool_]) -> int:
    """How much further down most of the changed rows were; 0 where too few agree."""
    unique_old, places_old, count_old = np.unique(old, return_index=True, return_counts=True)
    unique_new, places_new, count_new = np.unique(new, return_index=True, return_counts=True)
    _, at_old, at_new = np.intersect1d(unique_old, unique_new, True, return_indices=True)
    votes = (count_old[at_old] == 1) & (count_new[at_new] == 1)
    src, dst = places_old[at_old][votes], places_new[at_new][votes]
    distances, numbers = np.unique((src - dst)[changed[dst]], return_counts=True)
    if not numbers.size or numbers.max() < MIN_ROWS // 2:
        return 0
    return int(distances[numbers.argmax()])


def _runs(same: NDArray[np.bool_], changed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First row and length of each long run of rows to copy, most of which really changed."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False]))))
    return [
        (int(first), int(end - first))
        for first, end in edges.reshape(-1, 2)
        if end - first >= MIN_ROWS and np.count_nonzero(changed[first:end]) * 2 >= end - first
    ]
