# SPDX-License-Identifier: GPL-2.0-or-later
"""Histograms of rows, out of the near counts and the spill that a recording keeps them in.

bqlrec_layout.h says why they are not kept plainly, and what counts what.
"""

import numpy as np
import numpy.typing as npt

from profiler import layout
from profiler.layout import Hist
from profiler.recfile import Raw

Column = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]


def counts(rows: Raw, numbers: Indices, hist: Hist, spill: Column) -> Column:
    """A histogram of the rows of these numbers, one in each line.

    `spill` is what the rows have spilled, as in `layout.SPILL`; that of others is not looked at.
    """
    found = np.zeros((len(numbers), layout.BUCKETS), dtype=np.uint64)
    found[:, : layout.NEAR_BUCKETS] = rows["near"][numbers, hist]
    spilled = np.flatnonzero(rows["spills"][numbers])
    found[spilled] += spill[numbers[spilled], hist]
    return found


def totals(rows: Raw, numbers: Indices, spill: Column) -> Column:
    """Sums of the lines of `counts`, sooner: a column for each of Hist."""
    found: Column = rows["near"][numbers].sum(axis=2, dtype=np.uint64)
    spilled = np.flatnonzero(rows["spills"][numbers])
    found[spilled] += spill[numbers[spilled]].sum(axis=2)
    return found
