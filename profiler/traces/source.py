# SPDX-License-Identifier: GPL-2.0-or-later
"""Where acquisitions come from: a file of `bqlscope record`, or a recording's own rings.

Rules
 1. A file is looked through once when it is opened: only chunk headers and tables, so that names
    and totals are known before the first event. Events are read chunk by chunk, any number of
    times, in constant memory.
 2. What is wrong with the head is an error. What is wrong further on ends the file there: what
    came before it is good, and `notes` says what is missing.
 3. Nothing in a file is believed: sizes are bounded before they are allocated, CRCs are checked,
    and after those the contents too, since a CRC only tells accidents from intentions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from profiler.clock import Clock
from profiler.errors import RecordingError
from profiler.model import Process, Site, Snapshot, ThreadInfo
from profiler.reader import Recording
from profiler.recfile import RecordingFile
from profiler.traces import format as fmt
from profiler.traces import tables
from profiler.traces.aggregate import Aggregate
from profiler.traces.batch import Batch, Holes, in_order

__all__ = ["EventFile", "Names", "Rings", "Source", "event_file", "open_source"]


@dataclass(frozen=True)
class Names:
    """Threads and call sites by index."""

    threads: dict[int, ThreadInfo]
    sites: dict[int, Site]

    def thread(self, index: int) -> str:
        """OS name of a thread, `thread N` if it is not known."""
        found = self.threads.get(index)
        return found.label if found else f"thread {index}" if index >= 0 else "(unrecorded)"

    def tid(self, index: int) -> int:
        """OS id of a thread; 0 if it is not known."""
        found = self.threads.get(index)
        return found.tid if found else 0

    def role(self, index: int) -> str:
        """Role of a thread, `other` if it is not known."""
        found = self.threads.get(index)
        return found.role.label if found else "other"

    def site(self, index: int) -> str:
        """Label of a call site, `site N` if it is not known."""
        found = self.sites.get(index)
        return found.label if found else f"site {index}"

    def device(self, index: int) -> str:
        """Device or region of a call site; empty if it has none."""
        found = self.sites.get(index)
        return (found.device or found.region) if found else ""


class Source(ABC):
    """Acquisitions of one process. A context manager."""

    process: Process
    clock: Clock
    names: Names
    began: int
    """Ticks at which recording began."""
    ended: int
    """Ticks at which it ended, as far as known."""
    holes: Holes
    """When acquisitions happened that are not in `batches`."""
    notes: list[str]
    """What a reader of the result should know: gaps, a missing end. Complete after `batches`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the file; values that were read stay valid."""

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """All acquisitions in the order of the lock. Raises RecordingError for damage."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """All figures: those that the recorder counted, or the sum of the events."""

    @property
    @abstractmethod
    def dropped(self) -> int:
        """Acquisitions of which no event is here."""


class Rings(Source):
    """The last events of a recording, and its exact tables."""

    def __init__(self, recording: Recording) -> None:
        """Take over an open recording. Raises RecordingError if it is damaged."""
        with recording:
            self._snapshot = snapshot = recording.snapshot(events=True)
        self.process, self.clock = snapshot.process, snapshot.clock
        self.began, self.ended = snapshot.start, snapshot.taken
        self.names = Names(
            {thread.index: thread for thread in snapshot.threads},
            {site.index: site for site in snapshot.sites},
        )
        self.notes = []
        self.holes = Holes.of(self._missing())
        if self.dropped:
            self.notes.append(
                f"events: the last {sum(len(log.records) for log in snapshot.events.values())}"
                f" of {sum(row.total for row in snapshot.rows)} acquisitions;"
                " `bqlscope record` keeps all of them"
            )

    def _missing(self) -> Iterator[tuple[int, int]]:
        """For each thread the time before the oldest event that its ring holds."""
        for log in self._snapshot.events.values():
            if log.dropped:
                oldest = int(log.records["acquired"][0]) if len(log.records) else self.ended
                yield self.began, max(self.began, oldest)

    def close(self) -> None:
        """Nothing to close: everything was read at once."""

    def batches(self) -> Iterator[Batch]:
        """What the rings still hold."""
        logs = self._snapshot.events.items()
        parts = [Batch.of(index, log.records) for index, log in logs if len(log.records)]
        if parts:
            yield Batch.joined(parts).ordered()

    def snapshot(self) -> Snapshot:
        """The recorder's own counts since it began."""
        return self._snapshot

    @property
    def dropped(self) -> int:
        """Acquisitions that the rings do not hold any more."""
        return sum(log.dropped for log in self._snapshot.events.values())


