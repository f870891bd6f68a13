# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine whose Python device holds the big lock for long.

    python tests/support/slow_device.py RECORDING ACCELERATOR SECONDS [QMP-SOCKET]

Two vCPUs read its register all the time, so that one of them waits while the other is inside. With
a monitor they wait for 'cont'.
"""

import sys
import time
from pathlib import Path

from vmm._native import lib
from vmm.config import MachineConfig
from vmm.guest.image import micro_guest_path
from vmm.machine import Machine
from vmm.monitor.options import MonitorOptions
from vmm.runstate import RunOptions

PORT = 0x700
REGION = "slow-device"


class SlowDevice:
    """A device that thinks about each read."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def read(self, offset: int, size: int) -> int:
        """A register, after a while."""
        self.think_about_it()
        return offset + size

    def write(self, offset: int, value: int, size: int) -> None:
        """Nothing."""

    def think_about_it(self) -> None:
        """The function that a stack must name."""
        time.sleep(self._seconds)


def main(recording: Path, accel: str, seconds: float, monitor: Path | None) -> None:
    """Run until somebody ends us."""
    config = MachineConfig(
        kernel=micro_guest_path(),
        micro_guest=True,
        accel=accel,
        command_line=f"mode=pio hammer=pio:{PORT:#x}:1 reads=1000000 smp=2",
        cpus=2,
        serial="null",
        recording=recording,
        keep_recording=True,
        run=RunOptions(paused=monitor is not None),
        monitors=(MonitorOptions("--qmp", path=monitor),) if monitor is not None else (),
    )
    with Machine(config) as machine:
        machine.add_python_region(lib.IO_PIO, PORT, 1, REGION, SlowDevice(seconds))
        machine.run()


if __name__ == "__main__":
    socket = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), socket)
