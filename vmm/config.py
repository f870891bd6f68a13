# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine is made of: parsed and checked once, frozen, then acted on."""

from dataclasses import dataclass, field
from pathlib import Path

from vmm.block.blockdev import NodeOptions
from vmm.block.options import DriveOptions
from vmm.cmdline import values
from vmm.cmdline.given import OptionError
from vmm.cmdline.objects import ObjectOptions
from vmm.devices.virtio_slots import SLOTS
from vmm.display.options import FramebufferOptions
from vmm.display.vnc.options import EncodeIn, VncOptions
from vmm.errors import VmmError
from vmm.monitor.options import MonitorOptions
from vmm.runstate import RunOptions

MAX_DRIVES = SLOTS
MICRO_GUEST = "micro"


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """Everything ``bqlscope run`` can be told about a machine.

    ``blockdevs`` are block nodes; ``drives`` the disks in the order of their slots, each with an
    image of its own or on one of the nodes.
    """

    kernel: Path
    micro_guest: bool = False
    command_line: str = ""
    initrd: Path | None = None
    name: str | None = None
    process_name: str | None = None
    uuid: str | None = None
    cpus: int = 1
    memory_bytes: int = 128 << 20
    accel: str = "auto"
    objects: tuple[ObjectOptions, ...] = ()
    blockdevs: tuple[NodeOptions, ...] = ()
    drives: tuple[DriveOptions, ...] = ()
    serial: str = "stdio"
    framebuffer: FramebufferOptions | None = None
    """None: no display device; what looks at the screen sees a black one."""
    vnc: tuple[VncOptions, ...] = ()
    vnc_encode: EncodeIn = EncodeIn.WORKER
    bql_policy: str = "pthread"
    record: bool = True
    recording: Path | None = None
    keep_recording: bool = False
    window_recording: bool = False
    monitors: tuple[MonitorOptions, ...] = ()
    trace: tuple[str, ...] = ()
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def vm_name(self) -> str:
        """What recordings and monitors call the VM: its name, else its kernel's."""
        return self.name or self.kernel.stem

    def __post_init__(self) -> None:
        if not 1 <= self.cpus <= values.MAX_CPUS:
            raise OptionError(f"--smp {self.cpus}: must be from 1 to {values.MAX_CPUS}")
        if len(self.drives) > MAX_DRIVES:
            raise OptionError(f"at most {MAX_DRIVES} drives fit into the virtio-mmio slots")
        if not self.record:
            for given, option in (
                (self.recording is not None, "--recording"),
                (self.keep_recording, "--keep-recording"),
                (self.window_recording, "--window-recording"),
            ):
                if given:
                    raise OptionError(f"{option} and --no-record exclude each other")


def parse_size(text: str) -> int:
    """Bytes of ``128M``, ``1G``, ``1T``, ``65536k``; a bare number is MiB, as in QEMU.

    Raises:
        VmmError: not a size.
    """
    try:
        return values.memory(text)
    except ValueError as error:
        raise VmmError(f"--memory {text}: {error}") from None
