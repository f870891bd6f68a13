# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorded processes of this user: found, named, watched, and forgotten some time after.

Rules
 1. A process appears when its recording does. One that is dead when it is first seen is left out,
    unless it was asked for by path or process id.
 2. A dead process is shown with `bql_process_up` 0 for a grace time, so that its last figures are
    scraped, then dropped. A live one that needs its name takes it over at once.
 3. The name of a process is that of its VM, where it has one and no other process goes by it; else
    name and process id. It never changes during the life of a process.
 4. A recording that cannot be used is counted at every scrape and told about once. One that is
    left over, named after a process that is not there any more, is no failure: it may be of a
    layout of before.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from exporters.vm import RecordedVm, VmSample
from profiler.discovery import PROC, recording_directories
from profiler.errors import RecordingError
from profiler.model import Process
from profiler.reader import Recording

GRACE_SECONDS = 300.0


@dataclass(frozen=True)
class World:
    """Where everything is looked for, and how it is told.

    `sources`, if not empty, are the only recordings: paths, or process ids. `log` takes one line.
    """

    directories: tuple[Path, ...] = field(default_factory=lambda: tuple(recording_directories()))
    sources: tuple[str, ...] = ()
    proc: Path = PROC
    now: Callable[[], float] = time.monotonic
    log: Callable[[str], None] = lambda line: None
    per_thread: bool = False
    grace_seconds: float = GRACE_SECONDS


@dataclass(eq=False)
class _Member:
    vm: RecordedVm
    path: Path
    asked_for: bool
    dead_since: float | None = None


Identity = tuple[int, int]  # process id, start time


class Fleet:
    """All recordings that are exported. Not for several threads at once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.failures: Counter[str] = Counter()
        self.rows_read = self.rows_unsettled = 0
        self._members: dict[Identity, _Member] = {}
        self._ignored: dict[Path, tuple[int, int]] = {}  # dead at first sight: inode, change time
        self._told: set[str] = set()

    def close(self) -> None:
        """Close all recordings."""
        for member in self._members.values():
            member.vm.close()
        self._members.clear()

    def fail(self, reason: str, message: str) -> None:
        """Count a failure, and tell about it if that was not done yet."""
        self.failures[reason] += 1
        if message not in self._told:
            if len(self._told) >= 1000:
                self._told.clear()
            self._told.add(message)
            self.world.log(message)

    def processes(self) -> list[tuple[str, Process]]:
        """Names and processes as of the last `refresh` or `samples`."""
        return [(member.vm.vm, member.vm.process) for member in self._members.values()]

    def samples(self) -> tuple[list[VmSample], bool]:
        """All processes as of now, and whether nothing failed."""
        failures = self.failures.total()
        self.refresh()
        found = []
        for member in self._members.values():
            try:
                sample = member.vm.sample()
            except RecordingError as error:
                self.fail("recording", error.message)
                continue
            except (ArithmeticError, ValueError, IndexError) as error:
                # Numbers nobody can calculate with; the other processes are not to suffer for it.
                self.fail("recording", f"{member.path}: damaged: {error}")
                continue
            self.rows_read += sample.table.rows.read
            self.rows_unsettled += sample.table.rows.unsettled
            found.append(sample)
        return found, self.failures.total() == failures

    def refresh(self) -> None:
        """Look who is there."""
        self._forget()
        opened = self._open_asked_for() if self.world.sources else self._open_new()
        for recording, asked_for in sorted(opened, key=lambda each: each[0].process.start_time):
            process = recording.process
            identity = (process.pid, process.start_time)
            if identity in self._members:
                recording.close()
                continue
            vm = RecordedVm(recording, self._name(process), self.world.per_thread)
            self._members[identity] = _Member(vm, process.path, asked_for)

    def _forget(self) -> None:
        """Note who died; drop who was dead for long enough."""
        now = self.world.now()
        for identity, member in list(self._members.items()):
            if member.vm.process.alive:
                continue
            if member.dead_since is None:
                member.dead_since = now
            if now - member.dead_since >= self.world.grace_seconds and not member.asked_for:
                self._drop(identity)

    def _drop(self, identity: Identity) -> None:
        member = self._members.pop(identity)
        with suppress(OSError):
            status = member.path.stat()
            self._ignored[member.path] = (status.st_ino, status.st_ctime_ns)
        member.vm.close()

    def _open_asked_for(self) -> list[tuple[Recording, bool]]:
        known = {str(m.path) for m in self._members.values()}
        known |= {str(m.vm.process.pid) for m in self._members.values()}
        found = []
        for source in self.world.sources:
            if source not in known:
                try:
                    found.append((Recording.open(source, self.world.directories or None), True))
                except RecordingError as error:
                    self.fail("recording", error.message)
        return found

    def _open_new(self) -> list[tuple[Recording, bool]]:
        paths = {member.path for member in self._members.values() if member.dead_since is None}
        found = []
        ignored = {}
        for path, status in self._files():
            stamp = (status.st_ino, status.st_ctime_ns)
            if path in paths:
                continue
            if self._ignored.get(path) == stamp or (
                (recording := self._open(path, status)) is None and self._is_left_over(path)
            ):
                ignored[path] = stamp
            elif recording is not None and recording.process.alive:
                found.append((recording, False))
            elif recording is not None:
                recording.close()
                ignored[path] = stamp
        self._ignored = ignored
        return found

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for directory in self.world.directories:
            for path in sorted(directory.glob("*.bql")):
                with suppress(OSError):
                    yield path, path.stat()

    def _open(self, path: Path, status: os.stat_result) -> Recording | None:
        if status.st_uid not in (os.getuid(), 0):
            self.fail("foreign", f"{path}: a recording of another user")
            return None
        try:
            return Recording.open(path)
        except RecordingError as error:
            if not self._is_left_over(path):
                self.fail("recording", error.message)
            return None

    def _is_left_over(self, path: Path) -> bool:
        pid = path.stem
        return pid.isascii() and pid.isdigit() and not (self.world.proc / pid).exists()

    def _name(self, process: Process) -> str:
        unique = f"{process.vm_name or process.name}-{process.pid}"
        if not process.vm_name:
            return unique
        for identity, member in list(self._members.items()):
            if member.vm.vm == process.vm_name:
                if member.vm.process.alive or not process.alive:
                    return unique
                self._drop(identity)
        return process.vm_name
