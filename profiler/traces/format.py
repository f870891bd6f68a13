# SPDX-License-Identifier: GPL-2.0-or-later
"""The file that `bqlscope record` writes: chunks of columns, every one of which stands by itself.

    offset 0   magic "BQLEVT1\\0", u32 version, u32 zero
    then       chunks: 4 bytes kind, u32 stored size, u32 raw size, u32 CRC-32, stored bytes

Everything is little endian. The CRC covers the first 12 bytes of the chunk and its stored bytes;
what is stored is one zlib stream. Kinds:

    HEAD  JSON: the process, the clock, when recording began, and the columns below. The first one.
    TABL  JSON: threads and call sites that are new or changed, by index; a new clock calibration;
          `holes`, pairs of ticks between which events were dropped. It comes before the first
          event that needs it.
    EVNT  events, see below.
    ENDS  JSON: why recording ended, and the totals of each thread. The last one.

A recorder that was killed leaves a file that ends inside a chunk; what lies before it is good.
A chunk of an unknown kind is skipped.

EVNT, after decompression:

    u32 segments, u32 events, u32 contended events, 5 bytes column widths, 3 bytes zero
    segments × (u32 thread, u32 count, u64 number of the first event in its ring, u64 acquired)
    five columns, each as its bytes 0 of all values, then bytes 1, … (as many as its width)
      gap    acquired minus the release before it in the segment, modulo 2**64; the first is 0
      hold   ticks
      what   the low half of the ring's detail: 15..0 site, 17..16 kind, 18 contended
      wait   ticks, of contended events only; the others waited 0
      who    the high half of the detail, of contended events only: the first holder

A segment is an unbroken run of one thread's ring. Numbers missing between two segments of a thread
are events that were overwritten before they were read: so drops are exact in every chunk.

Why not otherwise (measured on real rings, ns and bytes an event):
    zlib 1 of the ring's own 32 bytes     73 to 114 ns    3.5 to 5.7 bytes
    columns, zlib 6                       100 ns          0.5 bytes
    columns, zstandard 1                  15 to 29 ns     0.5 to 2 bytes, and one more library
    columns as bytes, zlib 1              34 to 76 ns     1 to 2.4 bytes
    columns as planes of bytes, zlib 1    37 to 76 ns     0.6 to 2.2 bytes: this
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from profiler import decode, layout
from profiler.errors import RecordingError
from profiler.recfile import Raw
from profiler.traces.batch import Batch, Column

MAGIC = b"BQLEVT1\0"
VERSION = 1
FILE_HEADER = struct.Struct("<8sII")
CHUNK_HEADER = struct.Struct("<4sIII")
LARGEST_RAW = 64 << 20
"""Bytes that a chunk may have after decompression: a reader allocates by it."""

HEAD, TABLES, EVENTS, END = b"HEAD", b"TABL", b"EVNT", b"ENDS"

COLUMNS = {
    "gap": "ticks from the release before it in the segment to the acquisition, modulo 2**64",
    "hold": "ticks from the acquisition to the release",
    "what": "bits 15..0 call site, 17..16 kind (lock, trylock, cond), 18 contended",
    "wait": "ticks from the request to the acquisition, of contended events only",
    "who": "bits 31..16 thread + 1, 15..0 call site of the first holder, contended events only",
}

_COUNTS = struct.Struct("<III5B3x")
_SEGMENT = np.dtype([("thread", "<u4"), ("count", "<u4"), ("first", "<u8"), ("acquired", "<u8")])
_WIDTHS = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}
_LEVEL = 1


@dataclass(frozen=True)
class Segment:
    """Consecutive events of one thread's ring; `first` is the number of the first one."""

    thread: int
    first: int
    raw: Raw

    @property
    def end(self) -> int:
        """Number of the event after the last one."""
        return self.first + len(self.raw)


def file_header() -> bytes:
    """The first bytes of a file."""
    return FILE_HEADER.pack(MAGIC, VERSION, 0)


def pack_chunk(kind: bytes, raw: bytes) -> bytes:
    """A chunk as it is stored."""
    stored = zlib.compress(raw, _LEVEL)
    head = struct.pack("<4sII", kind, len(stored), len(raw))
    return head + struct.pack("<I", zlib.crc32(stored, zlib.crc32(head))) + stored


def pack_json(kind: bytes, content: dict[str, Any]) -> bytes:
    """A chunk of JSON as it is stored."""
    return pack_chunk(kind, json.dumps(content, separators=(",", ":")).encode())


def unpack(header: bytes, stored: bytes) -> bytes | None:
    """What a chunk holds; None if it is damaged."""
    _, _, size, crc = CHUNK_HEADER.unpack(header)
    if zlib.crc32(stored, zlib.crc32(header[:12])) != crc or size > LARGEST_RAW:
        return None
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(stored, size)
    except zlib.error:
        return None
    return raw if len(raw) == size and inflate.eof else None


