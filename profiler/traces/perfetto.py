# SPDX-License-Identifier: GPL-2.0-or-later
"""Perfetto: one track a thread, waits and holds as slices, arrows from who let go to who got it.

    thread track   [ monitor contention with owner …      ][ hold of serial        ]
                   [ Lock contention on a BQL lock (…)    ]

Names. Two readers are served by two nested slices for each wait. Perfetto's
`android_monitor_contention` tables are made of slices named as the Android runtime names them:
`monitor contention with owner THREAD (TID) at METHOD(FILE:LINE) waiters=N blocking from
METHOD(FILE:LINE)`, where METHOD has a return type and arguments, so ours look like
`void serial()(physmem.c:2874)`. Its user interface finds `Lock contention on a BQL lock (owner
tid: TID)`. The owner is who held the lock at the request; the arrow comes from who released it
last. `waiters` counts the other threads that waited at the request, as far as their acquisitions
are in the same stretch of the recording.

Encoding. Each acquisition becomes two to six packets of fixed shape (protobuf.Template), filled by
numpy for a whole batch, and each batch becomes one zlib stream (`compressed_packets`), which the
trace processor and the user interface inflate themselves. Names are interned. Time is
CLOCK_MONOTONIC; a clock snapshot ties it to the date.

Order. Packets of one acquisition are in the order of time and acquisitions in the order of the
lock, so that slices that touch close and open rightly after a stable sort by time.
"""

import zlib
from collections.abc import Callable, Iterable
from typing import BinaryIO

import numpy as np

from profiler.model import Kind
from profiler.records import NOBODY
from profiler.traces.batch import Batch, Column, Holes, monotonic_ns, whole_ns
from profiler.traces.protobuf import (
    Template,
    interleaved,
    message,
    signed,
    text,
    unsigned,
)
from profiler.traces.source import Source

SEQUENCE = 1
CATEGORY = 1
PROCESS_TRACK = 1
FIRST_THREAD_TRACK = 2
MOST_WAITERS = 255

_MONOTONIC, _REALTIME = 3, 1
_CLEARED, _NEEDED = 1, 2  # TracePacket.sequence_flags
_BEGIN, _END = 1, 2  # TrackEvent.type
_ARGUMENTS = {"site": 1, "device": 2, "kind": 3, "wait_ns": 4, "hold_ns": 5}
_DEFLATE = 1

# Bytes of the padded numbers: an instant in ns, a duration in ns, an interned name, a track.
_INSTANT, _DURATION, _NAME, _TRACK = 9, 7, 3, 3


def write(source: Source, out: BinaryIO) -> None:
    """Write a trace. Constant memory: two batches. Raises OSError and RecordingError."""
    writer = _Writer(source, out)
    carried = Batch.empty()
    for batch in source.batches():
        known = Batch.joined([carried, batch])
        writer.add(known.take(slice(None, -1)), known.take(slice(-1, None)))
        carried = known.take(slice(-1, None))
    writer.add(carried, Batch.empty())


