# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of each piece of time threads waited, over any length of time in constant memory.

Goal: find the stretch of some length in which threads waited longest, in one look at the events of
days. Time is cut into equal pieces; each wait is added to the pieces that it covers, to the tick.
The worst stretch covers parts of one piece more than the worst run of pieces, so it has at most the
waiting of one piece more; the exact stretch is found among the events around the run, which a
second look at the file fetches.

There are at most MOST pieces: when time goes beyond, two become one. With 16 pieces to 50 ms that
begins after 109 minutes, and after 29 hours a piece is longer than 50 ms: then the stretch is the
worst one around the worst piece.

Rejected: an exact search with the waits of the last seconds in memory. A wait is known when it
ends, and may be longer than anything that one would keep.
"""

from typing import Any

import numpy as np

from profiler.traces.batch import Batch, Column

MOST = 1 << 21
"""Pieces; 8 bytes each, and memory only as far as time has come."""

FEWEST = 1 << 10
_BEYOND = 1 << 62
"""No clock comes this far."""


class Waiting:
    """Ticks of waiting from `origin` on, in pieces of `width` ticks (at least 1)."""

    def __init__(self, origin: int, width: int, most: int = MOST) -> None:
        self.width = max(1, width)
        """Ticks of a piece, which grow with the time that there is."""
        self._origin = origin
        self._most = most
        self._whole: Any = np.zeros(min(FEWEST, most), np.int64)  # waits that begin or end in it
        self._steps: Any = np.zeros(len(self._whole), np.int64)  # changes of the number that fill

    def add(self, batch: Batch) -> None:
        """Add the waits of some acquisitions. What no clock can mean is left out."""
        real = batch.contended & (batch.wait > 0) & (batch.wait <= batch.acquired)
        chosen = np.flatnonzero(real & (batch.acquired < _BEYOND))
        acquired = batch.acquired[chosen].astype(np.int64) - self._origin
        request = np.maximum(acquired - batch.wait[chosen].astype(np.int64), 0)
        inside = acquired > request
        request, acquired = request[inside], acquired[inside]
        if len(request):
            self._reach(int(acquired.max()))
            self._count(request, acquired)

    def _count(self, request: Column, acquired: Column) -> None:
        width = self.width
        first, last = request // width, acquired // width
        np.add.at(self._whole, first, np.minimum(acquired, (first + 1) * width) - request)
        further = np.flatnonzero(last > first)
        first, last = first[further], last[further]
        np.add.at(self._whole, last, acquired[further] - last * width)
        np.add.at(self._steps, first + 1, 1)
        np.add.at(self._steps, last, -1)

    def _reach(self, instant: int) -> None:
        """Have pieces up to this instant."""
        while instant // self.width >= self._most:
            filled = self._filled()
            filled = np.pad(filled, (0, len(filled) % 2))
            self._whole = np.pad(filled[::2] + filled[1::2], (0, len(filled) // 2))
            self._steps = np.zeros(len(self._whole), np.int64)
            self.width *= 2
        needed = instant // self.width + 1
        if needed > len(self._whole):
            more = min(self._most, max(needed, 2 * len(self._whole))) - len(self._whole)
            self._whole = np.pad(self._whole, (0, more))
            self._steps = np.pad(self._steps, (0, more))

    def _filled(self) -> Column:
        """Ticks of waiting in each piece."""
        filled: Column = self._whole + np.cumsum(self._steps) * self.width
        return filled

    def worst(self, length: int) -> tuple[int, int] | None:
        """Begin and end of the pieces that cover `length` ticks with the most waiting, in ticks.

        The first ones of several; None if nobody waited.
        """
        pieces = min(-(-length // self.width), len(self._whole))
        before = np.concatenate(([0], np.cumsum(self._filled())))
        waited = before[pieces:] - before[:-pieces]
        first = int(waited.argmax())
        if not waited[first]:
            return None
        start = self._origin + first * self.width
        return start, start + pieces * self.width
