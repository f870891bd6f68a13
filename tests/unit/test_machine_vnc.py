# SPDX-License-Identifier: GPL-2.0-or-later
"""VNC displays as part of a machine."""

from pathlib import Path

from vmm.config import MachineConfig
from vmm.display.options import FramebufferOptions
from vmm.display.vnc.options import parse_displays
from vmm.machine import Machine


def test_the_title_of_a_stopped_machine_says_so(tmp_path: Path) -> None:
    config = MachineConfig(
        kernel=Path("micro"),
        micro_guest=True,
        command_line="mode=idle ms=1",
        accel="qtest",
        serial="null",
        record=False,
        framebuffer=FramebufferOptions(64, 64),
        vnc=parse_displays((f"unix:{tmp_path / 'vnc'}",)),
    )
    with Machine(config) as machine:
        assert machine.vnc is not None
        name = machine.console.name
        assert machine.vnc.watch.title == name
        machine.events.emit("STOP")
        assert machine.vnc.watch.title == f"{name} [Stopped]"
        machine.events.emit("RESUME")
        assert machine.vnc.watch.title == name
        assert machine.vnc.statistics() == {"clients": []}