class _Interned:
    """Texts with numbers; those that are new since the last packet."""

    def __init__(self, field: int) -> None:
        self._field = field
        self._numbers: dict[str, int] = {}
        self._fresh: list[bytes] = []

    def number(self, name: str) -> int:
        """The number of a text."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self._numbers) + 1
            self._fresh.append(message(self._field, unsigned(1, found), text(2, name)))
        return found

    def numbers(self, keys: Column, name: Callable[[int], str]) -> Column:
        """The number for each key; `name` makes the text of a key, once for each."""
        distinct, place = np.unique(keys, return_inverse=True)
        return np.array([self.number(name(int(key))) for key in distinct], np.uint64)[place]

    def fresh(self) -> bytes:
        """Entries of an InternedData message that were not taken yet."""
        taken, self._fresh = b"".join(self._fresh), []
        return taken


class _Writer:
    def __init__(self, source: Source, out: BinaryIO) -> None:
        self._source, self._out = source, out
        self._names, self._strings = _Interned(2), _Interned(29)
        self._tracks: set[int] = set()
        self._flows = 0
        self._arrives = False  # the first row of the next batch ends an arrow
        self._begin()

    def _begin(self) -> None:
        clock, process = self._source.clock, self._source.process
        constants = message(1, unsigned(1, CATEGORY), text(2, "bql"))
        for name, number in _ARGUMENTS.items():
            constants += message(3, unsigned(1, number), text(2, name))
        title = " ".join(filter(None, (process.name, process.vm_name)))
        moments = (clock.start,) if clock.start == clock.sync else (clock.start, clock.sync)
        clocks = [
            _packet(
                unsigned(8, moment.monotonic_ns),
                unsigned(58, _MONOTONIC),
                message(
                    6,
                    message(1, unsigned(1, _MONOTONIC), unsigned(2, moment.monotonic_ns)),
                    message(1, unsigned(1, _REALTIME), unsigned(2, moment.realtime_ns)),
                    unsigned(2, _MONOTONIC),
                ),
            )
            for moment in moments
        ]
        first = _packet(
            unsigned(13, _CLEARED),
            message(59, unsigned(58, _MONOTONIC)),
            message(12, constants),
        )
        track = message(
            60,
            unsigned(1, PROCESS_TRACK),
            message(3, signed(1, process.pid), text(6, title)),
        )
        self._out.write(b"".join((*clocks, first, _packet(track))))
        for index in sorted(self._source.names.threads):
            self._describe(index)

    def _describe(self, index: int) -> None:
        """The track of a thread."""
        self._tracks.add(index)
        names, pid = self._source.names, self._source.process.pid
        fields = [unsigned(1, FIRST_THREAD_TRACK + index), unsigned(5, PROCESS_TRACK)]
        if tid := names.tid(index):
            fields.append(message(4, signed(1, pid), signed(2, tid), text(5, names.thread(index))))
        else:
            fields.append(text(2, names.thread(index)))
        self._out.write(_packet(message(60, *fields)))

    def add(self, batch: Batch, following: Batch) -> None:
        """Write acquisitions; `following` is the one after them, if there is one."""
        if not len(batch):
            return
        for index in np.unique(batch.thread):
            if int(index) not in self._tracks:
                self._describe(int(index))
        departs = _arrows(Batch.joined([batch, following]), self._source.holes)[: len(batch)]
        arrives = np.concatenate(([self._arrives], departs))[: len(batch)]
        self._arrives = bool(departs[-1])
        columns = self._columns(batch, departs, arrives)
        has_device = columns["device"] != 0
        shape = batch.contended * 1 + departs * 2 + (arrives & batch.contended) * 4 + has_device * 8
        rows = {}
        for kind in np.unique(shape):
            mine = np.flatnonzero(shape == kind)
            part = {name: column[mine] for name, column in columns.items()}
            rows[int(kind)] = _shape(int(kind)).fill(part, len(mine))
        fresh = self._names.fresh() + self._strings.fresh()
        data = _packet(unsigned(13, _NEEDED), message(12, fresh)) if fresh else b""
        data += interleaved(shape, rows)
        self._out.write(message(1, message(50, zlib.compress(data, _DEFLATE))))

    def _columns(self, batch: Batch, departs: Column, arrives: Column) -> dict[str, Column]:
        clock, names = self._source.clock, self._source.names
        wait, hold = whole_ns(clock, batch.wait), whole_ns(clock, batch.hold)
        largest = (1 << 7 * _DURATION) - 1
        flows = self._flows + np.cumsum(departs)
        self._flows = int(flows[-1])

        def device(site: int) -> int:
            name = names.device(site)
            return self._strings.number(name) if name else 0

        sites, place = np.unique(batch.site, return_inverse=True)
        devices = np.array([device(int(site)) for site in sites], np.uint64)[place]
        return {
            "track": batch.thread + FIRST_THREAD_TRACK,
            "requested": monotonic_ns(clock, batch.requested),
            "acquired": monotonic_ns(clock, batch.acquired),
            "released": monotonic_ns(clock, batch.released),
            "wait_ns": np.minimum(wait, largest),
            "hold_ns": np.minimum(hold, largest),
            "hold_name": self._names.numbers(batch.site, lambda s: f"hold {names.site(s)}"),
            "owner_name": self._names.numbers(_owner_keys(batch), self._owner_name),
            "lock_name": self._names.numbers(batch.holder_thread, self._lock_name),
            "site": self._strings.numbers(batch.site, self._place),
            "device": devices,
            "kind": self._strings.numbers(batch.kind, lambda kind: Kind(kind).name.lower()),
            "departing": flows,
            "arriving": flows - departs,
        }

    def _place(self, site: int) -> str:
        found = self._source.names.sites.get(site)
        if found is None or not (found.func or found.location):
            return self._source.names.site(site)
        return " ".join(filter(None, (found.func, found.location)))

    def _owner_name(self, key: int) -> str:
        waiters, site = key & 0xFF, key >> 8 & 0xFFFF
        holder_site, holder = key >> 24 & 0xFFFF, (key >> 40) - 2
        if holder == NOBODY:
            return "wait for the BQL"
        names = self._source.names
        return (
            f"monitor contention with owner {_plain(names.thread(holder))} ({names.tid(holder)})"
            f" at {self._method(holder_site)} waiters={waiters} blocking from {self._method(site)}"
        )

    def _lock_name(self, holder: int) -> str:
        return f"Lock contention on a BQL lock (owner tid: {self._source.names.tid(holder)})"

    def _method(self, site: int) -> str:
        found = self._source.names.sites.get(site)
        place = found.location if found and found.location else "unknown:0"
        what = (found.device or found.region or found.func) if found else ""
        return f"void {_plain(what or place).replace(' ', '_')}()({_plain(place)})"


def _packet(*fields: bytes) -> bytes:
    """A packet of our sequence."""
    return message(1, unsigned(10, SEQUENCE), *fields)


def _plain(name: str) -> str:
    """A name without the characters that divide a slice's name."""
    return name.translate(str.maketrans("()", "[]"))


