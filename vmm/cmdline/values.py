# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of single options in QEMU's forms. Each function raises ValueError with one line.

A value is text from a command line, or a number or text from a machine file.
"""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from vmm import keyval
from vmm.display.options import FramebufferOptions, image_format_of, parse_framebuffer
from vmm.display.vnc.options import EncodeIn, parse_vnc
from vmm.errors import VmmError
from vmm.monitor.options import MonitorOptions, parse_monitor
from vmm.qom.types import parse_bool, parse_number, parse_size

MAX_CPUS = 16
MAX_MEMORY = 1 << 46  # what 46 bits of guest physical address reach
ACCELERATORS = ("auto", "kvm", "qtest")
POLICIES = ("pthread", "ticket", "mcs")
NAME_BYTES = 63  # what a recording keeps of a VM's name
COMM_BYTES = 15  # what the kernel keeps of a thread's name
_MACHINE_FACTS = {
    "acpi": False,
    "auto-kernel-cmdline": True,
    "graphics": False,
    "isa-serial": True,
    "pcie": False,
    "rtc": False,
    "usb": False,
    "x-option-roms": False,
}
"""Properties of QEMU's microvm that may be given, because this is how the machine is anyway."""


@dataclass(frozen=True)
class MachineType:
    """What --machine says. ``accel`` is None if it says nothing about it."""

    accel: str | None = None


@dataclass(frozen=True)
class VmName:
    """What --name says: the VM's name, and that of the process if it is to have another."""

    name: str
    process: str | None = None


def _options(value: object, implied: str) -> dict[str, object]:
    """A key=value text whose first key is implied; a number stands for that first one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {implied: value}
    if not isinstance(value, str):
        raise ValueError("must be a number or text")
    return dict(keyval.parse(value, implied))


def _unknown(options: dict[str, object], known: str) -> None:
    for key in options:
        raise ValueError(f"unknown key '{key}': write {known}")


def smp(value: object) -> int:
    """``2``, ``cpus=2``, with a topology if it is that of this machine: a socket for each vCPU."""
    options = _options(value, "cpus")
    given = options.pop("cpus", options.get("maxcpus", options.get("sockets", 1)))
    cpus = parse_number(given)
    if cpus is None or not 1 <= cpus <= MAX_CPUS:
        raise ValueError(f"must be from 1 to {MAX_CPUS}")
    for key, is_so in (("maxcpus", cpus), ("sockets", cpus)):
        if parse_number(options.pop(key, is_so)) != is_so:
            raise ValueError(f"{key} must be {cpus}: each vCPU is a socket, none is added later")
    for key in ("dies", "clusters", "cores", "threads"):
        if parse_number(options.pop(key, 1)) != 1:
            raise ValueError(f"{key} must be 1: each vCPU is a socket of its own")
    _unknown(options, "cpus=N")
    return cpus


def memory(value: object) -> int:
    """Bytes of ``128M``, ``size=1G``, ``65536k``; a bare number is MiB, as in QEMU."""
    options = _options(value, "size")
    given = options.pop("size", "")
    for key in ("slots", "maxmem"):
        if key in options:
            raise ValueError(f"{key}: no memory is added later: leave it out")
    _unknown(options, "size=SIZE")
    size = parse_size(given, unit=1 << 20)
    if size is None or not 0 < size <= MAX_MEMORY:
        raise ValueError("must be a size such as 128M or 2G")
    return size


def accel(value: object) -> str:
    """``kvm``, ``accel=kvm``, ``kvm,kernel-irqchip=on``."""
    options = _options(value, "accel")
    name = str(options.pop("accel", ""))
    if name not in ACCELERATORS:
        why = ": there is no emulated CPU here" if name == "tcg" else ""
        raise ValueError(f"must be one of {', '.join(ACCELERATORS)}{why}")
    if str(options.pop("kernel-irqchip", "on")) != "on":
        raise ValueError("kernel-irqchip must be on")
    _unknown(options, "kvm or qtest")
    return name


def machine(value: object) -> MachineType:
    """``microvm[,accel=kvm:…]``; the properties of QEMU's microvm that are so here."""
    options = _options(value, "type")
    kind = options.pop("type", "microvm")
    if kind not in ("microvm", "none"):
        raise ValueError(
            f"'{kind}': there is one machine, which is like QEMU's microvm: -M microvm"
        )
    for key, is_so in _MACHINE_FACTS.items():
        if parse_bool(options.pop(key, is_so)) is not is_so:
            raise ValueError(f"{key} must be {'on' if is_so else 'off'} here")
    names = str(options.pop("accel", "")).split(":")
    _unknown(options, f"microvm, accel=, {', '.join(_MACHINE_FACTS)}")
    known = [name for name in names if name in ACCELERATORS]
    if names != [""] and not known:
        raise ValueError(f"accel must be one of {', '.join(ACCELERATORS)}")
    return MachineType(known[0] if known else None)


