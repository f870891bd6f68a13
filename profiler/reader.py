# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads recordings: of a running process, without its help or notice, or left over by a dead one.

Goal: a frozen, consistent copy of what the recorder wrote, from a file that changes while it is
read, that may be damaged, and whose writer may have died at any instruction. The writer never
waits, and the reader always ends.

    file (recfile) -> parts (geometry) -> raw copies (thread_copy) -> values (decode) -> Snapshot
    memory map of a QEMU, if somebody wrote it down (qemu.regions) -> names of devices

Every number that comes out of the file is checked against the file's real size or the capacity
it indexes before it is used. What is wrong raises RecordingError, in one line with the path.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from profiler import decode, layout
from profiler.discovery import (
    maps_file,
    process_start_time,
    recording_directories,
    shared_files,
)
from profiler.errors import RecordingError
from profiler.geometry import Geometry
from profiler.layout import FileState, ThreadState
from profiler.live_line import live_state, read_live
from profiler.model import (
    EVENT_DTYPE,
    BlameEntry,
    Clock,
    EventLog,
    Events,
    Integrity,
    LiveState,
    Process,
    Row,
    Site,
    Snapshot,
    ThreadInfo,
)
from profiler.qemu.mtree import MemoryMap
from profiler.qemu.regions import RegionNames, device_of
from profiler.queue_reader import read_queues
from profiler.queues import QueueStats
from profiler.recfile import RecordingFile
from profiler.row_table import RowReader
from profiler.table import HeadReader, Table, read_blame
from profiler.thread_copy import ThreadCopy, attempts, copy_head, copy_thread

__all__ = ["Recording", "find_recordings", "recording_of"]

_EVENTS_HEAD = layout.THREAD.fields["events_head"][1] if layout.THREAD.fields else 0


