# SPDX-License-Identifier: GPL-2.0-or-later
"""The layout of a recording, as numpy sees it: profiler/recorder/bqlrec_layout.h in Python.

The C header is the authority and explains every field; a test compiles it and compares each size,
offset and constant with what is written here. Nothing else in Python knows where a byte lies.
All values are little endian; durations and instants are ticks of the recording's clock.
"""

from enum import IntEnum
from typing import Any

import numpy as np

MAGIC = 0x31_4345_524C_5142
"""First eight bytes of a complete recording: "BQLREC1" and a zero."""

VERSION = 4
BUCKETS = 360
"""Buckets of each histogram; the last one takes everything above 2**47 ticks."""

NEAR_BUCKETS = 192
"""The first buckets of the histograms of a row, which it counts itself; the others it spills."""

NO_THREAD = 0xFFFE
"""Thread index of a holder that got no thread block."""

EVENT_CONTENDED = 1 << 18

ROW_OF_SITE_CAPACITY = 1024
"""Sites that a thread block can map to a row, whatever the capacity of the site table."""


class ClockKind(IntEnum):
    """What a tick is."""

    TSC = 1
    MONOTONIC = 2  # one tick is 1 ns


class Role(IntEnum):
    """What a thread is for; the rows of tables and the axes of the blame matrix."""

    OTHER = 0
    MAIN = 1
    VCPU = 2
    IOTHREAD = 3
    VNC = 4
    MIGRATION = 5
    WORKER = 6
    RCU = 7

    @property
    def label(self) -> str:
        """Name as people write it: `main`, `vcpu`, …"""
        return self.name.lower()


class Blocked(IntEnum):
    """Why a holder sleeps inside its hold."""

    NONE = 0
    GIL = 1
    DRAIN = 2
    JOIN = 3
    FILE_IO = 4
    STOP_VCPUS = 5
    COND = 6
    POLL = 7
    OTHER = 8
    LOCK = 9  # another mutex, or a futex

    @property
    def label(self) -> str:
        """Name as people write it: `gil`, `file_io`, …"""
        return self.name.lower()


class Kind(IntEnum):
    """How a lock was acquired."""

    LOCK = 0
    TRYLOCK = 1
    COND = 2  # re-acquisition at the end of a condition wait


class Hist(IntEnum):
    """The histograms of a row."""

    HOLD = 0
    WAIT = 1  # contended waits only


class Exit(IntEnum):
    """What a vCPU came back to user space for."""

    PIO = 0
    MMIO = 1
    INTERRUPTED = 2  # by a signal: kicked
    EMULATION = 3  # an instruction that the kernel could not emulate
    HLT = 4
    IRQ_WINDOW = 5
    SHUTDOWN = 6
    OTHER = 7

    @property
    def label(self) -> str:
        """Name as people write it: `pio`, `irq_window`, …"""
        return self.name.lower()


class Request(IntEnum):
    """What a request wants of a disk."""

    READ = 0
    WRITE = 1
    FLUSH = 2
    OTHER = 3  # discard, write zeroes, get id, what is not supported

    @property
    def label(self) -> str:
        """Name as people write it: `read`, …"""
        return self.name.lower()


class ThreadState(IntEnum):
    """Use of a thread block."""

    FREE = 0
    LIVE = 1
    DEAD = 2


class FileState(IntEnum):
    """Whether the process closed the recording in order."""

    OPEN = 1
    CLOSED = 2


_CACHE_LINE = 64

Field = tuple[str, np.dtype[Any], int]  # name, element type, alignment


def _field(name: str, kind: str, *shape: int, align: int = 0) -> Field:
    base = np.dtype(kind)
    return name, np.dtype((base, shape)) if shape else base, max(align, base.alignment)


