# SPDX-License-Identifier: GPL-2.0-or-later
"""Switches of trace events (qapi/trace.json)."""

from typing import Any

from vmm.monitor.qapi import BOOL, STR, Array, Command, Enum, Member, Struct, optional
from vmm.monitor.registry import Call

_STATE = Enum("TraceEventState", ("unavailable", "disabled", "enabled"))
_INFO = Struct("TraceEventInfo", (Member("name", STR), Member("state", _STATE)))
_NAME = Member("name", STR, "of an event, or a pattern with `*` and `?`")


def _get(call: Call, name: str) -> list[dict[str, Any]]:
    trace = call.machine.trace
    return [
        {"name": each, "state": "enabled" if trace.is_enabled(each) else "disabled"}
        for each in trace.names(name)
    ]


def _set(call: Call, name: str, enable: bool, ignore_unavailable: bool = False) -> None:
    call.machine.trace.switch(name, enable)


COMMANDS = (
    Command(
        "trace-event-get-state",
        _get,
        "Whether trace events are told on standard error.",
        (_NAME,),
        Array(_INFO),
    ),
    Command(
        "trace-event-set-state",
        _set,
        "Switch trace events on or off.",
        (
            _NAME,
            Member("enable", BOOL),
            optional("ignore-unavailable", BOOL, "all are available", "false"),
        ),
    ),
)
