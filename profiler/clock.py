# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording's clock: ticks to time and back."""

from dataclasses import dataclass
from typing import NamedTuple

from profiler.layout import ClockKind


class ClockPair(NamedTuple):
    """One instant on three clocks: ticks, CLOCK_MONOTONIC and CLOCK_REALTIME in ns."""

    ticks: int
    monotonic_ns: int
    realtime_ns: int


@dataclass(frozen=True)
class Clock:
    """Conversion of ticks to time, by the two calibration pairs of the recording."""

    kind: ClockKind
    start: ClockPair
    sync: ClockPair

    @property
    def ns_per_tick(self) -> float:
        """Nanoseconds in a tick; 1.0 for the monotonic clock."""
        if self.kind is ClockKind.MONOTONIC:
            return 1.0
        elapsed = self.sync.monotonic_ns - self.start.monotonic_ns
        return elapsed / (self.sync.ticks - self.start.ticks)

    def ns(self, ticks: float) -> float:
        """Length of a duration in nanoseconds."""
        return ticks * self.ns_per_tick

    def seconds(self, ticks: float) -> float:
        """Length of a duration in seconds."""
        return self.ns(ticks) / 1e9

    def monotonic_ns(self, ticks: int) -> int:
        """CLOCK_MONOTONIC of an instant, in ns."""
        return self.sync.monotonic_ns + round(self.ns(ticks - self.sync.ticks))

    def realtime_ns(self, ticks: int) -> int:
        """CLOCK_REALTIME of an instant, in ns since the epoch."""
        return self.sync.realtime_ns + round(self.ns(ticks - self.sync.ticks))

    def ticks_at(self, monotonic_ns: int) -> int:
        """Ticks of an instant given by CLOCK_MONOTONIC in ns."""
        return self.sync.ticks + round((monotonic_ns - self.sync.monotonic_ns) / self.ns_per_tick)
