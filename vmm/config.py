# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine is made of: parsed and checked once, frozen, then acted on."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from vmm.block.options import DriveError, DriveOptions, parse_drive
from vmm.devices.virtio_slots import SLOTS
from vmm.display.options import FramebufferOptions
from vmm.display.vnc.options import EncodeIn, VncOptions
from vmm.errors import VmmError
from vmm.monitor.options import MonitorOptions
from vmm.runstate import RunOptions

MAX_DRIVES = SLOTS
MAX_CPUS = 16
MAX_MEMORY = 1 << 46  # what 46 bits of guest physical address reach
MICRO_GUEST = "micro"
_SUFFIXES = {"": 1 << 20, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True)
class ObjectOptions:
    """One ``--object``: its type, id and other properties as text."""

    type: str
    id: str
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """Everything ``bqlscope run`` can be told about a machine."""

    kernel: Path
    micro_guest: bool = False
    command_line: str = ""
    initrd: Path | None = None
    cpus: int = 1
    memory_bytes: int = 128 << 20
    accel: str = "auto"
    objects: tuple[ObjectOptions, ...] = ()
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

    def __post_init__(self) -> None:
        if not 1 <= self.cpus <= MAX_CPUS:
            raise VmmError(f"--smp {self.cpus}: must be from 1 to {MAX_CPUS}")
        if len(self.drives) > MAX_DRIVES:
            raise VmmError(f"at most {MAX_DRIVES} drives fit into the virtio-mmio slots")
        if not self.record:
            for given, option in (
                (self.recording is not None, "--recording"),
                (self.keep_recording, "--keep-recording"),
                (self.window_recording, "--window-recording"),
            ):
                if given:
                    raise VmmError(f"{option} and --no-record exclude each other")


def parse_size(text: str) -> int:
    """Bytes of ``128M``, ``1G``, ``1T``, ``65536k``; a bare number is MiB, as in QEMU.

    Raises:
        VmmError: not a size.
    """
    match = re.fullmatch(r"([0-9]{1,12})([kKmMgGtT]?)", text)
    size = int(match[1]) * _SUFFIXES[match[2].lower()] if match else 0
    if not 0 < size <= MAX_MEMORY:
        raise VmmError(f"--memory {text}: must be a size such as 128M or 2G")
    return size


def parse_object(text: str) -> ObjectOptions:
    """``iothread,id=io0,poll-max-ns=32768``, as QEMU's -object.

    Raises:
        VmmError: not of that form.
    """
    kind, *pairs = text.split(",")
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in values:
            raise VmmError(f"--object {text}: expected TYPE,id=ID[,property=value...]")
        values[key] = value
    object_id = values.pop("id", "")
    if kind != "iothread":
        raise VmmError(f"--object {text}: unknown type '{kind}' (known: iothread)")
    if not object_id:
        raise VmmError(f"--object {text}: needs an id, as in {kind},id=io0")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", object_id):
        raise VmmError(f"--object {text}: an id is a letter, then letters, digits, '-', '.' or '_'")
    return ObjectOptions(kind, object_id, values)


def parse_drives(texts: tuple[str, ...]) -> tuple[DriveOptions, ...]:
    """All ``--drive`` strings.

    Raises:
        VmmError: one of them is wrong; the message names it.
    """
    drives = []
    for text in texts:
        try:
            drives.append(parse_drive(text))
        except DriveError as error:
            raise VmmError(f"--drive {text}: {error}") from None
    return tuple(drives)
