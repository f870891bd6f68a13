# SPDX-License-Identifier: GPL-2.0-or-later
"""All commands and events of a monitor, and how a request becomes a call of one of them.

Source: the behaviour of QEMU's qapi/qmp-dispatch.c and monitor/qmp.c, its errors included.
"""

import inspect
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmm.errors import VmmError
from vmm.monitor.errors import ErrorClass, MonitorError
from vmm.monitor.qapi import Command, Event
from vmm.monitor.session import Request, Session, error_reply

if TYPE_CHECKING:
    from vmm.machine import Machine
    from vmm.monitor.state import MonitorState

log = logging.getLogger("vmm.monitor")

NEGOTIATE = "qmp_capabilities"


@dataclass(frozen=True)
class Call:
    """What a command gets besides its arguments."""

    machine: "Machine"
    registry: "Registry"
    session: Session
    state: "MonitorState"


class Registry:
    """Commands and events by name."""

    def __init__(self, commands: Iterable[Command], events: Iterable[Event]) -> None:
        self.commands = {each.name: each for each in commands}
        self.events = {each.name: each for each in events}

    def find(self, request: Request, session: Session) -> tuple[Command, dict[str, Any]]:
        """The command that a request is about, and its checked arguments.

        Raises:
            MonitorError: the request is malformed, or there is no such command at this time.
        """
        if request.error is not None:
            raise MonitorError(request.error)
        key, name, arguments = _members(request.value, session.oob)
        command = self.commands.get(name)
        if not session.negotiated and (command is None or name != NEGOTIATE):
            raise MonitorError(
                f"Expecting capabilities negotiation with '{NEGOTIATE}'",
                ErrorClass.COMMAND_NOT_FOUND,
            )
        if command is None:
            raise MonitorError(
                f"The command {name} has not been found", ErrorClass.COMMAND_NOT_FOUND
            )
        if key == "exec-oob" and not command.oob:
            raise MonitorError(f"The command {name} does not support OOB")
        return command, command.check(arguments)

    async def run(self, request: Request, call: Call) -> dict[str, Any]:
        """Carry out an in-band request; the reply without its id. Main loop, under the BQL."""
        try:
            command, arguments = self.find(request, call.session)
            answer = command.run(call, **arguments)
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception as error:
            return _failed(request, error)
        return _answered(answer)

    def run_out_of_band(self, request: Request, call: Call) -> dict[str, Any]:
        """Carry out an OOB request, or the negotiation. The monitor's thread, without the BQL."""
        try:
            command, arguments = self.find(request, call.session)
            return _answered(command.run(call, **arguments))
        except Exception as error:
            return _failed(request, error)


def _answered(answer: Any) -> dict[str, Any]:
    return {"return": {} if answer is None else answer}


def _failed(request: Request, error: Exception) -> dict[str, Any]:
    if isinstance(error, MonitorError):
        return error_reply(error)
    if isinstance(error, VmmError):
        return error_reply(MonitorError(str(error), ErrorClass(error.QAPI_CLASS)))
    log.error("a monitor command failed: %r", request.value, exc_info=error)
    return error_reply(MonitorError(f"internal error: {type(error).__name__}"))


def _members(value: Any, oob: bool) -> tuple[str, str, dict[str, Any]]:
    """``execute`` or ``exec-oob``, the command's name and its arguments."""
    if not isinstance(value, dict):
        raise MonitorError("QMP input must be a JSON object")
    keys = ("execute", "exec-oob") if oob else ("execute",)
    for name in value:
        if name not in (*keys, "arguments", "id"):
            raise MonitorError(f"QMP input member '{name}' is unexpected")
    given = [key for key in keys if key in value]
    if len(given) > 1:
        raise MonitorError("QMP input member 'execute' clashes with 'exec-oob'")
    if not given:
        raise MonitorError("QMP input lacks member 'execute'")
    command, arguments = value[given[0]], value.get("arguments", {})
    if not isinstance(command, str):
        raise MonitorError(f"QMP input member '{given[0]}' must be a string")
    if not isinstance(arguments, dict):
        raise MonitorError("QMP input member 'arguments' must be an object")
    return given[0], command, arguments
