# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles in pprof's format: gzipped protobuf of the public `perftools.profiles` schema.

`go tool pprof`, Pyroscope and others read it. What the samples are is decided elsewhere: `mutex`
has those of Go's mutex profile, `pprof` those of a whole recording.
"""

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from profiler.protobuf import Field, message_classes
from profiler.traces.stacks import Frame

_SCHEMA = {
    "ValueType": (Field(1, "type", "int64"), Field(2, "unit", "int64")),
    "Label": (Field(1, "key", "int64"), Field(2, "str", "int64"), Field(3, "num", "int64")),
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
class StackSample:
    """A stack, its leaf first, with a value for each sample type, and tags: texts or numbers."""

    frames: tuple[Frame, ...]
    values: tuple[int, ...]
    tags: tuple[tuple[str, str | int], ...] = ()


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
            name = self.string(frame.name)
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
            if isinstance(value, int):
                added.label.add(key=self.string(key), num=value)
            else:
                added.label.add(key=self.string(key), str=self.string(value))


def write_profile(
    samples: Iterable[StackSample],
    types: Sequence[tuple[str, str]],
    default: str,
    *,
    time_ns: int = 0,
    duration_ns: int = 0,
) -> bytes:
    """A profile with these samples. `types`: name and unit of each value; `default` is a name.

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
    profile.default_sample_type = builder.string(default)
    return gzip.compress(profile.SerializeToString(deterministic=True), mtime=0)
