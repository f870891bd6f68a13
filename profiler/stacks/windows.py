# SPDX-License-Identifier: GPL-2.0-or-later
"""The time that dumps disturbed, and the acquisitions to leave out of comparisons because of it.

A dump costs the process some milliseconds, and a native one stops all its threads. What was
requested, waited for or held in that window says more about py-spy than about the lock.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from profiler.model import Clock, EventLog, Events, Snapshot
from profiler.stacks.store import Dump

MARGIN_NS = 20_000
"""Added at both ends of a window: more than the recording's clock is off."""


class Window(NamedTuple):
    """CLOCK_MONOTONIC in ns, both ends included."""

    begin_ns: int
    end_ns: int


def windows(dumps: Iterable[Dump]) -> list[Window]:
    """The windows of dumps, in order."""
    return sorted(Window(dump.begin_ns, dump.end_ns) for dump in dumps)


def disturbed(
    events: Events, clock: Clock, disturbances: Iterable[Window]
) -> npt.NDArray[np.bool_]:
    """Which acquisitions overlap a window, from the request to the release."""
    # Signed: a request may lie before the recording's first tick by a rounding.
    released = (events["acquired"] + events["hold"]).astype(np.int64)
    requested = events["acquired"].astype(np.int64) - events["wait"].astype(np.int64)
    hit = np.zeros(len(events), dtype=np.bool_)
    for window in disturbances:
        begin = clock.ticks_at(window.begin_ns - MARGIN_NS)
        end = clock.ticks_at(window.end_ns + MARGIN_NS)
        hit |= (requested <= end) & (released >= begin)
    return hit


@dataclass(frozen=True, eq=False)
class Undisturbed:
    """A snapshot whose events are those that no dump disturbed; `excluded`: how many were."""

    snapshot: Snapshot
    excluded: int


def undisturbed(snapshot: Snapshot, disturbances: Iterable[Window]) -> Undisturbed:
    """Leave out the events that overlap a window.

    Rows, histograms and blame are sums and stay as they are: figures without the disturbed waits
    have to be made from the events. Take the interval first: the result cannot be subtracted from.
    """
    marks = list(disturbances)
    logs: dict[int, EventLog] = {}
    excluded = 0
    for index, log in snapshot.events.items():
        hit = disturbed(log.records, snapshot.clock, marks)
        count = int(hit.sum())
        excluded += count
        kept = log.records[~hit]
        logs[index] = replace(log, records=kept, written=log.written - count)
    return Undisturbed(replace(snapshot, events=logs), excluded)