class EventFile(Source):
    """A file of `bqlscope record`."""

    def __init__(self, file: RecordingFile) -> None:
        """Take over an open file. Raises RecordingError and closes it if it is not usable."""
        self._file = file
        self._chunks: list[tuple[int, bytes, int]] = []  # offset and header, stored size
        self._extents: dict[int, tuple[int, int]] = {}  # first request, last release, by chunk
        self.part = 0
        """Which of the files of one `record --rotate` this is, from 0, the oldest."""
        self.done = 0.0
        """How much of the file the latest `batches` has read, 0 to 1."""
        self._end: dict[str, Any] | None = None
        self._dropped = 0
        self._spans: list[tuple[int, int]] = []
        self.notes = []
        self.names = Names({}, {})
        try:
            with _naming(file):
                self._scan()
        except RecordingError:
            file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    @property
    def dropped(self) -> int:
        """Events that were overwritten before they could be read, or had no ring to go to."""
        return self._dropped

    @property
    def reason(self) -> str | None:
        """Why recording ended, as in `capture.Totals`; None if its recorder was killed."""
        return None if self._end is None else tables.text(self._end, "reason")

    @property
    def rotated(self) -> bool:
        """Whether it is one of several files of a recording, FILE.1 and so on."""
        return self.part > 0 or self.reason == "rotated"

    def batches(self) -> Iterator[Batch]:
        """All events, chunk by chunk."""
        return in_order(self._raw_batches())

    def snapshot(self, watch: Callable[[Batch], None] | None = None) -> Snapshot:
        """The sum of all events; `watch` gets each batch once it is counted.

        The interval begins with the oldest hold: while it lasted nobody else had the lock, so
        everything since then is in the file, though recording began later.
        """
        total = Aggregate(
            self.process, self.clock, self.names.threads, self.names.sites, self.holes
        )
        start = self.began
        for batch in self.batches():
            start = min(start, int(batch.acquired[0]))
            with _naming(self._file):
                total.add(batch)
            if watch is not None:
                watch(batch)
        return total.snapshot(max(start, min(self.began, self.clock.start.ticks)), self.ended)

    def between(self, start: int, end: int) -> Iterator[Batch]:
        """The events whose wait or hold touches this span of ticks, chunk by chunk.

        Reads no chunk again of which an earlier `batches` or `snapshot` saw that it has none.
        """
        for number in range(len(self._chunks)):
            first, last = self._extents.get(number, (0, 2**64))
            if last <= start or first >= end:
                continue
            batch = self._unpacked(number)
            if batch is None:
                return
            yield batch.take((batch.released > start) & (batch.requested < end))

    def _unpacked(self, number: int) -> Batch | None:
        at, header, size = self._chunks[number]
        raw = fmt.unpack(header, self._file.read(at + len(header), size))
        if raw is None:
            return None
        with _naming(self._file):
            return fmt.unpack_events(raw)[1]

    def _raw_batches(self) -> Iterator[Batch]:
        self._forget_reading_notes()
        for number, (at, header, size) in enumerate(self._chunks):
            batch = self._unpacked(number)
            if batch is None:
                self._stop(at, "damaged")
                return
            self.done = (at + len(header) + size) / self._file.size
            if not len(batch):
                continue
            requests = batch.acquired - np.minimum(batch.wait, batch.acquired)
            self._extents[number] = int(requests.min()), int(batch.released.max())
            if self._end is None:
                self.ended = max(self.ended, self._extents[number][1])
            yield batch

    def _forget_reading_notes(self) -> None:
        self.notes = self.notes[: self._scan_notes]

    def _scan(self) -> None:
        header = self._file.read(0, min(fmt.FILE_HEADER.size, self._file.size))
        if len(header) < fmt.FILE_HEADER.size or not header.startswith(fmt.MAGIC):
            raise RecordingError("not a file of `bqlscope record`")
        _, version, _ = fmt.FILE_HEADER.unpack(header)
        if version != fmt.VERSION:
            raise RecordingError(
                f"a file of version {version}; this program reads version {fmt.VERSION}"
            )
        at = fmt.FILE_HEADER.size
        while at < self._file.size and self._end is None:
            following = self._chunk(at)
            if following is None:
                break
            at = following
        if not hasattr(self, "process"):
            raise RecordingError("damaged: it has no head")
        self.holes = Holes.of(self._spans)
        self._count_drops()
        if self._end is None and not self.notes:
            self.notes.append("the recorder was killed: the end is missing, all before it is good")
        if self.rotated:
            self.notes.append(
                f"file {self.part + 1} of a recording in several files; only this one was read"
            )
        self._scan_notes = len(self.notes)

    def _chunk(self, at: int) -> int | None:
        """Look at one chunk; returns where the next one begins, None to stop here."""
        header_size = fmt.CHUNK_HEADER.size
        if at + header_size > self._file.size:
            self._stop(at, "cut off")
            return None
        header = self._file.read(at, header_size)
        kind, size, raw_size, _ = fmt.CHUNK_HEADER.unpack(header)
        if not kind.isalpha() or max(size, raw_size) > fmt.LARGEST_RAW:
            self._stop(at, "damaged")
            return None
        following: int = at + header_size + size
        if following > self._file.size:
            self._stop(at, "cut off")
            return None
        if kind == fmt.EVENTS:
            self._chunks.append((at, header, size))
        elif kind in (fmt.HEAD, fmt.TABLES, fmt.END):
            raw = fmt.unpack(header, self._file.read(at + header_size, size))
            if raw is None:
                self._stop(at, "damaged")
                return None
            self._table(kind, fmt.unpack_json(raw))
        return following

    def _stop(self, at: int, what: str) -> None:
        self.notes.append(f"{what} at byte {at} of {self._file.size}: all before it was read")

    def _table(self, kind: bytes, content: dict[str, Any]) -> None:
        if kind == fmt.HEAD:
            self.process = tables.process_of(tables.section(content, "process"), self._file.path)
            self.clock = tables.clock_of(tables.section(content, "clock"))
            self.began = self.ended = tables.number(content, "began")
            self.part = tables.number(content, "part", 2**32)
        elif not hasattr(self, "process"):
            raise RecordingError("damaged: its first chunk is not the head")
        elif kind == fmt.TABLES:
            for thread in tables.entries(content, "threads", tables.thread_of):
                self.names.threads[thread.index] = thread
            for site in tables.entries(content, "sites", tables.site_of):
                self.names.sites[site.index] = site
            self._spans += tables.spans_of(content, "holes")
            if "sync" in content:
                sync = tables.pair_of(tables.section(content, "sync"))
                self.clock = tables.usable_clock(replace(self.clock, sync=sync))
        else:
            self._end = content
            self.ended = max(self.began, tables.number(content, "ended"))

    def _count_drops(self) -> None:
        if self._end is None:
            return
        per_thread = tables.entries(
            self._end,
            "threads",
            lambda entry: tables.number(entry, "dropped") + tables.number(entry, "lost"),
        )
        self._dropped = sum(per_thread)
        if self._dropped:
            self.notes.append(f"{self._dropped} acquisitions were dropped while recording")


@contextmanager
def _naming(file: RecordingFile) -> Iterator[None]:
    """Put the path before the message of an error that does not name it."""
    try:
        yield
    except RecordingError as error:
        prefix = f"{file.path}: "
        if error.message.startswith(prefix):
            raise
        raise RecordingError(prefix + error.message) from error


def open_source(source: str | Path | int) -> Source:
    """A file of `record`, a recording, or by its number a process that is being recorded.

    Raises RecordingError.
    """
    file = None if isinstance(source, int) else event_file(source)
    return file or Rings(Recording.open(source))


def event_file(source: str | Path) -> EventFile | None:
    """A file of `record`; None if there is none of that name. Raises RecordingError."""
    path = Path(source)
    if not path.exists():
        return None
    file = RecordingFile(path)
    if file.size >= len(fmt.MAGIC) and file.read(0, len(fmt.MAGIC)) == fmt.MAGIC:
        return EventFile(file)
    file.close()
    return None