def _arrows(batch: Batch, holes: Holes) -> Column:
    """Whether the acquisition after each one waited for its release.

    None where another hold may have been between the two, whose event was dropped.
    """
    departs = np.zeros(len(batch), bool)
    released = batch.released[:-1]
    departs[:-1] = (
        batch.contended[1:]
        & (batch.thread[1:] != batch.thread[:-1])
        & (batch.requested[1:] <= released)
        & (released <= batch.acquired[1:])
        & ~holes.touch(released, batch.acquired[1:])
    )
    return departs


def _waiters(batch: Batch) -> Column:
    """Other threads that waited when each wait began; 0 where there is no wait."""
    waits = batch.contended
    begun = np.sort(batch.requested[waits])
    ended = np.sort(batch.acquired[waits])
    at = batch.requested
    others = np.searchsorted(begun, at, "right") - np.searchsorted(ended, at, "right") - 1
    return np.where(waits, np.clip(others, 0, MOST_WAITERS), 0)


def _owner_keys(batch: Batch) -> Column:
    """What the name of a wait depends on, in one number."""
    key = (batch.holder_thread.astype(np.int64) + 2) << 16 | batch.holder_site
    return np.where(batch.contended, (key << 16 | batch.site) << 8 | _waiters(batch), 1 << 40)


def _shape(kind: int) -> Template:
    """An acquisition's packets; bits: contended, an arrow departs, one arrives, has a device."""
    contended, departs, arrives, has_device = (bool(kind >> bit & 1) for bit in range(4))
    device = _string("device") if has_device else Template()
    place = _string("site") + device + _string("kind")
    wait, hold = _number("wait_ns"), _number("hold_ns")
    packets = []
    if contended:
        end = Template.fixed64(48, "arriving") if arrives else Template()
        packets += [
            _event("requested", _BEGIN, _name("owner_name") + place + wait),
            _event("requested", _BEGIN, _name("lock_name")),
            _event("acquired", _END),
            _event("acquired", _END, end),
        ]
    end = Template.fixed64(47, "departing") if departs else Template()
    packets += [
        _event(
            "acquired", _BEGIN, _name("hold_name") + place + (wait if contended else b"") + hold
        ),
        _event("released", _END, end),
    ]
    return _sum(packets)


def _sum(parts: Iterable[Template]) -> Template:
    total = Template()
    for part in parts:
        total += part
    return total


def _event(instant: str, kind: int, content: Template | None = None) -> Template:
    track = Template(unsigned(9, kind)) + Template.unsigned(11, "track", _TRACK)
    track += content or Template()
    packet = Template.unsigned(8, instant, _INSTANT)
    packet += unsigned(10, SEQUENCE) + unsigned(13, _NEEDED)
    return Template.message(1, packet + Template.message(11, track))


def _name(column: str) -> Template:
    return Template.unsigned(10, column, _NAME) + unsigned(3, CATEGORY)


def _string(name: str) -> Template:
    value = Template(unsigned(1, _ARGUMENTS[name])) + Template.unsigned(17, name, _NAME)
    return Template.message(4, value)


def _number(name: str) -> Template:
    value = Template(unsigned(1, _ARGUMENTS[name])) + Template.unsigned(3, name, _DURATION)
    return Template.message(4, value)
