# SPDX-License-Identifier: GPL-2.0-or-later
"""The dumps of a recording, beside it: `FILE.stacks.jsonl`, a line of JSON for each.

    {"schema": 1, "pid": 4711, "process_start_time": 815, "native": false,
     "begin_ns": …, "end_ns": …,            CLOCK_MONOTONIC; the process may have been slowed then
     "holder": {"thread": 2, "site": 5, "tid": 4713, "name": "CPU 0/KVM", "role": "vcpu",
                "label": "slow-device", "since_ticks": …, "held_ns": …, "hold_ticks": …,
                "same": true, "sleeps_for": "none"},
     "waiters": [{"thread": 0, "site": 1, "tid": …, "name": …, "role": …, "label": …, "ticks": …}],
     "threads": [{"tid": …, "name": …, "owns_gil": …, "frames": [[function, file, line], …]}]}

Rules
 1. The file is ours alone (mode 0600), is never a link, and only grows.
 2. Whoever reads it trusts nothing: a line that is damaged, or of another process, is skipped and
    counted; so is a file of another user than the recording's.
 3. A hold is known by thread, site and `since_ticks`, as in the recording, to the tick.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from profiler.errors import UserError
from profiler.model import Blocked, Process, Role, Who
from profiler.stacks.dump import ThreadStack, clean, number, stack_from_json

SCHEMA = 1
LARGEST = 256 << 20
"""Bytes of a file that are read at most."""

MOST_WAITERS = 4096
_LARGEST_NUMBER = (1 << 64) - 1
_ROLES = {role.label: role for role in Role}
_REASONS = {reason.label: reason for reason in Blocked}


@dataclass(frozen=True)
class Party:
    """A thread at a call site: indices of the recording, and names for people."""

    thread: int
    site: int
    tid: int
    name: str
    role: Role
    label: str

    @property
    def who(self) -> Who:
        """Thread and site."""
        return Who(self.thread, self.site)


@dataclass(frozen=True)
class Hold:
    """The hold that was too long.

    `since_ticks`: when it began; `held_ns`: how long it lasted already when the dump began;
    `hold_ticks`: how long in the end, 0 if that is not known. `same`: it went on after the dump, so
    its stack is of this hold for sure.
    """

    by: Party
    since_ticks: int
    held_ns: int
    hold_ticks: int
    same: bool
    sleeps_for: Blocked


@dataclass(frozen=True)
class Waiter:
    """Somebody who waited `ticks` while it was held."""

    by: Party
    ticks: int


@dataclass(frozen=True)
class Dump:
    """One dump. `begin_ns` and `end_ns` (CLOCK_MONOTONIC) are the window that it disturbed."""

    pid: int
    process_start_time: int
    native: bool
    begin_ns: int
    end_ns: int
    hold: Hold
    waiters: tuple[Waiter, ...]
    threads: tuple[ThreadStack, ...]

    def stack(self, tid: int) -> ThreadStack | None:
        """The stack of a thread; None if py-spy saw none."""
        return next((stack for stack in self.threads if stack.tid == tid), None)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values, as stored."""
        hold = self.hold
        return {
            "schema": SCHEMA,
            "pid": self.pid,
            "process_start_time": self.process_start_time,
            "native": self.native,
            "begin_ns": self.begin_ns,
            "end_ns": self.end_ns,
            "holder": {
                **_party_json(hold.by),
                "since_ticks": hold.since_ticks,
                "held_ns": hold.held_ns,
                "hold_ticks": hold.hold_ticks,
                "same": hold.same,
                "sleeps_for": hold.sleeps_for.label,
            },
            "waiters": [{**_party_json(w.by), "ticks": w.ticks} for w in self.waiters],
            "threads": [stack.to_json() for stack in self.threads],
        }


@dataclass(frozen=True)
class Stored:
    """The dumps of a recording, oldest first, and how many lines were no dump of it."""

    dumps: tuple[Dump, ...] = ()
    skipped: int = 0


def stacks_path(recording: Path) -> Path:
    """Where the dumps for a recording lie."""
    return recording.with_name(f"{recording.name}.stacks.jsonl")


def append_dump(recording: Path, dump: Dump) -> Path:
    """Add a dump; the file's path. Raises UserError."""
    path = stacks_path(recording)
    line = json.dumps(dump.to_json(), ensure_ascii=True, separators=(",", ":")) + "\n"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    with os.fdopen(fd, "ab") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise UserError(f"{path}: not a file of ours; remove it to store stacks there")
        try:
            os.fchmod(fd, 0o600)
            file.write(line.encode())
        except OSError as error:
            raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return path


def read_dumps(process: Process) -> Stored:
    """The dumps beside the recording of a process; none where there is no usable file."""
    try:
        owner = process.path.stat().st_uid
        fd = os.open(
            stacks_path(process.path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        )
    except OSError:
        return Stored()
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (owner, os.geteuid(), 0):
            return Stored()
        lines = file.read(LARGEST).splitlines()
    found = [dump_from_json(line) for line in lines]
    ours = [
        dump
        for dump in found
        if dump is not None
        and (dump.pid, dump.process_start_time) == (process.pid, process.start_time)
    ]
    return Stored(tuple(sorted(ours, key=lambda dump: dump.begin_ns)), len(lines) - len(ours))


def dump_from_json(line: bytes) -> Dump | None:
    """A stored line; None if it is none."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        return None
    hold = _hold(document.get("holder"))
    begin, end = (number(document.get(name), _LARGEST_NUMBER) for name in ("begin_ns", "end_ns"))
    waiters, threads = document.get("waiters"), document.get("threads")
    if hold is None or not isinstance(waiters, list) or not isinstance(threads, list):
        return None
    if not 0 < begin <= end:
        return None
    stacks = (stack_from_json(entry) for entry in threads)
    return Dump(
        pid=number(document.get("pid"), _LARGEST_NUMBER),
        process_start_time=number(document.get("process_start_time"), _LARGEST_NUMBER),
        native=document.get("native") is True,
        begin_ns=begin,
        end_ns=end,
        hold=hold,
        waiters=tuple(filter(None, map(_waiter, waiters[:MOST_WAITERS]))),
        threads=tuple(stack for stack in stacks if stack is not None),
    )


def _party_json(party: Party) -> dict[str, Any]:
    return {**asdict(party), "role": party.role.label}


def _party(entry: object) -> Party | None:
    if not isinstance(entry, Mapping):
        return None
    role = entry.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        return None
    return Party(
        thread=number(entry.get("thread"), 0xFFFF),
        site=number(entry.get("site"), 0xFFFF),
        tid=number(entry.get("tid"), 1 << 22),
        name=clean(entry.get("name")),
        role=_ROLES[role],
        label=clean(entry.get("label")),
    )


def _hold(entry: object) -> Hold | None:
    party = _party(entry)
    if party is None or not isinstance(entry, Mapping):
        return None
    reason = entry.get("sleeps_for")
    return Hold(
        by=party,
        since_ticks=number(entry.get("since_ticks"), _LARGEST_NUMBER),
        held_ns=number(entry.get("held_ns"), _LARGEST_NUMBER),
        hold_ticks=number(entry.get("hold_ticks"), _LARGEST_NUMBER),
        same=entry.get("same") is True,
        sleeps_for=_REASONS.get(reason, Blocked.NONE) if isinstance(reason, str) else Blocked.NONE,
    )


def _waiter(entry: object) -> Waiter | None:
    party = _party(entry)
    if party is None or not isinstance(entry, Mapping):
        return None
    return Waiter(party, number(entry.get("ticks"), _LARGEST_NUMBER))
