# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures of a recording, one for each interval, and what goes on between two of them."""

from collections import deque

from profiler.model import LiveState, Snapshot
from profiler.reader import Recording
from profiler.top.model import Holder, Picture, holder_of, picture

HISTORY = 400
"""Intervals that are remembered, more than a screen has columns."""


class Sampler:
    """Takes pictures of an open recording."""

    def __init__(self, recording: Recording) -> None:
        """The first interval starts now. Raises RecordingError."""
        self._recording = recording
        self._last: Snapshot = recording.snapshot()
        self.history: deque[tuple[float, float]] = deque(maxlen=HISTORY)

    @property
    def alive(self) -> bool:
        """Whether the process still ran when the last picture was taken."""
        return self._last.process.alive

    def sample(self) -> Picture:
        """The picture of what happened since the last one. Raises RecordingError."""
        snapshot = self._recording.snapshot()
        result = picture(self._last, snapshot)
        self._last = snapshot
        self.history.append((result.held_ratio, result.wait_ratio))
        return result

    def live(self) -> LiveState:
        """The lock right now. Raises RecordingError."""
        return self._recording.live()

    def holder(self, live: LiveState) -> Holder | None:
        """The holder with the names of the last snapshot."""
        if live.holder is None:
            return None
        return holder_of(self._last, live.holder, live.taken)
