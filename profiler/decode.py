# SPDX-License-Identifier: GPL-2.0-or-later
"""Raw records to the values of profiler.model; raises RecordingError (without a path) for nonsense.

Names are UTF-8 up to the first zero; bytes that are not are replaced, and control characters too,
because names end up on terminals.
"""

from enum import IntEnum
from typing import TypeVar

import numpy as np

from profiler import layout
from profiler.errors import RecordingError
from profiler.histogram import Histogram
from profiler.layout import Blocked, ClockKind, Kind, Role, ThreadState
from profiler.model import (
    EVENT_DTYPE,
    NOBODY,
    UNRECORDED,
    BlameEntry,
    Clock,
    ClockPair,
    Events,
    Integrity,
    LiveHolder,
    Losses,
    Row,
    Site,
    ThreadInfo,
    Who,
)
from profiler.recfile import Raw
from profiler.thread_copy import RowCopy, ThreadCopy

_Enum = TypeVar("_Enum", bound=IntEnum)


def text(raw: bytes) -> str:
    """A name out of a fixed field."""
    decoded = bytes(raw).partition(b"\0")[0].decode("utf-8", errors="replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in decoded)


def member(kind: type[_Enum], value: int, what: str) -> _Enum:
    """An enumeration's member. Raises RecordingError for a value it does not have."""
    try:
        return kind(value)
    except ValueError:
        raise RecordingError(f"damaged: {what} {value} does not exist") from None


def who(packed: int) -> Who | None:
    """A holder out of its 32-bit form; None for nobody."""
    thread, site = (packed >> 16) - 1, packed & 0xFFFF
    if thread < 0:
        return None
    return Who(None if thread == layout.NO_THREAD else thread, site)


def clock(header: np.void) -> Clock:
    """The clock with its first and its latest calibration. RecordingError if it cannot be used."""
    kind = member(ClockKind, int(header["clock_kind"]), "clock")
    start, sync = (
        ClockPair(
            *(int(header[f"{pair}_{unit}"]) for unit in ("ticks", "monotonic_ns", "realtime_ns"))
        )
        for pair in ("clock_start", "clock")
    )
    ticks, elapsed = sync.ticks - start.ticks, sync.monotonic_ns - start.monotonic_ns
    if min(ticks, elapsed) < 0 or (kind is ClockKind.TSC and min(ticks, elapsed) == 0):
        raise RecordingError("damaged: its clock runs backwards or stands still")
    return Clock(kind, start, sync)


def site(index: int, raw: np.void) -> Site:
    """A call site."""
    return Site(
        index=index,
        file=text(raw["file"]),
        line=int(raw["line"]),
        func=text(raw["func"]),
        region=text(raw["region"]),
    )


def thread(index: int, raw: np.void, integrity: Integrity) -> ThreadInfo:
    """A thread block's head."""
    state = member(ThreadState, int(raw["state"]), "thread state")
    return ThreadInfo(
        index=index,
        tid=int(raw["tid"]),
        role=member(Role, int(raw["role"]), "role"),
        name=text(raw["name"]),
        live=state is ThreadState.LIVE,
        incarnations=int(raw["incarnations"]),
        first_seen=int(raw["first_seen"]),
        last_exit=int(raw["last_exit"]),
        blame_lost=int(raw["blame_lost"]),
        integrity=integrity,
        exits=tuple(int(n) for n in raw["exits"]),
    )


def row(copy: RowCopy, integrity: Integrity) -> Row:
    """A row, with its uncontended acquisitions added to the histogram of waits."""
    raw = copy.head
    acquisitions = tuple(int(n) for n in raw["acquisitions"])
    contended = int(raw["contended"])
    waits = copy.waits.copy()
    waits[0] += np.uint64(max(0, sum(acquisitions) - contended) & 0xFFFF_FFFF_FFFF_FFFF)
    return Row(
        thread=int(raw["thread"]),
        site=int(raw["site"]),
        acquisitions=acquisitions,
        contended=contended,
        trylock_failed=int(raw["trylock_failed"]),
        wait_total=int(raw["wait_total"]),
        handoff=int(raw["handoff"]),
        unknown=int(raw["unknown"]),
        max_wait=int(raw["max_wait"]),
        max_wait_at=int(raw["max_wait_at"]),
        max_wait_by=who(int(raw["max_wait_who"])),
        hold_total=int(raw["hold_total"]),
        max_hold=int(raw["max_hold"]),
        max_hold_at=int(raw["max_hold_at"]),
        blocked_ticks=tuple(int(n) for n in raw["blocked_ticks"]),
        blocked_count=tuple(int(n) for n in raw["blocked_count"]),
        wait_hist=Histogram(waits),
        hold_hist=Histogram(copy.holds),
        integrity=integrity,
    )


def blame(index: int, raw: Raw) -> list[BlameEntry]:
    """The used slots of a thread's blame table."""
    entries = []
    for slot in raw[raw["used"] == 1]:
        holder = who(int(slot["holder"]))
        if holder is None:
            raise RecordingError(f"damaged: thread {index} waited for nobody")
        entries.append(
            BlameEntry(
                waiter=Who(index, int(slot["waiter_site"])),
                holder=holder,
                ticks=int(slot["ticks"]),
                count=int(slot["count"]),
                max=int(slot["max"]),
            )
        )
    return entries


def events(raw: Raw) -> Events:
    """Acquisitions as EVENT_DTYPE."""
    detail = raw["detail"]
    packed = (detail >> np.uint64(32)).astype(np.int64)
    holder_thread = (packed >> 16) - 1
    decoded = np.empty(len(raw), dtype=EVENT_DTYPE)
    for name in ("acquired", "wait", "hold"):
        decoded[name] = raw[name]
    decoded["site"] = detail & np.uint64(0xFFFF)
    decoded["kind"] = (detail >> np.uint64(16)) & np.uint64(3)
    decoded["contended"] = (detail & np.uint64(layout.EVENT_CONTENDED)) != 0
    decoded["holder_thread"] = np.where(
        holder_thread == layout.NO_THREAD, UNRECORDED, np.maximum(holder_thread, NOBODY)
    )
    decoded["holder_site"] = packed & 0xFFFF
    if len(decoded) and int(decoded["kind"].max()) >= len(Kind):
        raise RecordingError("damaged: an event of a kind that does not exist")
    decoded.flags.writeable = False
    return decoded


def holder(raw: np.void) -> LiveHolder | None:
    """The live line's holder; None if the lock is free."""
    packed = who(int(raw["holder"]))
    if packed is None:
        return None
    blocked = member(Blocked, int(raw["blocked"]), "blocking reason")
    return LiveHolder(
        who=packed,
        since=int(raw["since"]),
        blocked=blocked,
        blocked_since=int(raw["blocked_since"]) if blocked else 0,
    )


def bounded(header: np.void, name: str, capacity: int) -> int:
    """How many entries of a table are used. Raises RecordingError if it has not so many."""
    used = int(header[f"{name}_used"])
    if used > capacity:
        raise RecordingError(f"damaged: {used} {name} in a table of {capacity}")
    return used


def losses(header: np.void) -> Losses:
    """What the recorder had no room for."""
    return Losses(
        sites=int(header["sites_lost"]),
        rows=int(header["rows_lost"]),
        threads=int(header["threads_lost"]),
        acquisitions=int(header["acquisitions_lost"]),
        trylocks_failed=int(header["trylocks_failed_lost"]),
        queues=int(header["queues_lost"]),
    )


def rows_of(copy: ThreadCopy) -> list[Row]:
    """The rows of a thread."""
    return [row(raw, Integrity.EXACT if raw.exact else copy.integrity) for raw in copy.rows]
