# SPDX-License-Identifier: GPL-2.0-or-later
"""Drains a live recording into files, for as long as one likes.

    while wanted: poll all rings; every 32768 events or every second: one chunk; sleep

Goal: 1 M acquisitions a second on a free core without a drop. A ring holds 16384 events, so one
busy thread gives 16 ms between two polls; everything here is small enough for that. Measured: a
poll takes 1 µs for an idle thread, 15 µs for a busy one and 25 ns for each event; packing a chunk
takes 2 to 4 ms.

Rejected: packing in another thread. Python's lock would be handed over at each system call of the
poll, and each hand-over may take 5 ms while the other one computes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from profiler import layout
from profiler.clock import Clock
from profiler.layout import FileState
from profiler.model import Site, ThreadInfo
from profiler.reader import Recording
from profiler.traces import format as fmt
from profiler.traces import tables
from profiler.traces.batch import Holes
from profiler.traces.files import EventFiles
from profiler.traces.format import Segment
from profiler.traces.rings import Rings

CHUNK_EVENTS = 32768
FLUSH_SECONDS = 1.0
CHECK_SECONDS = 0.05
LONGEST_PAUSE = 0.008
SHORTEST_PAUSE = 0.0005
TARGET_FILL = 0.125
"""The pause aims at this part of the fullest ring being new at the next poll."""


@dataclass(frozen=True)
class Limits:
    """When to end by itself: seconds, and bytes of one file. None: never."""

    duration: float | None = None
    file_size: int | None = None


@dataclass(frozen=True)
class Progress:
    """Where a capture stands. Seconds and bytes; `events` are those in the files."""

    seconds: float
    events: int
    dropped: int
    size: int


@dataclass
class Totals:
    """What a capture came to. `lost` are acquisitions that had no ring to go to.

    `reason`: ended (the process did), closed (it closed its recording), duration, size, stopped.
    """

    reason: str
    seconds: float
    events: int
    dropped: int
    lost: int
    size: int
    files: int

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return dict(vars(self))


@dataclass
class _Pending:
    """Segments that wait for their chunk; runs of one ring that follow each other are joined."""

    segments: dict[int, list[Segment]] = field(default_factory=dict)
    events: int = 0

    def add(self, fresh: list[Segment]) -> None:
        for segment in fresh:
            self.segments.setdefault(segment.thread, []).append(segment)
            self.events += len(segment.raw)

    def take(self) -> list[Segment]:
        merged: list[Segment] = []
        for parts in self.segments.values():
            run = [parts[0]]
            for part in parts[1:]:
                if part.first != run[-1].end:
                    merged.append(_join(run))
                    run = []
                run.append(part)
            merged.append(_join(run))
        self.segments, self.events = {}, 0
        return merged


def _join(run: list[Segment]) -> Segment:
    if len(run) == 1:
        return run[0]
    return Segment(run[0].thread, run[0].first, np.concatenate([part.raw for part in run]))


class Capture:
    """One recording drained into one series of files."""

    def __init__(
        self, recording: Recording, files: EventFiles, limits: Limits, from_start: bool = False
    ) -> None:
        """`from_start`: begin with the oldest events in the rings, else with what comes now."""
        self._recording = recording
        self._files = files
        self._limits = limits
        self._from_start = from_start
        self._lost_before = self._lost()
        if from_start:
            self._lost_before = dict.fromkeys(self._lost_before, 0)
        self._rings = Rings(recording, from_start)
        self._pending = _Pending()
        self._events = 0
        self._threads: dict[int, ThreadInfo] = {}
        self._sites: dict[int, Site] = {}
        self._clock: Clock | None = None
        self._known = (0, 0)  # threads and sites when the tables were written
        self._named = 0.0  # and when that was
        self._began = time.monotonic()
        self._begin_file()

    def run(self, wanted: Callable[[], bool], report: Callable[[Progress], None]) -> Totals:
        """Drain while `wanted()`; `report` is called about ten times a second.

        Raises RecordingError if the recording turns out to be damaged, UserError if a file cannot
        be written.
        """
        flushed = checked = time.monotonic()
        reason = None
        while reason is None:
            began = time.monotonic()
            if began - checked >= CHECK_SECONDS:
                checked = began
                reason = self._reason(began, wanted())
                report(self._progress())
            self._pending.add(self._rings.poll())
            if self._pending.events >= CHUNK_EVENTS or began - flushed >= FLUSH_SECONDS:
                self._flush()
                flushed = began
            if reason is None:
                self._pause(time.monotonic() - began)
        self._flush()
        self._finish_file(reason)
        return self._totals(reason)

    def _reason(self, now: float, wanted: bool) -> str | None:
        """Why to end after one more poll; None to go on."""
        limits = self._limits
        if not self._recording.process.alive:
            return "ended"
        if self._state() == FileState.CLOSED:
            return "closed"
        if not wanted:
            return "stopped"
        if limits.duration is not None and now - self._began >= limits.duration:
            return "duration"
        full = limits.file_size is not None and self._files.size >= limits.file_size
        return "size" if full and not self._files.rotate else None

    def _state(self) -> int:
        return int(self._recording.file.record(0, layout.HEADER)["state"])

    def _pause(self, polled: float) -> None:
        """Sleep until the fullest ring should have as many new events as we want."""
        pause = LONGEST_PAUSE
        if self._rings.fill > TARGET_FILL:
            pause = max(SHORTEST_PAUSE, LONGEST_PAUSE * TARGET_FILL / self._rings.fill - polled)
        time.sleep(pause)

    def _flush(self) -> None:
        used = self._recording.file.record(0, layout.HEADER)
        names = int(used["threads_used"]), int(used["sites_used"])
        due = time.monotonic() - self._named >= FLUSH_SECONDS
        if due or names != self._known or self._rings.holes:
            self._known = names
            self._update_tables()
        if self._pending.events:
            self._events += self._pending.events
            self._files.write(fmt.pack_events(self._pending.take()))
        limit = self._limits.file_size
        if limit is not None and self._files.rotate and self._files.size >= limit:
            self._finish_file("rotated")
            self._files.next_file()
            self._begin_file()

    def _begin_file(self) -> None:
        clock = self._recording.clock()
        from_start = self._from_start and not self._files.part
        head = {
            "format": "bqlscope events",
            "process": tables.process_to_json(self._recording.process),
            "clock": tables.clock_to_json(clock),
            "began": clock.start.ticks if from_start else clock.ticks_at(time.monotonic_ns()),
            "part": self._files.part,
            "columns": fmt.COLUMNS,
        }
        self._files.write(fmt.pack_json(fmt.HEAD, head))
        self._threads, self._sites, self._clock = {}, {}, clock
        self._update_tables()

    def _update_tables(self, everything: bool = False) -> None:
        """Write what is new. Sites never change, but for the names of devices: `everything`.

        Costs some tens of microseconds a thread: not for every chunk.
        """
        self._named = time.monotonic()
        threads = {thread.index: thread for thread in self._recording.threads()}
        first = 0 if everything else len(self._sites)
        sites = {site.index: site for site in self._recording.sites(first)}
        clock = self._recording.clock()
        content: dict[str, Any] = {
            "threads": [
                tables.thread_to_json(thread)
                for thread in threads.values()
                if thread != self._threads.get(thread.index)
            ],
            "sites": [
                tables.site_to_json(site)
                for site in sites.values()
                if site != self._sites.get(site.index)
            ],
        }
        if self._rings.holes:
            holes = Holes.of(self._rings.holes)
            content["holes"] = list(zip(holes.starts.tolist(), holes.ends.tolist(), strict=True))
            self._rings.holes.clear()
        if clock != self._clock:
            content["sync"] = tables.pair_to_json(clock.sync)
        if any(content.values()):
            self._files.write(fmt.pack_json(fmt.TABLES, content))
        self._threads.update(threads)
        self._sites.update(sites)
        self._clock = clock

    def _finish_file(self, reason: str) -> None:
        self._update_tables(everything=True)
        lost = self._lost()
        content = {
            "reason": reason,
            "ended": self._recording.clock().ticks_at(time.monotonic_ns()),
            "threads": [
                {
                    "index": index,
                    "written": self._rings.written(index),
                    "dropped": self._rings.dropped.get(index, 0),
                    "lost": lost.get(index, 0) - self._lost_before.get(index, 0),
                }
                for index in range(self._rings.threads)
            ],
        }
        self._files.write(fmt.pack_json(fmt.END, content))

    def _lost(self) -> dict[int, int]:
        """Acquisitions that had no ring to go to, by thread."""
        file, geometry = self._recording.file, self._recording.geometry
        used = min(int(file.record(0, layout.HEADER)["threads_used"]), geometry.threads.capacity)
        heads = (file.record(geometry.threads.at(i), layout.THREAD) for i in range(used))
        return {index: int(head["events_lost"]) for index, head in enumerate(heads)}

    def _progress(self) -> Progress:
        return Progress(
            seconds=time.monotonic() - self._began,
            events=self._events + self._pending.events,
            dropped=sum(self._rings.dropped.values()),
            size=self._files.written,
        )

    def _totals(self, reason: str) -> Totals:
        progress, lost = self._progress(), self._lost()
        return Totals(
            reason=reason,
            seconds=progress.seconds,
            events=progress.events,
            dropped=progress.dropped,
            lost=sum(lost[i] - self._lost_before.get(i, 0) for i in lost),
            size=progress.size,
            files=self._files.part + 1,
        )
