# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of ``bqlscope run``, each with its place in the help and in a machine file.

A new option is one entry. If its Python name is a field of MachineConfig, its value gets there.
"""

from functools import partial

import click

from vmm.cmdline import relative, values
from vmm.cmdline.command import RunOption
from vmm.commands.metrics import DEFAULT_ADDRESS

DEFAULT_SCREEN = "1024x768"


def run_options() -> list[click.Parameter]:
    """All of them, in the order of the help; the machine file is the one argument."""
    file = click.Argument(
        ["machine_file"], required=False, metavar="[MACHINE.toml]", type=click.Path()
    )
    return [
        file,
        *_machine(),
        *_boot(),
        *_block(),
        *_display(),
        *_monitor(),
        *_recording(),
        *_other(),
    ]


def _machine() -> list[RunOption]:
    section = "Machine"
    return [
        RunOption(
            *("--machine", "-M", "machine"),
            section=section,
            metavar="microvm[,...]",
            convert=values.machine,
            toml="machine.type",
            help="Accepted for QEMU's sake: there is one machine, like QEMU's microvm. accel=kvm.",
        ),
        RunOption(
            *("--accel", "accel"),
            section=section,
            metavar="NAME",
            convert=values.accel,
            toml="machine.accel",
            help="kvm, qtest (no CPU virtualisation needed) or auto: kvm where it works. "
            "[default: auto]",
        ),
        RunOption(
            *("--smp", "cpus"),
            section=section,
            metavar="[cpus=]N",
            convert=values.smp,
            toml="machine.smp",
            help="Number of vCPUs. [default: 1]",
        ),
        RunOption(
            *("--memory", "-m", "memory_bytes"),
            section=section,
            metavar="[size=]SIZE",
            convert=values.memory,
            toml="machine.memory",
            help="Guest memory, as 128M or 2G. [default: 128M]",
        ),
        RunOption(
            *("--cpu", "cpu"),
            section=section,
            metavar="host",
            convert=values.cpu,
            toml="machine.cpu",
            help="Accepted for QEMU's sake: a vCPU is what the host's KVM offers.",
        ),
        RunOption(
            *("--name", "vm_name"),
            section=section,
            metavar="NAME[,process=...]",
            convert=values.vm_name,
            toml="machine.name",
            help="Name of the VM in recordings and monitors; process= names the process.",
        ),
        RunOption(
            *("--uuid", "uuid"),
            section=section,
            metavar="UUID",
            convert=values.uuid_text,
            toml="machine.uuid",
            help="UUID of the VM, for monitors.",
        ),
        RunOption(
            *("--object", "objects"),
            section=section,
            metavar="TYPE,id=ID,...",
            multiple=True,
            implied="qom-type",
            toml="object",
            help="An object: iothread,id=ID,poll-max-ns=NS. 'help' lists the types, 'TYPE,help' "
            "their properties. Repeatable.",
        ),
        RunOption(
            *("--device", "devices"),
            section=section,
            metavar="DRIVER,...",
            multiple=True,
            implied="driver",
            toml="device",
            help="A device, such as virtio-blk-device,drive=ID,iothread=ID. 'help' lists the "
            "drivers, 'DRIVER,help' their properties. Repeatable.",
        ),
        RunOption(
            *("--bql-policy", "bql_policy"),
            section=section,
            metavar="POLICY",
            convert=values.OneOf(values.POLICIES),
            toml="machine.bql-policy",
            help="How the big lock chooses its next owner: pthread (QEMU's), ticket or mcs. "
            "[default: pthread]",
        ),
        RunOption(
            *("-S", "paused"),
            section=section,
            is_flag=True,
            toml="machine.paused",
            help="Do not start the vCPUs before a 'cont'.",
        ),
        RunOption(
            *("--no-reboot", "no_reboot"),
            section=section,
            is_flag=True,
            toml="machine.no-reboot",
            help="End instead of resetting the guest.",
        ),
        RunOption(
            *("--no-shutdown", "no_shutdown"),
            section=section,
            is_flag=True,
            toml="machine.no-shutdown",
            help="Stop instead of ending when the guest shuts down; a signal still ends the VM.",
        ),
        RunOption(
            *("--dump-machine", "dump_machine"),
            section=section,
            is_flag=True,
            help="Print the machine as a machine file and exit.",
        ),
    ]


def _boot() -> list[RunOption]:
    section = "Boot"
    return [
        RunOption(
            *("--kernel", "kernel"),
            section=section,
            metavar="FILE",
            convert=values.text,
            toml="machine.kernel",
            relative=relative.kernel,
            help="PVH ELF kernel, or 'micro': the guest that measures.",
        ),
        RunOption(
            *("--append", "command_line"),
            section=section,
            metavar="TEXT",
            convert=values.text,
            toml="machine.append",
            help="Kernel command line.",
        ),
        RunOption(
            *("--initrd", "initrd"),
            section=section,
            metavar="FILE",
            convert=values.path,
            toml="machine.initrd",
            relative=relative.plain,
            help="Initial RAM disk.",
        ),
    ]


def _block() -> list[RunOption]:
    section = "Block"
    return [
        RunOption(
            *("--drive", "drives"),
            section=section,
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
        RunOption(
            *("--blockdev", "blockdevs"),
            section=section,
            metavar="driver=...,...",
            multiple=True,
            implied="driver",
            toml="blockdev",
            relative=relative.blockdev,
            help="A block node, as QEMU's: driver=file|raw|null-co, node-name=, filename=, "
            "cache.direct=, aio=, read-only=, discard=; or JSON. Repeatable.",
        ),
    ]


def _display() -> list[RunOption]:
    return [
        RunOption(
            *("--serial", "serial"),
            section="Display",
            metavar="TARGET",
            convert=values.serial,
            toml="machine.serial",
            relative=relative.target,
            help="Where COM1 goes: stdio, stderr, null or file:PATH. [default: stdio]",
        ),
        RunOption(
            *("--framebuffer", "framebuffer"),
            section="Display",
            optional=DEFAULT_SCREEN,
            metavar="[WxH]",
            convert=values.framebuffer,
            toml="framebuffer.size",
            help=f"A screen, by default of {DEFAULT_SCREEN} pixels.",
        ),
        RunOption(
            *("--vnc", "vnc"),
            section="Display",
            multiple=True,
            metavar=":N[,...]",
            convert=values.vnc,
            toml="vnc.listen",
            relative=relative.vnc,
            help="A VNC display on port 5900+N of this host, HOST:N, unix:PATH or none; to=, "
            "password=on, password-file=, websocket=on|PORT|PATH, tls-creds=DIR|anon, "
            "verify-peer=off, share=, connections=, lossy=on, lock-key-sync=off, insecure=on. "
            "Repeatable; implies --framebuffer.",
        ),
        RunOption(
            *("--vnc-encode", "vnc_encode"),
            section="Display",
            metavar="WHERE",
            convert=values.encode_in,
            toml="vnc.encode",
            help="Where updates are encoded: in vnc_worker off the lock (worker), or in the main "
            "loop under it (mainloop). [default: worker]",
        ),
        RunOption(
            *("--screendump", "screendump"),
            section="Display",
            metavar="FILE",
            convert=values.picture,
            toml="framebuffer.screendump",
            relative=relative.plain,
            help="Write what the screen shows at the end to a .png or .ppm file; implies "
            "--framebuffer.",
        ),
    ]


def _monitor() -> list[RunOption]:
    section = "Monitor"
    return [
        RunOption(
            *("--qmp", "qmp"),
            section=section,
            multiple=True,
            metavar="unix:PATH|tcp:HOST:PORT",
            convert=partial(values.monitor, "--qmp"),
            toml="qmp.listen",
            relative=relative.target,
            help="Listen for QMP, QEMU's machine protocol; see 'bqlscope monitor'. Repeatable.",
        ),
        RunOption(
            *("--monitor", "monitor"),
            section=section,
            multiple=True,
            metavar="unix:PATH|tcp:HOST:PORT",
            convert=partial(values.monitor, "--monitor"),
            toml="monitor.listen",
            relative=relative.target,
            help="Listen for the human monitor's commands, a line each. Repeatable.",
        ),
        RunOption(
            *("--trace", "trace"),
            section=section,
            multiple=True,
            metavar="PATTERN",
            toml="monitor.trace",
            help="Tell trace events on standard error, as 'monitor_qmp_*'. Repeatable.",
        ),
    ]


def _recording() -> list[RunOption]:
    section = "Recording"
    return [
        RunOption(
            *("--no-record", "no_record"),
            section=section,
            is_flag=True,
            toml="recording.off",
            help="Do not time the lock.",
        ),
        RunOption(
            *("--recording", "recording"),
            section=section,
            metavar="FILE",
            convert=values.output,
            toml="recording.file",
            relative=relative.plain,
            help="Where the recording lives (default: a file per process in the runtime "
            "directory).",
        ),
        RunOption(
            *("--keep-recording", "keep_recording"),
            section=section,
            is_flag=True,
            toml="recording.keep",
            help="Leave the recording behind, for 'bqlscope check'.",
        ),
        RunOption(
            *("--window-recording", "window_recording"),
            section=section,
            is_flag=True,
            toml="recording.window",
            help="Copy the recording to FILE.begin and FILE.end around the guest's measured "
            "window.",
        ),
        RunOption(
            *("--metrics", "metrics"),
            section=section,
            optional=DEFAULT_ADDRESS,
            metavar="[ADDR:PORT]",
            convert=values.text,
            toml="recording.metrics",
            help="Serve live metrics to Prometheus while the VM runs "
            f"(default {DEFAULT_ADDRESS}), from a process of their own.",
        ),
    ]


def _other() -> list[RunOption]:
    return [
        RunOption(
            *("--json", "json_file"),
            section="Other",
            metavar="FILE",
            convert=values.output,
            help="Write what happened as JSON; - is standard output, the guest's own output "
            "then goes to standard error.",
        ),
    ]