class Recording:
    """An open recording. A context manager; `snapshot` may be called again and again."""

    def __init__(self, file: RecordingFile) -> None:
        """Take over an open file. Raises RecordingError and closes it if it is not usable."""
        self._file = file
        try:
            with self._naming_path():
                header = file.record(0, layout.HEADER)
                self._geometry = Geometry.of(header, file.size)
                self._process = Process(
                    path=file.path,
                    pid=int(header["pid"]),
                    start_time=int(header["process_start_time"]),
                    name=decode.text(header["process_name"]),
                    vm_name=decode.text(header["vm_name"]),
                    alive=False,
                )
        except RecordingError:
            file.close()
            raise
        self._names = RegionNames(
            file.path, self._process.pid, self._process.start_time, file.owner
        )
        self._mapped = maps_file(self._process.pid, file.device, file.inode)
        self._rows = RowReader(file, self._geometry)
        self._heads = HeadReader(file, self._geometry)
        self._known_sites: tuple[bytes, MemoryMap, tuple[Site, ...]] = (b"", MemoryMap(), ())
        self._latest = 0  # instant of the last snapshot of a live process
        self._is_copy = int(header["inode"]) not in (0, file.inode & 0xFFFF_FFFF)

    @classmethod
    def open(
        cls, source: str | Path | int, directories: Sequence[Path] | None = None
    ) -> "Recording":
        """Open a recording by path, or by process id in `directories` (default: the recorder's).

        A string of digits is a process id unless a file of that name exists. Raises
        RecordingError.
        """
        if isinstance(source, str) and source.isascii() and source.isdigit():
            source = Path(source) if Path(source).exists() else int(source)
        if isinstance(source, int):
            source = _path_of(source, directories)
        return cls(RecordingFile(Path(source)))

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; snapshots stay valid."""
        self._file.close()

    @property
    def process(self) -> Process:
        """The recorded process, with whether it lives at this moment."""
        return replace(self._process, alive=self._is_alive())

    @property
    def file(self) -> RecordingFile:
        """The open file, for readers of single parts of it."""
        return self._file

    @property
    def geometry(self) -> Geometry:
        """Where those parts lie."""
        return self._geometry

    def clock(self) -> Clock:
        """The clock with its latest calibration. Raises RecordingError."""
        with self._naming_path():
            return decode.clock(self._header(self._is_alive()))

    def threads(self) -> tuple[ThreadInfo, ...]:
        """The threads as of now, without anything they recorded. Raises RecordingError.

        Costs some tens of microseconds for each thread.
        """
        with self._naming_path():
            header = self._file.record(0, layout.HEADER)
            used = range(decode.bounded(header, "threads", self._geometry.threads.capacity))
            heads = ((index, copy_head(self._file, self._geometry, index)) for index in used)
            return tuple(
                decode.thread(index, head, Integrity.EXACT)
                for index, head in heads
                if int(head["state"]) != ThreadState.FREE
            )

    def sites(self, first: int = 0) -> tuple[Site, ...]:
        """The call sites from number `first` on, as of now. Raises RecordingError.

        Costs some tens of microseconds for each.
        """
        with self._naming_path():
            header = self._file.record(0, layout.HEADER)
            count = decode.bounded(header, "sites", self._geometry.sites.capacity)
            return self._sites(count, first)

    def snapshot(self, events: bool = False) -> Snapshot:
        """A frozen copy of the recording as of now, with the threads' event rings if asked for.

        Costs some tens of microseconds for each thread, and about a millisecond for each ring.
        Raises RecordingError if the recording turns out to be damaged.
        """
        with self._naming_path():
            return self._snapshot(events)

    def _snapshot(self, with_events: bool) -> Snapshot:
        alive = self._is_alive()
        header = self._header(alive)
        clock = decode.clock(header)
        closed = int(header["state"]) == FileState.CLOSED
        threads: list[ThreadInfo] = []
        rows: list[Row] = []
        blame: list[BlameEntry] = []
        logs: dict[int, EventLog] = {}
        for index in range(decode.bounded(header, "threads", self._geometry.threads.capacity)):
            copy = copy_thread(self._file, self._geometry, index, alive)
            if self._is_copy and not closed:
                copy = copy.of_an_open_file()
            if int(copy.head["state"]) == ThreadState.FREE:
                continue
            threads.append(decode.thread(index, copy.head, copy.integrity))
            rows += decode.rows_of(copy)
            blame += decode.blame(index, copy.blame)
            logs[index] = self._events(index, copy, with_events)
        live = read_live(self._file, self._geometry.live, alive)
        taken = _taken(clock, threads, logs, int(live["since"]), alive)
        if alive:  # a new calibration may set "now" back by some microseconds
            taken = self._latest = max(taken, self._latest)
        return Snapshot(
            process=replace(self._process, alive=alive),
            clock=clock,
            enabled=bool(header["enabled"]),
            closed=closed,
            start=clock.start.ticks,
            taken=taken,
            threads=tuple(threads),
            sites=self._sites(decode.bounded(header, "sites", self._geometry.sites.capacity)),
            rows=tuple(rows),
            blame=tuple(blame),
            events=logs,
            waiters=int(live["waiters"]),
            holder=decode.holder(live),
            losses=decode.losses(header),
            queues=self._queues(header, alive),
        )

    def table(self) -> Table:
        """The recording as of now as arrays: what `snapshot` says but the events, much faster.

        Rows are consistent one by one, see `profiler.row_table`; the next call overwrites them.
        Raises RecordingError if the recording turns out to be damaged.
        """
        with self._naming_path():
            return self._table()

    def _table(self) -> Table:
        alive = self._is_alive()
        header = self._header(alive)
        clock = decode.clock(header)
        count = decode.bounded(header, "threads", self._geometry.threads.capacity)
        used_rows = decode.bounded(header, "rows", self._geometry.rows.capacity)
        rows = self._rows.read(count, used_rows, alive)
        heads = [self._heads.read(index, alive) for index in range(count)]
        blame, owners = read_blame(self._file, self._geometry, [head.blames for head in heads])
        threads = [head.thread for head in heads if head.thread is not None]
        live = read_live(self._file, self._geometry.live, alive)
        return Table(
            process=replace(self._process, alive=alive),
            clock=clock,
            enabled=bool(header["enabled"]),
            closed=int(header["state"]) == FileState.CLOSED,
            taken=_taken(clock, threads, {}, int(live["since"]), alive),
            blocks=count,
            threads=tuple(threads),
            sites=self._sites(decode.bounded(header, "sites", self._geometry.sites.capacity)),
            rows=rows,
            blame=blame,
            blame_threads=owners,
            waiters=int(live["waiters"]),
            holder=decode.holder(live),
            losses=decode.losses(header),
            queues=self._queues(header, alive),
            events_lost=sum(head.events_lost for head in heads),
        )

    def _queues(self, header: np.void, alive: bool) -> tuple[QueueStats, ...]:
        part = self._geometry.queues
        return read_queues(self._file, part, decode.bounded(header, "queues", part.capacity), alive)

    def live(self) -> LiveState:
        """Who holds the lock right now, in some tens of microseconds. Raises RecordingError."""
        with self._naming_path():
            alive = self._is_alive()
            clock = decode.clock(self._header(alive))
            return live_state(read_live(self._file, self._geometry.live, alive), clock, alive)

    def regions(self) -> frozenset[str]:
        """The recorded regions as of now, as they are in the file. Raises RecordingError.

        Much cheaper than a snapshot: the table of sites is all that is read.
        """
        with self._naming_path():
            header = self._file.record(0, layout.HEADER)
            count = decode.bounded(header, "sites", self._geometry.sites.capacity)
            part = self._geometry.sites
            raw = self._file.records(part.offset, part, count, layout.SITE)
        return frozenset(decode.text(entry["region"]) for entry in raw if entry["ready"] == 1)

    def names(self) -> MemoryMap:
        """The devices at addresses, as somebody wrote them down; empty if nobody did."""
        return self._names.current()

    def _is_alive(self) -> bool:
        return self._mapped and (process_start_time(self._process.pid) == self._process.start_time)

    def _header(self, alive: bool) -> np.void:
        """The header, its clock pair in one piece. Partner: bqlrec_clock_sync()."""
        at = layout.HEADER.fields["clock_seq"][1] if layout.HEADER.fields else 0
        for _ in attempts(alive):
            before = self._file.u32(at)
            header = self._file.record(0, layout.HEADER)
            if before % 2 == 0 and self._file.u32(at) == before:
                return header
        raise RecordingError("its process was stopped while it set its clock")

    def _sites(self, count: int, first: int = 0) -> tuple[Site, ...]:
        """The sites from `first` on. All are made anew only if any of them or a name is new."""
        part = self._geometry.sites
        names = self._names.current()
        data = self._file.read(part.offset, count * part.stride)
        if self._known_sites[:2] != (data, names):
            raw = np.ndarray((count,), dtype=layout.SITE, buffer=data, strides=(part.stride,))
            found = (decode.site(i, entry) for i, entry in enumerate(raw) if entry["ready"] == 1)
            sites = tuple(replace(site, device=device_of(site.region, names)) for site in found)
            self._known_sites = (data, names, sites)
        known = self._known_sites[2]
        return tuple(site for site in known if site.index >= first) if first else known

    def _events(self, index: int, copy: ThreadCopy, wanted: bool) -> EventLog:
        """The ring up to the count of the copy, without what was overwritten meanwhile."""
        head, lost = int(copy.head["events_head"]), int(copy.head["events_lost"])
        records = np.empty(0, dtype=EVENT_DTYPE)
        if wanted and head:
            records = self._ring(index, head)
        return EventLog(thread=index, records=records, written=head, lost=lost)

    def _ring(self, index: int, head: int) -> Events:
        part = self._geometry.events
        block = self._geometry.threads.at(index)
        raw = self._file.records(block + part.offset, part, min(head, part.capacity), layout.EVENT)
        latest = max(head, self._file.u64(block + _EVENTS_HEAD))
        first = min(head, max(0, latest - part.capacity + 1))
        slots = np.arange(first, head, dtype=np.uint64) % np.uint64(part.capacity)
        return decode.events(raw[slots.astype(np.intp)])

    @contextmanager
    def _naming_path(self) -> Iterator[None]:
        """Put the path before the message of an error that does not name it."""
        try:
            yield
        except RecordingError as error:
            prefix = f"{self._file.path}: "
            if error.message.startswith(prefix):
                raise
            raise RecordingError(prefix + error.message) from error


def find_recordings(directories: Sequence[Path] | None = None) -> list[Process]:
    """The recordings in these directories (default: the recorder's), those of live ones first.

    What cannot be opened as a recording is left out: it is somebody else's, or not finished yet.
    """
    found = []
    for directory in recording_directories() if directories is None else directories:
        for path in sorted(directory.glob("*.bql")):
            with suppress(RecordingError), Recording.open(path) as recording:
                found.append(recording.process)
    return sorted(found, key=lambda process: (not process.alive, process.pid))


def recording_of(pid: int) -> Process | None:
    """The recording that a running process writes, wherever it lies; None if there is none."""
    for path in filter(Path.is_file, shared_files(pid)):
        with suppress(RecordingError), Recording.open(path) as recording:
            process = recording.process
            if process.pid == pid and process.alive:
                return process
    return None


def _path_of(pid: int, directories: Sequence[Path] | None) -> Path:
    searched = recording_directories() if directories is None else directories
    for directory in searched:
        path = directory / f"{pid}.bql"
        if path.exists():
            return path
    elsewhere = recording_of(pid) if directories is None else None
    if elsewhere is not None:
        return elsewhere.path
    places = ", ".join(str(directory) for directory in searched)
    raise RecordingError(f"process {pid} has no recording in {places}")


def _taken(
    clock: Clock,
    threads: Sequence[ThreadInfo],
    logs: dict[int, EventLog],
    since: int,
    alive: bool,
) -> int:
    """The instant of the copy: now, or the last one that a record nobody writes any more knows."""
    known = [clock.sync.ticks, since]
    known += [thread.last_exit for thread in threads]
    known += [
        int((log.records["acquired"] + log.records["hold"]).max())
        for log in logs.values()
        if len(log.records)
    ]
    if alive:
        known.append(clock.ticks_at(time.monotonic_ns()))
    return max(known)
