# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope monitor`: talk to the QMP monitor of a VM, ours or QEMU's."""

import os
import sys
from pathlib import Path

import click

from profiler.errors import EXIT_VIOLATED
from profiler.monitor.client import MonitorClient
from profiler.monitor.shell import Output, Shell, is_terminal

NO_LIMIT = 0.0

HELP = """Ask a running VM, ours (--qmp) or a QEMU (-qmp), and steer it.

\b
  bqlscope run --kernel micro --qmp unix:vm.sock ...
  bqlscope monitor vm.sock
  (qmp) query-status
  (qmp) qom-get path=/objects/io0 property=poll-max-ns
  (qmp) send-key keys=[{"type":"qcode","data":"ret"}]
  (qmp) {"exec-oob": "x-query-bql"}

A line is a command with key=value arguments, as in qmp-shell, or QMP's JSON.
With -H it is a command of the human monitor: info sync-profile. Events are
shown as they come. Tab completes commands, arguments and their words.

\b
Once, for scripts; the exit status is 1 if the monitor refused a command:
  bqlscope monitor vm.sock -c query-status
  bqlscope monitor vm.sock -H -c 'info sync-profile -m 20'

SOCKET is the path of a Unix socket, or HOST:PORT on this machine; --qmp's own
words are understood, too."""


@click.command(help=HELP)
@click.argument("address", metavar="SOCKET")
@click.option(
    "-c",
    "--command",
    "commands",
    multiple=True,
    metavar="LINE",
    help="Carry out a line, and end. Repeatable.",
)
@click.option("-H", "--hmp", "human", is_flag=True, help="Lines are for the human monitor.")
@click.option("--json", "compact", is_flag=True, help="Answers and events in one line each.")
@click.option(
    "--timeout",
    default=NO_LIMIT,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long to wait for an answer.  Default: until Ctrl-C.",
)
@click.pass_context
def monitor(
    ctx: click.Context,
    address: str,
    commands: tuple[str, ...],
    human: bool,
    compact: bool,
    timeout: float,
) -> None:
    """Connect, then carry out lines."""
    output = Output(sys.stdout, compact)
    # Events go where the answers go, but not among the answers of a script that asked once.
    show = (lambda _event: None) if commands else output.event
    with MonitorClient(plain_address(address), show, output.closed) as client:
        shell = Shell(client, output, human=human, timeout=timeout or None)
        if commands:
            worked = shell.run_lines(iter(commands))
        elif is_terminal():
            shell.converse(history_file())
            worked = True
        else:
            worked = shell.run_lines(sys.stdin)
    ctx.exit(0 if worked else EXIT_VIOLATED)


def plain_address(text: str) -> str:
    """An address without what `--qmp` has around it: `unix:` or `tcp:`, `,server=on,wait=off`."""
    for kind in ("unix:", "tcp:"):
        if text.startswith(kind):
            words = text.removeprefix(kind).replace(",,", "\0")  # a comma in a path is doubled
            return words.partition(",")[0].replace("\0", ",")
    return text


def history_file() -> Path | None:
    """Where lines are remembered; None if there is no home."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        base = Path(state) if state else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return base / "bqlscope" / "monitor_history"
