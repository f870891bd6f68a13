# SPDX-License-Identifier: GPL-2.0-or-later
"""What a monitor needs to steer a machine."""

from enum import Enum
from typing import Any, Protocol

from vmm.requests import RequestKind


class Control(Protocol):
    """Main thread, under the BQL. Events come before these return."""

    @property
    def state(self) -> Enum:
        """The run state; its value is QAPI's name."""

    def stop(self) -> None:
        """Pause the vCPUs."""

    def cont(self) -> None:
        """Let them run."""

    def reset(self) -> None:
        """Reset the machine."""

    def powerdown(self) -> None:
        """Press the power button."""

    def quit(self) -> None:
        """End the machine."""


class _State(Enum):
    RUNNING = "running"
    PAUSED = "paused"


class InterimControl:
    """Steers a machine."""

    def __init__(self, machine: Any) -> None:
        self.state = _State.RUNNING
        self.machine = machine

    def stop(self) -> None:
        """Pause."""
        if self.state is _State.RUNNING:
            self.machine.stop()
            self.state = _State.PAUSED
            self.machine.events.emit("STOP")

    def cont(self) -> None:
        """Run."""
        if self.state is _State.PAUSED:
            self.state = _State.RUNNING
            self.machine.events.emit("RESUME")
            self.machine.start()

    def reset(self) -> None:
        """Reset."""
        raise NotImplementedError

    def powerdown(self) -> None:
        """Press."""
        self.machine.events.emit("POWERDOWN")

    def quit(self) -> None:
        """End."""
        self.machine.events.emit("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
        self.machine.requests.file(RequestKind.SHUTDOWN, 0, "quit")
