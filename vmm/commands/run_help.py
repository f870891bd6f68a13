# SPDX-License-Identifier: GPL-2.0-or-later
"""Text of ``bqlscope run --help``, and what ``-device help`` and its kin print."""

from collections.abc import Iterable

from vmm.cmdline import values
from vmm.qom import TypeRegistry
from vmm.qom.create import device_class, object_class, property_help

HELP = """Boot a virtual machine whose big lock is timed.

Options are QEMU's where QEMU has them, with one dash or two. MACHINE.toml has the same options in
sections; what is typed beside it comes on top.

\b
The micro-guest measures disk and device-access latency and prints one line:
  bqlscope run --kernel micro --smp 2 --object iothread,id=io0 \\
    --drive file=disk.img,cache=none,iothread=io0 \\
    --append "iodepth=32 bs=4096 ms=1000"

\b
A Linux kernel (an uncompressed vmlinux, CONFIG_PVH=y), in QEMU's words:
  bqlscope run -M microvm -accel kvm -kernel vmlinux -smp 2 -m 512M \\
    -object iothread,id=io0 -drive if=none,id=d0,file=root.img,cache=none \\
    -device virtio-blk-device,drive=d0,iothread=io0 \\
    -append "console=ttyS0 root=/dev/vda" -nodefaults -nographic

\b
Where a disk's queues are processed follows from its properties:
  ioeventfd=off               by the vCPU that kicked, under the lock
  (nothing)                   by the main loop, under the lock
  iothread=ID                 by that iothread, off the lock
  iothread-vq-mapping=ID+ID   by several iothreads, queue by queue"""

EXIT_STATUS = """\b
Exit status:
  0     after a shutdown, or what the guest wrote to port 0xf4 (debug exit)
  1     after a crash, or if the machine cannot be built
  2     for a wrong command line or machine file; nothing was started
  130   after Ctrl-C"""


def answer_help(
    objects: Iterable[str], devices: Iterable[str], others: Iterable[str], types: TypeRegistry
) -> list[str] | None:
    """The lines that ``-object help``, ``-device X,help`` or ``-machine help`` ask for, or None.

    Raises:
        VmmError: help about a type that does not exist.
    """
    for text in devices:
        if text in _HELP_WORDS:
            return [f'name "{name}", bus virtio-bus' for name in types.devices()]
        if (driver := _asked_about(text)) is not None:
            return property_help(device_class(types, driver))
    for text in objects:
        if text in _HELP_WORDS:
            return ["List of user creatable objects:", *(f"  {name}" for name in types.objects())]
        if (kind := _asked_about(text)) is not None:
            return property_help(object_class(types, kind))
    if any(text in _HELP_WORDS for text in others):
        return [
            "Supported machines are:",
            "microvm              virtio-mmio disks, a serial port, no firmware, no PCI",
            f"Accelerators: {', '.join(values.ACCELERATORS)}",
            "CPU: host",
        ]
    return None


def _asked_about(text: str) -> str | None:
    """``X`` of ``X,help``."""
    name, _, rest = text.partition(",")
    return name if rest in _HELP_WORDS else None


_HELP_WORDS = ("help", "?")
