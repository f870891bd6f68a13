# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command and event there is."""

from vmm.monitor.commands import (
    block,
    blockstats,
    bql,
    control,
    hotplug,
    machine,
    misc,
    qom,
    run_state,
    stats,
    trace,
    ui,
    vnc,
)
from vmm.monitor.events import EVENTS
from vmm.monitor.registry import Registry

_MODULES = (
    control,
    run_state,
    machine,
    block,
    blockstats,
    stats,
    qom,
    hotplug,
    ui,
    vnc,
    trace,
    bql,
    misc,
)


def registry() -> Registry:
    """All commands by subject, and all events."""
    return Registry(
        [each for module in _MODULES for each in module.COMMANDS], (*EVENTS, *vnc.EVENTS)
    )
