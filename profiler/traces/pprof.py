# SPDX-License-Identifier: GPL-2.0-or-later
"""pprof: the profile.proto of `go tool pprof`, as Go's own mutex profile names its values.

Sample types: contentions/count, delay/nanoseconds, hold/nanoseconds; delay is the default. A stack
is the call site, and what a vCPU accessed there as its leaf. Labels: `role`, `thread` (its name),
`tid`, and for delay `blocked_by` (role of the holder, or handoff, unknown) and `holder` (its site):

    go tool pprof -top -tagfocus role=vcpu lock.pb.gz
    go tool pprof -tags lock.pb.gz

Unlike Go, which charges a wait to the one who unlocked last, delay is at the waiter's site and is
split among all holders exactly.
"""

import gzip
from typing import BinaryIO

from profiler.model import Snapshot, Who
from profiler.traces import stacks
from profiler.traces.protobuf import message, signed, text, unsigned, varint
from profiler.traces.source import Source
from profiler.traces.stacks import Frame

SAMPLE_TYPES = (("contentions", "count"), ("delay", "nanoseconds"), ("hold", "nanoseconds"))
DEFAULT_TYPE = "delay"


def write(source: Source, out: BinaryIO) -> None:
    """Write the profile of all figures of a source. Raises OSError."""
    out.write(profile(source.snapshot()))


def profile(snapshot: Snapshot) -> bytes:
    """A gzipped profile of a snapshot, or of an interval made by `Snapshot.since`."""
    return gzip.compress(_Profile(snapshot).encoded(), mtime=0)


class _Profile:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._strings: dict[str, int] = {"": 0}
        self._frames: dict[Frame, int] = {}

    def encoded(self) -> bytes:
        """The message, not compressed."""
        snapshot, clock = self._snapshot, self._snapshot.clock
        types = [self._value_type(*names) for names in SAMPLE_TYPES]
        samples = [*self._row_samples(), *self._delay_samples()]
        fields = [message(1, kind) for kind in types]
        fields += [message(2, sample) for sample in samples]
        fields += [self._location(frame, number) for frame, number in self._frames.items()]
        fields += [
            signed(9, clock.realtime_ns(snapshot.start)),
            signed(10, round(clock.ns(snapshot.elapsed))),
            message(11, types[0]),
            signed(12, 1),
            signed(14, self._string(DEFAULT_TYPE)),
        ]
        return b"".join(fields + [text(6, string) for string in self._strings])

    def _row_samples(self) -> list[bytes]:
        """Contentions and holds, one sample for each thread and call site."""
        ns = self._snapshot.clock.ns
        return [
            self._sample(row.who, (row.contended, 0, round(ns(row.hold_total))), {})
            for row in self._snapshot.rows
            if row.total
        ]

    def _delay_samples(self) -> list[bytes]:
        """Waits, one sample for each thread, call site and cause."""
        found = []
        for part in stacks.wait_parts(self._snapshot):
            labels = {"blocked_by": part.reason.strip("[]")}
            if part.holder is not None:
                labels["blocked_by"] = self._snapshot.role_of(part.holder).label
                labels["holder"] = self._snapshot.site_label(part.holder.site)
            delay = round(self._snapshot.clock.ns(part.ticks))
            found.append(self._sample(part.waiter, (0, delay, 0), labels))
        return found

    def _sample(self, who: Who, values: tuple[int, ...], labels: dict[str, str]) -> bytes:
        snapshot = self._snapshot
        place = stacks.place(snapshot, who.site)
        frames = filter(None, (stacks.device(snapshot, who.site), place))
        names = {"role": snapshot.role_of(who).label, "thread": snapshot.thread_label(who)}
        tid = 0 if who.thread is None else self._tid(who.thread)
        return b"".join(
            (
                message(1, *(varint(self._frame(frame)) for frame in frames)),
                message(2, *(varint(value) for value in values)),
                *(self._label(key, value) for key, value in (names | labels).items()),
                message(3, signed(1, self._string("tid")), signed(3, tid)),
            )
        )

    def _tid(self, index: int) -> int:
        return next((t.tid for t in self._snapshot.threads if t.index == index), 0)

    def _label(self, key: str, value: str) -> bytes:
        return message(3, signed(1, self._string(key)), signed(2, self._string(value)))

    def _value_type(self, kind: str, unit: str) -> bytes:
        return signed(1, self._string(kind)) + signed(2, self._string(unit))

    def _string(self, value: str) -> int:
        return self._strings.setdefault(value, len(self._strings))

    def _frame(self, frame: Frame) -> int:
        return self._frames.setdefault(frame, len(self._frames) + 1)

    def _location(self, frame: Frame, number: int) -> bytes:
        """A location and its function, both with the frame's number."""
        name = signed(2, self._string(frame.name)) + signed(4, self._string(frame.file))
        line = unsigned(1, number) + signed(2, frame.line)
        location = unsigned(1, number) + message(4, line)
        return message(5, unsigned(1, number), name) + message(4, location)
