# SPDX-License-Identifier: GPL-2.0-or-later
"""The event rings of a process, read again and again: each time only what is new.

Rules
 1. The count of a ring is read before its slots and again after them. Slots up to and including
    the second count minus the capacity may have been overwritten meanwhile: they are dropped.
    Partner: the release store of events_head in bqlrec_write_event().
 2. Nothing is lost without a number: events are counted by their writer, so the first number of a
    segment says how many before it were overwritten. When they happened is known too: between the
    release before them and the acquisition after them; `holes` has those times.
 3. One poll costs two system calls for each thread that was busy and one for each that was not. No
    lock, no call into the process.
"""

import time

import numpy as np

from profiler import layout
from profiler.errors import RecordingError
from profiler.reader import Recording
from profiler.recfile import Raw
from profiler.traces.format import Segment

__all__ = ["Rings"]


def _offset(kind: np.dtype[np.void], name: str) -> int:
    assert kind.fields is not None
    return int(kind.fields[name][1])


class Rings:
    """Positions in all event rings of a recording that stays open meanwhile."""

    def __init__(self, recording: Recording, from_start: bool = False) -> None:
        """Begin behind what the rings hold now, or with the oldest that they still hold.

        With `from_start` what was overwritten before counts as dropped.
        """
        self._file = recording.file
        self._threads = recording.geometry.threads
        self._ring = recording.geometry.events
        self._head = _offset(layout.THREAD, "events_head")
        self._used = _offset(layout.HEADER, "threads_used")
        self._next: list[int] = []
        self.dropped: dict[int, int] = {}
        """Events of each thread that were overwritten before they could be read."""
        self.holes: list[tuple[int, int]] = []
        """Times (ticks) of dropped events, until somebody takes them from here."""
        self._released: dict[int, int] = {}
        self._overrun: set[int] = set()
        clock = recording.clock()
        self._since = clock.start.ticks if from_start else clock.ticks_at(time.monotonic_ns())
        self.fill = 0.0
        """Largest part of a ring that was new at the last poll, 0 to 1 and above if it overran."""
        self.began = [] if from_start else self._heads()
        self._next = list(self.began)

    def poll(self) -> list[Segment]:
        """What was written since the last poll, thread by thread. Raises RecordingError."""
        found = []
        self.fill = 0.0
        for thread, head in enumerate(self._heads()):
            if thread == len(self._next):
                self._next.append(0)
            fresh = head - self._next[thread]
            if fresh == 0:
                continue
            if fresh < 0:
                raise self._file.error(f"damaged: the events of thread {thread} run backwards")
            self.fill = max(self.fill, fresh / self._ring.capacity)
            segment = self._read(thread, head)
            lost = segment.first - self._next[thread]
            if lost:
                self.dropped[thread] = self.dropped.get(thread, 0) + lost
                self._overrun.add(thread)
            self._next[thread] = segment.end
            if len(segment.raw):
                self._note_hole(segment)
                found.append(segment)
        return found

    def _note_hole(self, segment: Segment) -> None:
        """Keep when the events before this segment happened, if they were overwritten."""
        thread, first, last = segment.thread, segment.raw[0], segment.raw[-1]
        if thread in self._overrun:
            self._overrun.discard(thread)
            start = self._released.get(thread, self._since)
            self.holes.append((start, max(start, int(first["acquired"]))))
        self._released[thread] = int(last["acquired"]) + int(last["hold"])

    def written(self, thread: int) -> int:
        """Events of a thread since the beginning, dropped ones included."""
        began = self.began[thread] if thread < len(self.began) else 0
        return self._next[thread] - began if thread < len(self._next) else 0

    @property
    def threads(self) -> int:
        """Threads seen so far."""
        return len(self._next)

    def _heads(self) -> list[int]:
        used = self._file.u32(self._used)
        if used > self._threads.capacity:
            raise RecordingError(f"damaged: {used} threads in a table of {self._threads.capacity}")
        first = self._threads.offset + self._head
        return [self._file.u64(first + i * self._threads.stride) for i in range(used)]

    def _read(self, thread: int, head: int) -> Segment:
        capacity = self._ring.capacity
        block = self._threads.at(thread)
        first = max(self._next[thread], head - capacity)
        raw = self._slots(block + self._ring.offset, first, head)
        latest = self._file.u64(block + self._head)
        intact = min(head, max(first, latest - capacity + 1))
        return Segment(thread, intact, raw[intact - first :])

    def _slots(self, ring: int, first: int, end: int) -> Raw:
        """Copies of events [first, end), at most a ring full."""
        capacity, stride = self._ring.capacity, self._ring.stride
        slot, count = first % capacity, end - first
        straight = min(count, capacity - slot)
        data = self._file.read(ring + slot * stride, straight * stride)
        if straight < count:
            data += self._file.read(ring, (count - straight) * stride)
        return np.ndarray((count,), dtype=layout.EVENT, buffer=data, strides=(stride,))
