# SPDX-License-Identifier: GPL-2.0-or-later
"""What belongs nowhere else (qapi/misc.json)."""

from vmm.monitor.errors import MonitorError
from vmm.monitor.hmp.console import run_line
from vmm.monitor.qapi import INT, STR, Command, Member, optional
from vmm.monitor.registry import Call


async def _human_monitor(call: Call, command_line: str, cpu_index: int | None = None) -> str:
    if cpu_index is not None and not 0 <= cpu_index < len(call.machine.cpus):
        raise MonitorError("Parameter 'cpu-index' expects a CPU number")
    return (await run_line(call, command_line)).replace("\n", "\r\n")


COMMANDS = (
    Command(
        "human-monitor-command",
        _human_monitor,
        "Run a command of the human monitor; its text, with CRLF line ends.",
        (
            Member("command-line", STR, "as typed"),
            optional("cpu-index", INT, "accepted, unused: no command here depends on a vCPU"),
        ),
        returns=STR,
    ),
)
