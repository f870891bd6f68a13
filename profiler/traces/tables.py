# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes, clocks, threads and call sites as JSON, to and from the values of profiler.model.

What is read back may be anybody's: each value is checked for type and range, names lose what a
terminal would obey, and all errors are RecordingErrors without a path.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from profiler import decode
from profiler.clock import Clock, ClockPair
from profiler.errors import RecordingError
from profiler.layout import ClockKind, Role
from profiler.model import Integrity, Process, Site, ThreadInfo

_T = TypeVar("_T")
_LARGEST_INDEX = 0xFFFF
_LONGEST_NAME = 300


def number(content: Mapping[str, Any], name: str, largest: int = 2**64 - 1) -> int:
    """A whole number from 0 to `largest`. Raises RecordingError."""
    value = content.get(name)
    if type(value) is not int or not 0 <= value <= largest:
        raise RecordingError(f"damaged: {name} is {str(value)[:40]!r}")
    return value


def text(content: Mapping[str, Any], name: str) -> str:
    """A name without control characters. Raises RecordingError."""
    value = content.get(name)
    if not isinstance(value, str):
        raise RecordingError(f"damaged: {name} is not a text")
    return decode.text(value[:_LONGEST_NAME].encode("utf-8", "replace"))


def section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside an object. Raises RecordingError."""
    value = content.get(name)
    if not isinstance(value, dict):
        raise RecordingError(f"damaged: {name} is missing")
    return value


def entries(
    content: Mapping[str, Any], name: str, of: Callable[[Mapping[str, Any]], _T]
) -> list[_T]:
    """A list of objects, each turned into a value. Raises RecordingError."""
    value = content.get(name, [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise RecordingError(f"damaged: {name} is not a list of objects")
    return [of(entry) for entry in value]


def pair_to_json(pair: ClockPair) -> dict[str, int]:
    """One instant on three clocks."""
    return pair._asdict()


def pair_of(content: Mapping[str, Any]) -> ClockPair:
    """The same back. Raises RecordingError."""
    return ClockPair(*(number(content, name, 2**63 - 1) for name in ClockPair._fields))


def clock_to_json(clock: Clock) -> dict[str, Any]:
    """A clock with its two calibrations."""
    return {
        "kind": clock.kind.name.lower(),
        "start": pair_to_json(clock.start),
        "sync": pair_to_json(clock.sync),
    }


def clock_of(content: Mapping[str, Any]) -> Clock:
    """The same back. Raises RecordingError if it cannot be used."""
    kinds = {kind.name.lower(): kind for kind in ClockKind}
    kind = str(content.get("kind"))
    if kind not in kinds:
        raise RecordingError(f"damaged: clock {kind[:40]!r} does not exist")
    start, sync = (pair_of(section(content, name)) for name in ("start", "sync"))
    return usable_clock(Clock(kinds[kind], start, sync))


def usable_clock(clock: Clock) -> Clock:
    """The same clock. Raises RecordingError if it gives no time."""
    ticks = clock.sync.ticks - clock.start.ticks
    elapsed = clock.sync.monotonic_ns - clock.start.monotonic_ns
    if min(ticks, elapsed) < (clock.kind is ClockKind.TSC):
        raise RecordingError("damaged: its clock runs backwards or stands still")
    return clock


def process_to_json(process: Process) -> dict[str, Any]:
    """Whose lock it is."""
    return {
        "pid": process.pid,
        "start_time": process.start_time,
        "name": process.name,
        "vm_name": process.vm_name,
    }


def process_of(content: Mapping[str, Any], path: Path) -> Process:
    """The same back. Raises RecordingError."""
    return Process(
        path=path,
        pid=number(content, "pid", 2**32 - 1),
        start_time=number(content, "start_time"),
        name=text(content, "name"),
        vm_name=text(content, "vm_name"),
        alive=False,
    )


def thread_to_json(thread: ThreadInfo) -> dict[str, Any]:
    """Who a thread is; not what it recorded."""
    return {
        "index": thread.index,
        "tid": thread.tid,
        "role": thread.role.label,
        "name": thread.name,
        "live": thread.live,
        "incarnations": thread.incarnations,
        "first_seen": thread.first_seen,
        "last_exit": thread.last_exit,
    }


def thread_of(content: Mapping[str, Any]) -> ThreadInfo:
    """The same back. Raises RecordingError."""
    roles = {role.label: role for role in Role}
    role = str(content.get("role"))
    if role not in roles:
        raise RecordingError(f"damaged: role {role[:40]!r} does not exist")
    return ThreadInfo(
        index=number(content, "index", _LARGEST_INDEX),
        tid=number(content, "tid", 2**32 - 1),
        role=roles[role],
        name=text(content, "name"),
        live=content.get("live") is True,
        incarnations=number(content, "incarnations", 2**32 - 1),
        first_seen=number(content, "first_seen"),
        last_exit=number(content, "last_exit"),
        blame_lost=0,
        integrity=Integrity.EXACT,
    )


def site_to_json(site: Site) -> dict[str, Any]:
    """A call site."""
    return {
        "index": site.index,
        "file": site.file,
        "line": site.line,
        "func": site.func,
        "region": site.region,
        "device": site.device,
    }


def site_of(content: Mapping[str, Any]) -> Site:
    """The same back. Raises RecordingError."""
    return Site(
        index=number(content, "index", _LARGEST_INDEX),
        line=number(content, "line", 2**32 - 1),
        **{name: text(content, name) for name in ("file", "func", "region", "device")},
    )


def spans_of(content: Mapping[str, Any], name: str) -> list[tuple[int, int]]:
    """A list of pairs of ticks, each in ascending order. Raises RecordingError."""
    value = content.get(name, [])
    if not isinstance(value, list) or not all(
        isinstance(pair, list)
        and len(pair) == 2
        and all(type(tick) is int for tick in pair)
        and 0 <= pair[0] <= pair[1] < 2**64
        for pair in value
    ):
        raise RecordingError(f"damaged: {name} is not a list of times")
    return [(start, end) for start, end in value]
