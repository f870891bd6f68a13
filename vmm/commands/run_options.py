# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of ``bqlscope run``, each with its place in the help and in a machine file.

Those of displays, monitors and recordings are in :mod:`vmm.commands.run_output_options`.

A new option is one entry. If its Python name is a field of MachineConfig, its value gets there.
"""

from functools import partial

import click

from vmm.cmdline import relative, values
from vmm.cmdline.command import RunOption
from vmm.commands.run_output_options import output_options


def run_options() -> list[click.Parameter]:
    """All of them, in the order of the help; the machine file is the one argument."""
    file = click.Argument(
        ["machine_file"], required=False, metavar="[MACHINE.toml]", type=click.Path()
    )
    groups = (_machine(), _size(), _objects(), _life(), _boot(), _block(), output_options())
    return [file, *(option for group in groups for option in group)]


def _machine() -> list[RunOption]:
    """What it is."""
    option = partial(RunOption, section="Machine")
    return [
        option(
            "--machine",
            "-M",
            "machine",
            metavar="microvm[,...]",
            convert=values.machine,
            toml="machine.type",
            help="Accepted for QEMU's sake: there is one machine, like QEMU's microvm. accel=kvm.",
        ),
        option(
            "--accel",
            "accel",
            metavar="NAME",
            convert=values.accel,
            toml="machine.accel",
            help="kvm, qtest (no CPU virtualisation needed) or auto: kvm where it works. "
            "[default: auto]",
        ),
        option(
            "--cpu",
            "cpu",
            metavar="host",
            convert=values.cpu,
            toml="machine.cpu",
            help="Accepted for QEMU's sake: a vCPU is what the host's KVM offers.",
        ),
    ]


def _size() -> list[RunOption]:
    """How large it is, and what it is called."""
    option = partial(RunOption, section="Machine")
    return [
        option(
            "--smp",
            "cpus",
            metavar="[cpus=]N",
            convert=values.smp,
            toml="machine.smp",
            help="Number of vCPUs. [default: 1]",
        ),
        option(
            "--memory",
            "-m",
            "memory_bytes",
            metavar="[size=]SIZE",
            convert=values.memory,
            toml="machine.memory",
            help="Guest memory, as 128M or 2G. [default: 128M]",
        ),
        option(
            "--name",
            "vm_name",
            metavar="NAME[,process=...]",
            convert=values.vm_name,
            toml="machine.name",
            help="Name of the VM in recordings and monitors; process= names the process.",
        ),
        option(
            "--uuid",
            "uuid",
            metavar="UUID",
            convert=values.uuid_text,
            toml="machine.uuid",
            help="UUID of the VM, for monitors.",
        ),
    ]


def _objects() -> list[RunOption]:
    """What is in it."""
    option = partial(RunOption, section="Machine")
    return [
        option(
            "--object",
            "objects",
            metavar="TYPE,id=ID,...",
            multiple=True,
            implied="qom-type",
            toml="object",
            help="An object: iothread,id=ID,poll-max-ns=NS. 'help' lists the types, 'TYPE,help' "
            "their properties. Repeatable.",
        ),
        option(
            "--device",
            "devices",
            metavar="DRIVER,...",
            multiple=True,
            implied="driver",
            toml="device",
            help="A device, such as virtio-blk-device,drive=ID,iothread=ID. 'help' lists the "
            "drivers, 'DRIVER,help' their properties. Repeatable.",
        ),
        option(
            "--bql-policy",
            "bql_policy",
            metavar="POLICY",
            convert=values.OneOf(values.POLICIES),
            toml="machine.bql-policy",
            help="How the big lock chooses its next owner: pthread (QEMU's), ticket or mcs. "
            "[default: pthread]",
        ),
    ]


def _life() -> list[RunOption]:
    """How it begins and ends."""
    option = partial(RunOption, section="Machine")
    return [
        option(
            "-S",
            "paused",
            is_flag=True,
            toml="machine.paused",
            help="Do not start the vCPUs before a 'cont'.",
        ),
        option(
            "--no-reboot",
            "no_reboot",
            is_flag=True,
            toml="machine.no-reboot",
            help="End instead of resetting the guest.",
        ),
        option(
            "--no-shutdown",
            "no_shutdown",
            is_flag=True,
            toml="machine.no-shutdown",
            help="Stop instead of ending when the guest shuts down; a signal still ends the VM.",
        ),
        option(
            "--dump-machine",
            "dump_machine",
            is_flag=True,
            help="Print the machine as a machine file and exit.",
        ),
    ]


def _boot() -> list[RunOption]:
    """What it boots."""
    option = partial(RunOption, section="Boot")
    return [
        option(
            "--kernel",
            "kernel",
            metavar="FILE",
            convert=values.text,
            toml="machine.kernel",
            relative=relative.kernel,
            help="PVH ELF kernel, or 'micro': the guest that measures.",
        ),
        option(
            "--append",
            "command_line",
            metavar="TEXT",
            convert=values.text,
            toml="machine.append",
            help="Kernel command line.",
        ),
        option(
            "--initrd",
            "initrd",
            metavar="FILE",
            convert=values.path,
            toml="machine.initrd",
            relative=relative.plain,
            help="Initial RAM disk.",
        ),
    ]


def _block() -> list[RunOption]:
    """Its disks."""
    option = partial(RunOption, section="Block")
    return [
        option(
            "--drive",
            "drives",
            metavar="file=FILE,...",
            multiple=True,
            bare="file",
            toml="drive",
            relative=relative.drive,
            help="A raw image and a virtio-blk disk on it: file=, cache=none|writeback|unsafe, "
            "aio=io_uring|threads, readonly=on|off, discard=on|off, id=, driver=null, size=; and "
            "of the disk iothread=ID, iothread-vq-mapping=ID+ID, ioeventfd=on|off, "
            "irq=irqfd|mainloop, num-queues=, queue-size=, serial=, bootindex=. With if=none the "
            "image alone, for --device. Repeatable.",
        ),
        option(
            "--blockdev",
            "blockdevs",
            metavar="driver=...,...",
            multiple=True,
            implied="driver",
            toml="blockdev",
            relative=relative.blockdev,
            help="A block node, as QEMU's: driver=file|raw|null-co, node-name=, filename=, "
            "cache.direct=, aio=, read-only=, discard=; or JSON. Repeatable.",
        ),
    ]
