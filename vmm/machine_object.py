# SPDX-License-Identifier: GPL-2.0-or-later
"""``/machine``: what the machine was made with, for a monitor to read."""

from typing import TYPE_CHECKING

from vmm.qom import QomObject, ReadOnly

if TYPE_CHECKING:
    from vmm.config import MachineConfig


class AnyMachine(QomObject):
    """The type that QEMU's machines derive from too."""

    TYPE = "machine"
    ABSTRACT = True


class MachineObject(AnyMachine):
    """The machine as an object; nothing of it can change.

    Args:
        config: what the machine is made with.
        accel: the accelerator in use, which ``config.accel`` may have left open.
    """

    TYPE = "bqlscope-machine"

    accel = ReadOnly[str]("string", lambda self: self.accel_name, "accelerator in use")
    smp = ReadOnly[int]("int", lambda self: self.config.cpus, "number of vCPUs")
    memory_size = ReadOnly[int]("size", lambda self: self.config.memory_bytes, "bytes of memory")
    kernel = ReadOnly[str]("string", lambda self: str(self.config.kernel), "kernel image")
    initrd = ReadOnly[str]("string", lambda self: str(self.config.initrd or ""), "initial RAM disk")
    append = ReadOnly[str]("string", lambda self: self.config.command_line, "kernel command line")
    uuid = ReadOnly[str]("string", lambda self: self.config.uuid or "", "UUID, empty if none")
    bql_policy = ReadOnly[str](
        "string", lambda self: self.config.bql_policy, "how the big lock chooses its next owner"
    )

    def __init__(self, config: "MachineConfig", accel: str) -> None:
        super().__init__("machine")
        self.config = config
        self.accel_name = accel
        self.realized = True
