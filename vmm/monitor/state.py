# SPDX-License-Identifier: GPL-2.0-or-later
"""What all monitors of a machine share."""

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from vmm.monitor.lock_reports import LockReports
from vmm.monitor.sync_profile import SyncProfile

if TYPE_CHECKING:
    from vmm.machine import Machine
    from vmm.monitor.hmp.console import HmpTable
    from vmm.runstate import MachineControl


def _package() -> str:
    try:
        return f"bqlscope {version('bqlscope')}"
    except PackageNotFoundError:
        return "bqlscope"


@dataclass
class MonitorState:
    """The machine, and what commands remember between calls."""

    machine: "Machine"
    control: "MachineControl"
    reports: LockReports
    sync_profile: SyncProfile
    hmp: "HmpTable"
    package: str = field(default_factory=_package)
    """Who answers, beside the version of the protocol."""

    @property
    def vm_name(self) -> str:
        """The VM's name, as in its recording."""
        return self.machine.config.vm_name
