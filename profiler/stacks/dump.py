# SPDX-License-Identifier: GPL-2.0-or-later
"""What py-spy says about the threads of a process, checked: the process may have written anything.

Names end up on terminals and in HTML, so they are printable and not endless. A thread or a frame
that makes no sense is left out; an answer that is no list of threads is an error.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from profiler.errors import UserError

MOST_THREADS = 4096
MOST_FRAMES = 200
LONGEST_NAME = 200
_LARGEST_TID = 1 << 22  # the kernel's limit of process ids
_LARGEST_LINE = 10_000_000


class StackError(UserError):
    """Stacks cannot be had: no py-spy, no permission, no Python. One line, with the way out."""


@dataclass(frozen=True)
class Frame:
    """A function that was running. `file` is short, `line` 0 where it is not known."""

    name: str
    file: str
    line: int

    @property
    def label(self) -> str:
        """`function file.py:12`, with the file's name only."""
        place = self.file.rpartition("/")[2]
        if place and self.line:
            place = f"{place}:{self.line}"
        return " ".join(filter(None, (self.name, place)))


@dataclass(frozen=True)
class ThreadStack:
    """A thread and its frames, innermost first; none while it runs no Python."""

    tid: int
    name: str
    owns_gil: bool
    frames: tuple[Frame, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "tid": self.tid,
            "name": self.name,
            "owns_gil": self.owns_gil,
            "frames": [[frame.name, frame.file, frame.line] for frame in self.frames],
        }


def clean(value: object) -> str:
    """A printable text of bounded length out of anything; no text is an empty one."""
    if not isinstance(value, str):
        return ""
    cut = value[:LONGEST_NAME]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)


def number(value: object, largest: int) -> int:
    """An integer from 0 to `largest`, else 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= largest else 0


def parse_dump(data: bytes) -> tuple[ThreadStack, ...]:
    """The threads in the output of `py-spy dump --json`. Raises StackError."""
    try:
        listed = json.loads(data)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise StackError("py-spy printed something that is no list of threads")
    threads = (entry for entry in listed[:MOST_THREADS] if isinstance(entry, Mapping))
    return tuple(
        ThreadStack(
            tid=tid,
            name=clean(entry.get("thread_name")),
            owns_gil=entry.get("owns_gil") is True,
            frames=_frames(entry.get("frames"), "short_filename"),
        )
        for entry in threads
        if (tid := number(entry.get("os_thread_id"), _LARGEST_TID))
    )


def _frames(listed: object, file_key: str) -> tuple[Frame, ...]:
    if not isinstance(listed, list):
        return ()
    return tuple(
        Frame(
            clean(entry.get("name")),
            clean(entry.get(file_key)) or clean(entry.get("filename")),
            number(entry.get("line"), _LARGEST_LINE),
        )
        for entry in listed[:MOST_FRAMES]
        if isinstance(entry, Mapping)
    )


def stack_from_json(entry: object) -> ThreadStack | None:
    """A thread as `ThreadStack.to_json` wrote it; None if it makes no sense."""
    if not isinstance(entry, Mapping):
        return None
    tid, frames = number(entry.get("tid"), _LARGEST_TID), entry.get("frames")
    if not tid or not isinstance(frames, list):
        return None
    return ThreadStack(
        tid=tid,
        name=clean(entry.get("name")),
        owns_gil=entry.get("owns_gil") is True,
        frames=tuple(
            Frame(clean(frame[0]), clean(frame[1]), number(frame[2], _LARGEST_LINE))
            for frame in frames[:MOST_FRAMES]
            if isinstance(frame, list) and len(frame) == 3
        ),
    )
