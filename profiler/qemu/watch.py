# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks after the recording of a QEMU while it runs: finds it, and keeps the device names fresh.

    every tick: which exits does the recording have? (shared memory, QEMU does not notice)
    an address that the map does not cover: ask the monitor for the map, write the names again

Rules
 1. QEMU is asked once when it starts, and again only for addresses that were never asked about,
    not more often than every PAUSE seconds, and at most MOST_ANSWERS times: each answer takes the
    big lock. Firmware maps PCI devices after the start, which is what the later ones are for. A
    QEMU that does not answer is asked less and less often.
 2. The monitor is connected for one question only: an open connection that nobody reads makes QEMU
    collect its events in memory.
 3. Whatever goes wrong here costs names of devices, nothing else.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from profiler.discovery import process_start_time, recording_directories
from profiler.errors import RecordingError, UserError
from profiler.model import Process
from profiler.qemu.mtree import MemoryMap, parse_mtree
from profiler.qemu.qmp import Qmp, QmpError
from profiler.qemu.regions import regions_path, uncovered, write_regions
from profiler.reader import Recording, recording_of

PAUSE = 2.0
MOST_ANSWERS = 16
LONGEST_PAUSE = 60.0
_EAGER, _EARLY, _LATER = 0.02, 0.25, 1.0  # seconds between ticks
_EARLY_SECONDS = 15.0
_RETRY = 0.02  # doubled with each failure: QEMU binds its socket some time before it listens
_OWN_SECONDS = 1.0  # after which another process than the one that was started may be QEMU
_CONNECT_TIMEOUT, _COMMAND_TIMEOUT = 1.0, 2.0


class Watch:
    """The recording of one QEMU. `tick` does what is due and returns seconds until the next."""

    def __init__(
        self,
        socket: Path | None,
        recording: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`socket`: QEMU's private monitor; `recording`: where it was told to record, if it was."""
        self._socket = socket
        self._clock = clock
        self._started = clock()
        self._wall_started = time.time()
        self._told = recording
        self._recording: Recording | None = None
        self._asked: frozenset[str] = frozenset()
        self._answers = self._failures = 0
        self._next_question = 0.0
        self._names: MemoryMap | None = None
        self.peer: int | None = None
        """QEMU's process id by its monitor; a wrapper may have started it as its child."""
        self.problem: str | None = None
        """Why there are no names, or not the latest."""

    @property
    def process(self) -> Process | None:
        """The recorded process and where its recording is, once that is known."""
        return self._recording.process if self._recording else None

    @property
    def names(self) -> int | None:
        """Number of address ranges whose device is known; None without a map."""
        return None if self._names is None else len(self._names)

    def close(self) -> None:
        """Close the recording."""
        if self._recording:
            self._recording.close()
            self._recording = None

    def tick(self, pid: int) -> float:
        """Look once. `pid` is the process that was started."""
        if self._recording is None:
            self._recording = self._find_live(pid)
        if self._recording is not None and self._socket is not None:
            with suppress(RecordingError):
                self._refresh(self._recording)
        if self._recording is None or (self._socket is not None and self._names is None):
            return _EAGER if self._clock() - self._started < _EARLY_SECONDS else _EARLY
        return _EARLY if self._clock() - self._started < _EARLY_SECONDS else _LATER

    def find_ended(self, pid: int) -> Path | None:
        """Where the recording of the process that was started is, after its end."""
        candidates = [directory / f"{pid}.bql" for directory in recording_directories()]
        if self._told is not None:
            candidates = [self._told]
        if self._recording is not None:
            candidates = [self._recording.process.path]
        return next(filter(self._is_new, candidates), None)

    def _is_new(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime > self._wall_started - 1.0
        except OSError:
            return False

    def _find_live(self, pid: int) -> Recording | None:
        for candidate in filter(None, (pid, self._peer_pid(pid))):
            found = recording_of(candidate)
            if found is not None:
                with suppress(RecordingError):
                    return Recording.open(found.path)
        return None

    def _peer_pid(self, pid: int) -> int | None:
        """Who serves the monitor, asked only if the process that was started records nothing."""
        now = self._clock()
        if now < self._started + _OWN_SECONDS or now < self._next_question:
            return None
        if self._socket is None or not self._socket.exists():
            return None
        if self.peer is None or process_start_time(self.peer) is None:
            self._next_question = now + _EARLY
            with suppress(QmpError), self._connect(self._socket) as qmp:
                self.peer = qmp.peer_pid
        return self.peer if self.peer != pid else None

    def _connect(self, socket: Path) -> Qmp:
        return Qmp(str(socket), connect_timeout=_CONNECT_TIMEOUT, command_timeout=_COMMAND_TIMEOUT)

    def _refresh(self, recording: Recording) -> None:
        if self._clock() < self._next_question or self._answers >= MOST_ANSWERS:
            return
        known = self._names or MemoryMap()
        new = uncovered(recording.regions(), known) - self._asked
        if self._names is not None and not new:
            return
        self._ask(recording.process)
        if self.problem is None:
            self._asked |= new

    def _ask(self, process: Process) -> None:
        if self._socket is None or not self._socket.exists():
            return
        try:
            with self._connect(self._socket) as qmp:
                self.peer = qmp.peer_pid
                latest = parse_mtree(qmp.hmp("info mtree -f"))
                self._names = latest.over(self._names) if self._names else latest
                path = regions_path(process.path)
                write_regions(path, process.pid, process.start_time, self._names)
            self.problem, self._failures = None, 0
            self._answers += 1
        except UserError as error:
            self.problem = error.message
            self._failures += 1
        pause = PAUSE if not self._failures else min(_RETRY * 2**self._failures, LONGEST_PAUSE)
        self._next_question = self._clock() + pause
