# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads pprof profiles with protobuf, by the documented numbers of profile.proto's fields."""

import gzip
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_MESSAGES: dict[str, list[tuple[str, int, str, bool]]] = {
    "ValueType": [("type", 1, "int64", False), ("unit", 2, "int64", False)],
    "Label": [(name, at + 1, "int64", False) for at, name in enumerate(("key", "str", "num"))],
    "Sample": [
        ("location_id", 1, "uint64", True),
        ("value", 2, "int64", True),
        ("label", 3, "Label", True),
    ],
    "Line": [("function_id", 1, "uint64", False), ("line", 2, "int64", False)],
    "Location": [("id", 1, "uint64", False), ("line", 4, "Line", True)],
    "Function": [
        ("id", 1, "uint64", False),
        ("name", 2, "int64", False),
        ("filename", 4, "int64", False),
    ],
    "Profile": [
        ("sample_type", 1, "ValueType", True),
        ("sample", 2, "Sample", True),
        ("location", 4, "Location", True),
        ("function", 5, "Function", True),
        ("string_table", 6, "string", True),
        ("time_nanos", 9, "int64", False),
        ("duration_nanos", 10, "int64", False),
        ("period_type", 11, "ValueType", False),
        ("period", 12, "int64", False),
        ("default_sample_type", 14, "int64", False),
    ],
}
_TYPES = {"int64": _FIELD.TYPE_INT64, "uint64": _FIELD.TYPE_UINT64, "string": _FIELD.TYPE_STRING}


def _profile_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="p.proto", package="p", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            entry = message.field.add(name=field, number=number, label=label)
            if kind in _TYPES:
                entry.type = _TYPES[kind]
            else:
                entry.type, entry.type_name = _FIELD.TYPE_MESSAGE, f".p.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("p.Profile"))


@dataclass(frozen=True)
class Sample:
    """A stack from the leaf, its values by name, its labels."""

    stack: tuple[str, ...]
    values: dict[str, int]
    labels: dict[str, Any]


@dataclass
class Profile:
    """A profile with all numbers replaced by what they stand for."""

    samples: list[Sample]
    units: dict[str, str]
    default: str
    time_ns: int
    duration_ns: int
    lines: dict[str, tuple[str, int]]

    def totals(self, **labels: str) -> dict[str, int]:
        """Sums of all values, of the samples that have these labels."""
        sums: dict[str, int] = defaultdict(int)
        for sample in self.samples:
            if labels.items() <= sample.labels.items():
                for name, value in sample.values.items():
                    sums[name] += value
        return dict(sums)


def parse(data: bytes) -> Profile:
    """Parse a gzipped profile; fails where an id names nothing."""
    raw = _profile_class().FromString(gzip.decompress(data))
    strings = list(raw.string_table)
    assert strings[0] == ""
    functions = {function.id: function for function in raw.function}
    locations = {location.id: location for location in raw.location}
    assert 0 not in functions | locations
    kinds = [strings[kind.type] for kind in raw.sample_type]

    def frame(number: int) -> str:
        (line,) = locations[number].line
        return str(strings[functions[line.function_id].name])

    def label(entry: Any) -> tuple[str, Any]:
        return strings[entry.key], strings[entry.str] if entry.str else entry.num

    samples = [
        Sample(
            tuple(map(frame, sample.location_id)),
            dict(zip(kinds, sample.value, strict=True)),
            dict(map(label, sample.label)),
        )
        for sample in raw.sample
    ]
    lines = {}
    for location in raw.location:
        (line,) = location.line
        function = functions[line.function_id]
        lines[strings[function.name]] = (strings[function.filename], line.line)
    return Profile(
        samples=samples,
        units={strings[kind.type]: strings[kind.unit] for kind in raw.sample_type},
        default=strings[raw.default_sample_type],
        time_ns=raw.time_nanos,
        duration_ns=raw.duration_nanos,
        lines=lines,
    )