def _struct(*fields: Field) -> np.dtype[Any]:
    """A C structure: each field at the next multiple of its alignment, the end padded."""
    names, formats, offsets = [], [], []
    end, widest = 0, 1
    for name, kind, align in fields:
        end = -(-end // align) * align
        names.append(name)
        formats.append(kind)
        offsets.append(end)
        end += kind.itemsize
        widest = max(widest, align)
    return np.dtype(
        {
            "names": names,
            "formats": formats,
            "offsets": offsets,
            "itemsize": -(-end // widest) * widest,
        }
    )


def _clock_pair(name: str) -> list[Field]:
    return [
        _field(f"{name}_ticks", "<u8"),
        _field(f"{name}_monotonic_ns", "<u8"),
        _field(f"{name}_realtime_ns", "<u8"),
    ]


HEADER = _struct(
    _field("magic", "<u8"),
    _field("version", "<u4"),
    _field("header_size", "<u4"),
    _field("file_size", "<u8"),
    _field("pid", "<u4"),
    _field("clock_kind", "<u4"),
    _field("process_start_time", "<u8"),
    _field("live_offset", "<u8"),
    _field("sites_offset", "<u8"),
    _field("handover_offset", "<u8"),
    _field("rows_offset", "<u8"),
    _field("threads_offset", "<u8"),
    _field("queues_offset", "<u8"),
    _field("spill_offset", "<u8"),
    _field("sites_capacity", "<u4"),
    _field("sites_stride", "<u4"),
    _field("handover_capacity", "<u4"),
    _field("handover_stride", "<u4"),
    _field("rows_capacity", "<u4"),
    _field("rows_stride", "<u4"),
    _field("threads_capacity", "<u4"),
    _field("threads_stride", "<u4"),
    _field("blame_offset", "<u4"),
    _field("blame_capacity", "<u4"),
    _field("blame_stride", "<u4"),
    _field("events_offset", "<u4"),
    _field("events_capacity", "<u4"),
    _field("events_stride", "<u4"),
    _field("queues_capacity", "<u4"),
    _field("queues_stride", "<u4"),
    _field("buckets", "<u4"),
    _field("inode", "<u4"),
    _field("near_buckets", "<u4"),
    _field("spill_stride", "<u4"),
    _field("process_name", "S64"),
    _field("vm_name", "S64"),
    *_clock_pair("clock_start"),
    _field("clock_seq", "<u4", align=_CACHE_LINE),
    _field("reserved1", "<u4"),
    *_clock_pair("clock"),
    _field("enabled", "<u4", align=_CACHE_LINE),
    _field("state", "<u4"),
    _field("threads_used", "<u4", align=_CACHE_LINE),
    _field("sites_used", "<u4"),
    _field("rows_used", "<u4"),
    _field("queues_used", "<u4"),
    _field("sites_lost", "<u4"),
    _field("queues_lost", "<u4"),
    _field("rows_lost", "<u8"),
    _field("threads_lost", "<u8"),
    _field("acquisitions_lost", "<u8"),
    _field("trylocks_failed_lost", "<u8"),
)

LIVE = _struct(
    _field("waiters", "<u4", align=_CACHE_LINE),
    _field("holder", "<u4", align=_CACHE_LINE),
    _field("blocked", "<u4"),
    _field("since", "<u8"),
    _field("blocked_since", "<u8"),
    _field("handover_head", "<u8"),
)

SITE = _struct(
    _field("ready", "<u4"),
    _field("line", "<u4"),
    _field("file", "S120"),
    _field("func", "S64"),
    _field("region", "S64"),
)

HANDOVER = _struct(
    _field("seq", "<u8"),
    _field("acquired", "<u8"),
    _field("released", "<u8"),
    _field("who", "<u4"),
    _field("reserved", "<u4"),
)

ROW = _struct(
    _field("seq", "<u4", align=_CACHE_LINE),
    _field("in_use", "<u4"),
    _field("thread", "<u4"),
    _field("site", "<u4"),
    _field("acquisitions", "<u8", len(Kind)),
    _field("hold_total", "<u8"),
    _field("max_hold", "<u8"),
    _field("spills", "<u4"),
    _field("reserved1", "<u4"),
    _field("max_hold_at", "<u8"),
    _field("contended", "<u8"),
    _field("wait_total", "<u8"),
    _field("handoff", "<u8"),
    _field("unknown", "<u8"),
    _field("max_wait", "<u8"),
    _field("max_wait_at", "<u8"),
    _field("max_wait_who", "<u4"),
    _field("reserved2", "<u4"),
    _field("trylock_failed", "<u8"),
    _field("blocked_ticks", "<u8", len(Blocked)),
    _field("blocked_count", "<u8", len(Blocked)),
    _field("near", "<u2", len(Hist), NEAR_BUCKETS, align=_CACHE_LINE),
)

SPILL = _struct(_field("count", "<u8", len(Hist), BUCKETS, align=_CACHE_LINE))

THREAD = _struct(
    _field("seq", "<u4", align=_CACHE_LINE),
    _field("state", "<u4"),
    _field("tid", "<u4"),
    _field("role", "<u4"),
    _field("incarnations", "<u4"),
    _field("reserved", "<u4"),
    _field("name", "S16"),
    _field("first_seen", "<u8"),
    _field("last_exit", "<u8"),
    _field("events_head", "<u8", align=_CACHE_LINE),
    _field("events_lost", "<u8"),
    _field("blame_lost", "<u8"),
    _field("blames_used", "<u4"),
    _field("reserved2", "<u4"),
    _field("exits", "<u8", len(Exit)),
    _field("row_of_site", "<u2", ROW_OF_SITE_CAPACITY, align=_CACHE_LINE),
)

BLAME = _struct(
    _field("used", "<u4"),
    _field("waiter_site", "<u4"),
    _field("holder", "<u4"),
    _field("reserved", "<u4"),
    _field("ticks", "<u8"),
    _field("count", "<u8"),
    _field("max", "<u8"),
)

EVENT = _struct(
    _field("acquired", "<u8"),
    _field("wait", "<u8"),
    _field("hold", "<u8"),
    _field("detail", "<u8"),
)


QUEUE = _struct(
    _field("seq", "<u4", align=_CACHE_LINE),
    _field("in_use", "<u4"),
    _field("index", "<u4"),
    _field("reserved", "<u4"),
    _field("device", "S48"),
    _field("placement", "S32"),
    _field("requests", "<u8", len(Request)),
    _field("errors", "<u8"),
    _field("read_bytes", "<u8"),
    _field("written_bytes", "<u8"),
    _field("inflight", "<u8"),
    _field("max_inflight", "<u8"),
    _field("duration_total", "<u8"),
    _field("max_duration", "<u8"),
    _field("duration_hist", "<u8", BUCKETS),
)


def who(thread: int, site: int) -> int:
    """Pack a holder: thread index (0 to NO_THREAD) and site id; 0 is nobody."""
    return (thread + 1) << 16 | site
