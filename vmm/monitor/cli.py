# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of ``bqlscope run`` that are about monitors."""

from collections.abc import Callable
from typing import Any

import click

from vmm.monitor.options import MonitorOptions, parse_monitor

_OPTIONS = (
    click.option(
        "--qmp",
        "qmp",
        multiple=True,
        metavar="unix:PATH|tcp:HOST:PORT",
        help="Listen for QMP, QEMU's machine protocol; see 'bqlscope monitor'. Repeatable.",
    ),
    click.option(
        "--monitor",
        "monitor",
        multiple=True,
        metavar="unix:PATH|tcp:HOST:PORT",
        help="Listen for the human monitor's commands, a line each. Repeatable.",
    ),
    click.option(
        "--trace",
        "trace",
        multiple=True,
        metavar="PATTERN",
        help="Tell trace events on standard error, as 'monitor_qmp_*'. Repeatable.",
    ),
)


def monitor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, in their order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def parse_monitors(qmp: tuple[str, ...], monitor: tuple[str, ...]) -> tuple[MonitorOptions, ...]:
    """What ``--qmp`` and ``--monitor`` said. Raises VmmError."""
    return (
        *(parse_monitor("--qmp", text) for text in qmp),
        *(parse_monitor("--monitor", text) for text in monitor),
    )
