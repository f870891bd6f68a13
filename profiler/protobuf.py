# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol Buffers without a compiler: message classes from a table.

The schemas we write (metrics, profiles) are public, small and frozen. Descriptors that are built at
run time need neither a generator in the build nor generated code that fits only some versions of
the `protobuf` package; the classes that come out are the same ones, and as fast.

    classes = message_classes("io.prometheus.client", {
        "LabelPair": (Field(1, "name", "string"), Field(2, "value", "string")),
        "Bucket": (Field(3, "exemplars", "Exemplar", repeated=True), …),
    })
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    name.removeprefix("TYPE_").lower(): number
    for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
}


@dataclass(frozen=True)
class Field:
    """A field of a message; `kind` is a scalar of the language, or the name of a message."""

    number: int
    name: str
    kind: str
    repeated: bool = False


def message_classes(
    package: str, messages: Mapping[str, Sequence[Field]], syntax: str = "proto2"
) -> dict[str, Any]:
    """The classes of these messages by name. Enumerations are written as int32, which they are.

    Numbers that are repeated are packed in both versions of the language.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax=syntax
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _describe(message.field.add(), package, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


def _describe(described: descriptor_pb2.FieldDescriptorProto, package: str, field: Field) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    described.name, described.number = field.name, field.number
    described.label = proto.LABEL_REPEATED if field.repeated else proto.LABEL_OPTIONAL
    scalar = _SCALARS.get(field.kind)
    if scalar is None:
        described.type = proto.TYPE_MESSAGE
        described.type_name = f".{package}.{field.kind}"
        return
    described.type = scalar
    if field.repeated and field.kind not in ("string", "bytes"):
        described.options.packed = True