def cpu(value: object) -> None:
    """``host`` or ``max``: which is what a vCPU is."""
    if value not in ("host", "max"):
        raise ValueError("a vCPU has what the host's KVM offers: use -cpu host, or leave it out")


def vm_name(value: object) -> VmName:
    """``NAME``, ``guest=NAME``, ``NAME,process=NAME,debug-threads=on``."""
    options = _options(value, "guest")
    name = options.pop("guest", "")
    if (
        not isinstance(name, str)
        or not name
        or not name.isprintable()
        or len(name.encode()) > NAME_BYTES
    ):
        raise ValueError(f"must be a name of 1 to {NAME_BYTES} bytes, printable")
    if not parse_bool(options.pop("debug-threads", True)):
        raise ValueError("debug-threads must be on: threads always bear their names")
    process = options.pop("process", None)
    _unknown(options, "NAME, process=, debug-threads=on")
    if process is not None and not 0 < len(str(process).encode(errors="replace")) <= COMM_BYTES:
        raise ValueError(f"process must be a name of 1 to {COMM_BYTES} bytes")
    return VmName(name, str(process) if process is not None else None)


def uuid_text(value: object) -> str:
    """A UUID in its usual form of 36 characters."""
    try:
        found = uuid.UUID(value) if isinstance(value, str) and len(value) == 36 else None
    except ValueError:
        found = None
    if found is None:
        raise ValueError("must be a UUID such as 550e8400-e29b-41d4-a716-446655440000")
    return str(found)


def serial(value: object) -> str:
    """``stdio``, ``stderr``, ``null``, ``none`` or ``file:PATH``."""
    if value == "none":
        return "null"
    named = isinstance(value, str) and value.startswith("file:") and len(value) > 5
    if not named and value not in ("stdio", "stderr", "null"):
        raise ValueError("must be stdio, stderr, null or file:PATH")
    return str(value)


def path(value: object) -> Path:
    """A file's name."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be the name of a file")
    return Path(value)


def output(value: object) -> Path:
    """A file that can be made or written, or ``-``; whether it can is looked at now."""
    found = path(value)
    if value == "-":
        return found
    if found.is_dir():
        raise ValueError(f"{found} is a directory, not a file")
    if not found.parent.is_dir():
        raise ValueError(f"{found}: there is no directory {found.parent}")
    if not os.access(found if found.exists() else found.parent, os.W_OK):
        raise ValueError(f"{found}: no permission to write there")
    return found


def picture(value: object) -> Path:
    """A file that a picture can be written to: .png or .ppm."""
    found = path(value)
    try:
        image_format_of(found)
    except VmmError as error:
        raise ValueError(str(error)) from None
    return output(value)


def framebuffer(value: object) -> FramebufferOptions:
    """``1024x768``: width and height in pixels."""
    try:
        return parse_framebuffer(text(value))
    except VmmError as error:
        raise ValueError(str(error)) from None


def monitor(option: str, value: object) -> MonitorOptions | None:
    """``unix:PATH`` or ``tcp:HOST:PORT`` of --qmp or --monitor (``option``); ``none``."""
    if value in ("none", "null"):
        return None
    try:
        return parse_monitor(option, text(value))
    except VmmError as error:
        raise ValueError(str(error).removeprefix(f"{option} {value}: ")) from None


def vnc(value: object) -> str:
    """``:N[,...]``, checked; displays get their ids when all are known."""
    try:
        return parse_vnc(text(value)).text
    except VmmError as error:
        raise ValueError(str(error).removeprefix(f"--vnc {value}: ")) from None


def encode_in(value: object) -> EncodeIn:
    """``worker`` or ``mainloop``."""
    return EncodeIn(OneOf(tuple(each.value for each in EncodeIn))(value))


def text(value: object) -> str:
    """Any text."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("must be text")
    return value


@dataclass(frozen=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    def __call__(self, value: object) -> str:
        """Check; raises ValueError."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}")
        return value