def unpack_json(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises RecordingError, without a path."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RecordingError("damaged: a table is not a JSON object")
    return content


def pack_events(segments: Sequence[Segment]) -> bytes:
    """An EVNT chunk as it is stored."""
    table = np.empty(len(segments), _SEGMENT)
    gaps = []
    for entry, segment in zip(table, segments, strict=True):
        acquired = segment.raw["acquired"]
        entry["thread"], entry["count"] = segment.thread, len(segment.raw)
        entry["first"], entry["acquired"] = segment.first, acquired[0]
        gap = np.zeros(len(acquired), np.uint64)
        gap[1:] = acquired[1:] - (acquired + segment.raw["hold"])[:-1]
        gaps.append(gap)
    events = np.concatenate([segment.raw for segment in segments])
    detail = events["detail"]
    contended = (detail & np.uint64(layout.EVENT_CONTENDED)) != 0
    columns = [
        _narrow(column)
        for column in (
            np.concatenate(gaps),
            events["hold"],
            detail & np.uint64(0xFFFF_FFFF),
            events["wait"][contended],
            detail[contended] >> np.uint64(32),
        )
    ]
    counts = _COUNTS.pack(
        len(table), len(events), int(contended.sum()), *(column.itemsize for column in columns)
    )
    return pack_chunk(EVENTS, b"".join((counts, table.tobytes(), *map(_planes, columns))))


def _narrow(column: Column) -> Column:
    """The same values in as few bytes as the largest one needs."""
    largest = int(column.max()) if len(column) else 0
    width = next(width for width in _WIDTHS if largest < 1 << 8 * width)
    return column.astype(_WIDTHS[width])


def _planes(column: Column) -> bytes:
    return column.view("u1").reshape(-1, column.itemsize).T.tobytes()


@dataclass(frozen=True)
class Run:
    """A segment as a reader sees it: `count` events of `thread`, the first one's number."""

    thread: int
    first: int
    count: int


def unpack_events(raw: bytes) -> tuple[list[Run], Batch]:
    """The segments of an EVNT chunk and its events. Raises RecordingError, without a path."""
    if len(raw) < _COUNTS.size:
        raise RecordingError("damaged: a chunk of events is too short")
    segments, events, contended, *widths = _COUNTS.unpack_from(raw)
    lengths = (events, events, events, contended, contended)
    size = _COUNTS.size + segments * _SEGMENT.itemsize
    size += sum(width * length for width, length in zip(widths, lengths, strict=True))
    if size != len(raw) or not set(widths) <= _WIDTHS.keys():
        raise RecordingError("damaged: a chunk of events has a wrong size")
    table = np.frombuffer(raw, _SEGMENT, segments, _COUNTS.size)
    if int(table["count"].sum(dtype=np.uint64)) != events or not np.all(table["count"]):
        raise RecordingError("damaged: a chunk's segments do not add up")
    at = _COUNTS.size + table.nbytes
    columns = []
    for width, length in zip(widths, lengths, strict=True):
        columns.append(_joined_planes(raw, at, width, length))
        at += width * length
    gap, hold, what, wait, who = columns
    flags = (what & np.uint64(layout.EVENT_CONTENDED)) != 0
    if int(flags.sum()) != contended or int(what.max(initial=0)) >> 32:
        raise RecordingError("damaged: a chunk's contended events do not add up")
    merged = np.zeros(events, layout.EVENT)
    merged["acquired"] = _acquired(table, gap, hold)
    merged["hold"], merged["detail"] = hold, what
    merged["wait"][flags] = wait
    merged["detail"][flags] |= who << np.uint64(32)
    threads = np.repeat(table["thread"].astype(np.int64), table["count"])
    if int(threads.max(initial=0)) >= layout.NO_THREAD:
        raise RecordingError("damaged: a chunk of events names an impossible thread")
    runs = [Run(int(e["thread"]), int(e["first"]), int(e["count"])) for e in table]
    return runs, Batch.of(threads, decode.events(merged))


def _joined_planes(raw: bytes, at: int, width: int, length: int) -> Column:
    planes = np.frombuffer(raw, "u1", width * length, at).reshape(width, length)
    return np.ascontiguousarray(planes.T).view(_WIDTHS[width]).reshape(length).astype(np.uint64)


def _acquired(table: Raw, gap: Column, hold: Column) -> Column:
    """Instants of the acquisitions: each is the release before it plus the gap."""
    acquired = gap.copy()
    acquired[1:] += hold[:-1]
    starts = np.concatenate(([0], np.cumsum(table["count"], dtype=np.int64)))
    for start, end, first in zip(starts[:-1], starts[1:], table["acquired"], strict=True):
        acquired[start] = first
        np.cumsum(acquired[start:end], out=acquired[start:end])
    return acquired
