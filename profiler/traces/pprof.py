# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles in pprof's format: gzipped protobuf of the public `perftools.profiles` schema.

`go tool pprof`, Pyroscope and others read it. A wait is charged to whom it was for, as Go's mutex
profile does, but exactly: each holder gets the part of the wait in which it held the lock.

    leaf   the call site of the holder
           [role of the holder]
    root   the name of the VM         tags: waiter_role, waiter_site
"""

import gzip
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from profiler.blame import HANDOFF, UNKNOWN
from profiler.model import Site, Snapshot
from profiler.protobuf import Field, message_classes

MUTEX_TYPES = (("contentions", "count"), ("delay", "nanoseconds"))
"""Values of a mutex profile, as Go names them."""

_SCHEMA = {
    "ValueType": (Field(1, "type", "int64"), Field(2, "unit", "int64")),
    "Label": (Field(1, "key", "int64"), Field(2, "str", "int64")),
    "Sample": (
        Field(1, "location_id", "uint64", repeated=True),
        Field(2, "value", "int64", repeated=True),
        Field(3, "label", "Label", repeated=True),
    ),
    "Line": (Field(1, "function_id", "uint64"), Field(2, "line", "int64")),
    "Location": (Field(1, "id", "uint64"), Field(4, "line", "Line", repeated=True)),
    "Function": (
        Field(1, "id", "uint64"),
        Field(2, "name", "int64"),
        Field(3, "system_name", "int64"),
        Field(4, "filename", "int64"),
    ),
    "Profile": (
        Field(1, "sample_type", "ValueType", repeated=True),
        Field(2, "sample", "Sample", repeated=True),
        Field(4, "location", "Location", repeated=True),
        Field(5, "function", "Function", repeated=True),
        Field(6, "string_table", "string", repeated=True),
        Field(9, "time_nanos", "int64"),
        Field(10, "duration_nanos", "int64"),
        Field(11, "period_type", "ValueType"),
        Field(12, "period", "int64"),
        Field(14, "default_sample_type", "int64"),
    ),
}


def profile_class() -> Any:
    """The `Profile` message class, freshly built."""
    return message_classes("perftools.profiles", _SCHEMA, syntax="proto3")["Profile"]


@dataclass(frozen=True)
class Frame:
    """A line of a stack; `file` and `line` may be unknown."""

    function: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class StackSample:
    """A stack, its leaf first, with a value for each sample type, and tags."""

    frames: tuple[Frame, ...]
    values: tuple[int, ...]
    tags: tuple[tuple[str, str], ...] = ()


class _Builder:
    """Fills a profile, every string, function and location once."""

    def __init__(self) -> None:
        self.profile = profile_class()()
        self._strings: dict[str, int] = {}
        self._locations: dict[Frame, int] = {}
        self.string("")  # the schema demands it first

    def string(self, text: str) -> int:
        if text not in self._strings:
            self._strings[text] = len(self._strings)
            self.profile.string_table.append(text)
        return self._strings[text]

    def location(self, frame: Frame) -> int:
        if frame not in self._locations:
            number = self._locations[frame] = len(self._locations) + 1
            name = self.string(frame.function)
            self.profile.function.add(
                id=number, name=name, system_name=name, filename=self.string(frame.file)
            )
            location = self.profile.location.add(id=number)
            location.line.add(function_id=number, line=frame.line)
        return self._locations[frame]

    def sample(self, sample: StackSample) -> None:
        added = self.profile.sample.add(
            location_id=[self.location(frame) for frame in sample.frames], value=sample.values
        )
        for key, value in sample.tags:
            added.label.add(key=self.string(key), str=self.string(value))


def write_profile(
    samples: Iterable[StackSample],
    types: Sequence[tuple[str, str]],
    *,
    time_ns: int = 0,
    duration_ns: int = 0,
) -> bytes:
    """A profile with these samples. `types`: name and unit of each value; the last is the default.

    `time_ns` is when it was taken, since the epoch. The same input gives the same bytes.
    """
    builder = _Builder()
    profile = builder.profile
    for name, unit in types:
        profile.sample_type.add(type=builder.string(name), unit=builder.string(unit))
    for sample in samples:
        builder.sample(sample)
    profile.time_nanos, profile.duration_nanos = time_ns, duration_ns
    profile.period_type.type = builder.string(types[0][0])
    profile.period_type.unit = builder.string(types[0][1])
    profile.period = 1
    profile.default_sample_type = builder.string(types[-1][0])
    return gzip.compress(profile.SerializeToString(deterministic=True), mtime=0)


def mutex_samples(snapshot: Snapshot, vm: str) -> list[StackSample]:
    """Who made whom wait, of a snapshot or an interval, longest first: values as MUTEX_TYPES.

    Waits that no holder accounts for are at leaves of their own, `[handoff]` and `[unknown]`; their
    contentions are counted at the holders. Nanoseconds are rounded once for each stack.
    """
    counts: dict[tuple[tuple[Frame, ...], tuple[tuple[str, str], ...]], list[int]]
    counts = defaultdict(lambda: [0, 0])

    def add(leaf: tuple[Frame, ...], role: str, site: int, count: int, ticks: int) -> None:
        tags = (("waiter_role", role), ("waiter_site", snapshot.site_label(site)))
        total = counts[(*leaf, Frame(vm)), tags]
        total[0] += count
        total[1] += ticks

    for entry in snapshot.blame:
        holder = (
            _frame(snapshot.site(entry.holder.site), snapshot.site_label(entry.holder.site)),
            Frame(f"[{snapshot.role_of(entry.holder).label}]"),
        )
        waiter = snapshot.role_of(entry.waiter).label
        add(holder, waiter, entry.waiter.site, entry.count, entry.ticks)
    for row in snapshot.rows:
        for name, ticks in ((HANDOFF, row.handoff), (UNKNOWN, row.unknown)):
            if ticks:
                add((Frame(f"[{name}]"),), snapshot.role_of(row.who).label, row.site, 0, ticks)
    samples = [
        StackSample(frames, (count, round(snapshot.clock.ns(ticks))), tags)
        for (frames, tags), (count, ticks) in counts.items()
        if count or ticks
    ]
    return sorted(samples, key=lambda sample: -sample.values[1])


def _frame(site: Site | None, label: str) -> Frame:
    return Frame(label, site.file, site.line) if site else Frame(label)
