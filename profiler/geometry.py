# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the parts of one recording lie, checked once against the file's real size.

The numbers come from the recording's own header, as its layout demands, so nothing in them is
trusted: every part must lie inside the file and no capacity may be absurd, because the reader
allocates by them.
"""

from dataclasses import dataclass

import numpy as np

from profiler import layout
from profiler.errors import RecordingError

_LARGEST = {
    "threads": 4096,
    "sites": 1 << 16,
    "rows": 1 << 20,
    "blame": 1 << 16,
    "events": 1 << 20,
    "queues": 4096,
}


_LARGEST_SPILL = 1 << 16  # bytes; read whole


@dataclass(frozen=True)
class Part:
    """`capacity` records of `stride` bytes from `offset` on (in a thread block: relative to it)."""

    offset: int
    capacity: int
    stride: int

    @property
    def end(self) -> int:
        """Offset of the first byte behind this part."""
        return self.offset + self.capacity * self.stride

    def at(self, index: int) -> int:
        """Offset of one record."""
        return self.offset + index * self.stride


@dataclass(frozen=True)
class Geometry:
    """All parts of a recording; `blame` and `events` repeat in each thread block."""

    live: int
    sites: Part
    rows: Part
    spill: Part
    threads: Part
    blame: Part
    events: Part
    queues: Part

    @classmethod
    def of(cls, header: np.void, file_size: int) -> "Geometry":
        """Parts by the header of a file of `file_size` bytes.

        Raises RecordingError, without a path, if the header is not that of a usable recording.
        """
        _check_identity(header, file_size)
        size = int(header["file_size"])
        geometry = cls(
            live=int(header["live_offset"]),
            sites=_part(header, "sites", layout.SITE.itemsize),
            rows=_part(header, "rows", layout.ROW.itemsize),
            spill=_spill(header),
            threads=_part(header, "threads", layout.THREAD.itemsize),
            blame=_part(header, "blame", layout.BLAME.itemsize),
            events=_part(header, "events", layout.EVENT.itemsize),
            queues=_part(header, "queues", layout.QUEUE.itemsize),
        )
        block = max(geometry.blame.end, geometry.events.end)
        if geometry.live + layout.LIVE.itemsize > size:
            raise RecordingError("damaged: the live state lies outside the file")
        for name, end in (
            ("site table", geometry.sites.end),
            ("row table", geometry.rows.end),
            ("spill of the rows", geometry.spill.end),
            ("thread table", geometry.threads.end),
            ("queue table", geometry.queues.end),
        ):
            if end > size:
                raise RecordingError(f"damaged: the {name} lies outside the file")
        if block > geometry.threads.stride:
            raise RecordingError("damaged: a thread's tables lie outside its block")
        return geometry


def _check_identity(header: np.void, file_size: int) -> None:
    if int(header["magic"]) != layout.MAGIC:
        raise RecordingError("not a recording, or one that is not complete yet")
    if int(header["version"]) != layout.VERSION:
        raise RecordingError(
            f"a recording of layout version {int(header['version'])};"
            f" this program reads version {layout.VERSION}"
        )
    if int(header["header_size"]) < layout.HEADER.itemsize:
        raise RecordingError("damaged: the header is too short")
    if int(header["buckets"]) != layout.BUCKETS:
        raise RecordingError(f"damaged: {int(header['buckets'])} histogram buckets")
    if int(header["near_buckets"]) != layout.NEAR_BUCKETS:
        raise RecordingError(f"damaged: {int(header['near_buckets'])} near buckets")
    if int(header["file_size"]) > file_size:
        raise RecordingError(f"truncated: {file_size} of {int(header['file_size'])} bytes")


def _part(header: np.void, name: str, record: int) -> Part:
    capacity, stride = int(header[f"{name}_capacity"]), int(header[f"{name}_stride"])
    if not 0 < capacity <= _LARGEST[name]:
        raise RecordingError(f"damaged: a capacity of {capacity} {name}")
    if stride < record:
        raise RecordingError(f"damaged: {stride} bytes for each of {name}")
    return Part(int(header[f"{name}_offset"]), capacity, stride)


def _spill(header: np.void) -> Part:
    """A record for each row. The capacity of the rows is already known to be sane."""
    stride = int(header["spill_stride"])
    if not layout.SPILL.itemsize <= stride <= _LARGEST_SPILL:
        raise RecordingError(f"damaged: {stride} bytes for the spill of a row")
    return Part(int(header["spill_offset"]), int(header["rows_capacity"]), stride)
