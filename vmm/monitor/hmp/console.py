# SPDX-License-Identifier: GPL-2.0-or-later
"""A line of the human monitor: found, parsed, run. Main loop, under the BQL."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vmm.errors import VmmError
from vmm.monitor.hmp.arguments import HmpError, Parameter, parse
from vmm.monitor.registry import Call

log = logging.getLogger("vmm.monitor")


@dataclass(frozen=True)
class HmpCommand:
    """A command: all its names, QEMU's way (``stop|s``); ``usage``: its parameters in words."""

    names: str
    run: Callable[..., str | Awaitable[str] | None]
    doc: str
    usage: str = ""
    parameters: tuple[Parameter, ...] = ()

    def is_called(self, name: str) -> bool:
        """Whether this is one of its names."""
        return name in self.names.split("|")

    def help(self, prefix: str = "") -> str:
        """Its line in ``help``."""
        return f"{prefix}{self.names} {self.usage} -- {self.doc}\n"


async def run_line(call: Call, line: str) -> str:
    """What the monitor prints for a line; complaints are text, too."""
    call.machine.trace.emit("handle_hmp_command", lambda: line)
    try:
        return await _run_line(call, line)
    except HmpError as error:
        return f"{error}\n"
    except VmmError as error:
        return f"Error: {error}\n"
    except Exception as error:
        log.error("a monitor command failed: %r", line, exc_info=error)
        return f"Error: internal error: {type(error).__name__}\n"


async def _run_line(call: Call, line: str) -> str:
    name, _, rest = line.strip().partition(" ")
    if not name:
        return ""
    table, prefix = call.state.hmp, ""
    command = _find(table.commands, name)
    if command is None:
        raise HmpError(f"unknown command: '{name}'")
    if command.is_called("info") and rest.strip():
        prefix = "info "
        name, _, rest = rest.strip().partition(" ")
        command = _find(table.info, name)
        if command is None:
            raise HmpError(f"unknown command: 'info {name}'")
    try:
        arguments = parse(command.names, command.parameters, rest)
    except HmpError as error:
        shown = f"{prefix}{command.names.split('|')[0]}"
        raise HmpError(f'{error}\nTry "help {shown}" for more information') from None
    return await _text(command.run(call, **arguments))


async def _text(answer: Any) -> str:
    if inspect.isawaitable(answer):
        answer = await answer
    return answer or ""


def _find(commands: Iterable[HmpCommand], name: str) -> HmpCommand | None:
    return next((each for each in commands if each.is_called(name)), None)


class HmpTable:
    """All commands, and those of ``info``."""

    def __init__(self, commands: tuple[HmpCommand, ...], info: tuple[HmpCommand, ...]) -> None:
        self.commands = tuple(sorted(commands, key=lambda each: each.names))
        self.info = tuple(sorted(info, key=lambda each: each.names))

    def help(self, words: str) -> str:
        """The text of ``help WORDS``. Raises HmpError."""
        name, _, topic = words.strip().partition(" ")
        if not name:
            return "".join(each.help() for each in self.commands)
        if name == "info" and not topic.strip():
            return "".join(each.help("info ") for each in self.info)
        found = _find(self.info if name == "info" else self.commands, topic.strip() or name)
        if found is None:
            raise HmpError(f"unknown command: '{words.strip()}'")
        return found.help("info " if name == "info" else "")
