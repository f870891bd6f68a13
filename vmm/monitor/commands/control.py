# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol about itself (qapi/control.json, qapi/introspect.json)."""

from typing import Any

from vmm.monitor.errors import ErrorClass, MonitorError
from vmm.monitor.introspect import schema_info
from vmm.monitor.qapi import ANY, BOOL, INT, STR, Array, Command, Enum, Member, Struct, optional
from vmm.monitor.registry import NEGOTIATE, Call
from vmm.monitor.session import version_info

_CAPABILITY = Enum("QMPCapability", ("oob",), "Parts of the protocol that a client may enable.")
_VERSION_TRIPLE = Struct(
    "VersionTriple", (Member("major", INT), Member("minor", INT), Member("micro", INT))
)
_VERSION = Struct(
    "VersionInfo",
    (
        Member("qemu", _VERSION_TRIPLE, "version of QEMU whose protocol this is"),
        Member("package", STR, "who answers: `bqlscope` and its version"),
    ),
)
_NAMED = Struct("CommandInfo", (Member("name", STR),))
_JSON_TYPES = ("string", "number", "int", "boolean", "null", "object", "array", "value")
_META_TYPES = ("builtin", "enum", "array", "object", "alternate", "command", "event")
_ENUM_MEMBER = Struct(
    "SchemaInfoEnumMember", (Member("name", STR), optional("features", Array(STR)))
)
_OBJECT_MEMBER = Struct(
    "SchemaInfoObjectMember",
    (
        Member("name", STR),
        Member("type", STR),
        optional("default", ANY, "null for a member that may be left out"),
        optional("features", Array(STR)),
    ),
)
_VARIANT = Struct("SchemaInfoObjectVariant", (Member("case", STR), Member("type", STR)))
_SCHEMA = Struct(
    "SchemaInfo",
    (
        Member("name", STR),
        Member("meta-type", Enum("SchemaMetaType", _META_TYPES)),
        optional("features", Array(STR)),
    ),
    tag="meta-type",
    variants={
        "builtin": Struct(
            "SchemaInfoBuiltin", (Member("json-type", Enum("JSONType", _JSON_TYPES)),)
        ),
        "enum": Struct(
            "SchemaInfoEnum",
            (Member("members", Array(_ENUM_MEMBER)), Member("values", Array(STR))),
        ),
        "array": Struct("SchemaInfoArray", (Member("element-type", STR),)),
        "object": Struct(
            "SchemaInfoObject",
            (
                Member("members", Array(_OBJECT_MEMBER)),
                optional("tag", STR),
                optional("variants", Array(_VARIANT)),
            ),
        ),
        "alternate": Struct(
            "SchemaInfoAlternate",
            (
                Member(
                    "members", Array(Struct("SchemaInfoAlternateMember", (Member("type", STR),)))
                ),
            ),
        ),
        "command": Struct(
            "SchemaInfoCommand",
            (Member("arg-type", STR), Member("ret-type", STR), optional("allow-oob", BOOL)),
        ),
        "event": Struct("SchemaInfoEvent", (Member("arg-type", STR),)),
    },
)


def _negotiate(call: Call, enable: list[str] | None = None) -> None:
    if call.session.negotiated:
        raise MonitorError(
            "Capabilities negotiation is already complete, command ignored",
            ErrorClass.COMMAND_NOT_FOUND,
        )
    call.session.oob = "oob" in (enable or [])
    call.session.negotiated = True


def _version(call: Call) -> dict[str, Any]:
    return version_info(call.state.package)


def _commands(call: Call) -> list[dict[str, Any]]:
    return [{"name": name} for name in call.registry.commands]


def _schema(call: Call) -> list[dict[str, Any]]:
    return schema_info(call.registry.commands.values(), call.registry.events.values())


COMMANDS = (
    Command(
        NEGOTIATE,
        _negotiate,
        "End the negotiation; until then no other command is taken.",
        (optional("enable", Array(_CAPABILITY), "capabilities to enable", "none"),),
    ),
    Command("query-version", _version, "Version of the protocol, and who answers.",
            returns=_VERSION),
    Command("query-commands", _commands, "Names of all commands.", returns=Array(_NAMED)),
    Command("query-qmp-schema", _schema, "Commands, events and their types, for programs.",
            returns=Array(_SCHEMA)),
)  # fmt: skip
