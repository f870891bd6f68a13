# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope run``: boot a virtual machine."""

import json
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import click

from vmm.accel.detect import host_info
from vmm.commands.metrics import DEFAULT_ADDRESS, start_exporter
from vmm.commands.output import output_file, write_whole
from vmm.config import MICRO_GUEST, MachineConfig, parse_drives, parse_object, parse_size
from vmm.display.options import image_format_of, parse_framebuffer
from vmm.display.vnc.options import EncodeIn, parse_displays
from vmm.errors import CallbackError, VmmError
from vmm.guest.image import micro_guest_path
from vmm.machine import Machine
from vmm.monitor.cli import monitor_options, parse_monitors
from vmm.requests import Request, RequestKind
from vmm.runstate import RunOptions, ShutdownCause

DEFAULT_SCREEN = "1024x768"
EXIT_CRASH = 1
EXIT_INTERRUPTED = 130
STDOUT = Path("-")
_CRASHES = (RequestKind.GUEST_CRASH, RequestKind.INTERNAL_ERROR, RequestKind.TRIPLE_FAULT)
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)

HELP = """Boot a virtual machine whose big lock is timed.

\b
The micro-guest measures disk and device-access latency and prints one line:
  bqlscope run --kernel micro --smp 2 --object iothread,id=io0 \\
    --drive file=disk.img,cache=none,iothread=io0 \\
    --append "iodepth=32 bs=4096 ms=1000"

\b
A Linux kernel (an uncompressed vmlinux with CONFIG_PVH=y):
  bqlscope run --kernel vmlinux --initrd initramfs.cpio \\
    --append "console=ttyS0" --drive file=root.img

\b
Where a disk's queues are processed follows from its options:
  ioeventfd=off          by the vCPU that kicked, under the lock
  (nothing)              by the main loop, under the lock
  iothread=ID            by that iothread, off the lock
  iothread-vq-mapping=ID+ID   by several iothreads, queue by queue

Exit status: the code the guest wrote to the debug-exit port (0xf4), 0 after a shutdown,
1 after a crash or if the machine cannot be built, 2 for a wrong command line,
130 after Ctrl-C."""


def _picture_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """A click callback: ``value`` if a picture can be written there, or not given."""
    if value is not None:
        try:
            image_format_of(value)
        except VmmError as error:
            raise click.BadParameter(str(error)) from None
    return output_file(ctx, param, value)


@click.command(help=HELP, context_settings={"max_content_width": 80})
@click.option("--kernel", required=True, metavar="FILE", help="PVH ELF kernel, or 'micro'.")
@click.option("--append", default="", metavar="TEXT", help="Kernel command line.")
@click.option("--initrd", type=click.Path(path_type=Path), metavar="FILE", help="Initial RAM disk.")
@click.option("--smp", default=1, show_default=True, metavar="N", help="Number of vCPUs.")
@click.option(
    "--memory",
    default="128M",
    show_default=True,
    metavar="SIZE",
    help="Guest memory, as 128M or 2G.",
)
@click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "qtest"]),
    default="auto",
    show_default=True,
    help="auto takes kvm where it works; qtest needs no CPU virtualisation.",
)
@click.option(
    "--drive",
    "drives",
    multiple=True,
    metavar="file=PATH,...",
    help="A virtio-blk disk: file=, cache=none|writeback|unsafe, aio=io_uring|threads, "
    "iothread=ID, iothread-vq-mapping=ID+ID, ioeventfd=on|off, irq=irqfd|mainloop, "
    "num-queues=, queue-size=, readonly=on|off, serial=, bootindex=, driver=null, size=. "
    "Repeatable.",
)
@click.option(
    "--object",
    "objects",
    multiple=True,
    metavar="iothread,id=ID,...",
    help="An iothread; poll-max-ns=, poll-grow=, poll-shrink=, cpu=. Repeatable.",
)
@click.option(
    "--serial",
    default="stdio",
    show_default=True,
    metavar="TARGET",
    help="Where COM1 goes: stdio, stderr, null or file:PATH.",
)
@click.option(
    "--framebuffer",
    is_flag=False,
    flag_value=DEFAULT_SCREEN,
    metavar="[WxH]",
    help=f"A screen, by default of {DEFAULT_SCREEN} pixels.",
)
@click.option(
    "--screendump",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=_picture_file,
    help="Write what the screen shows at the end to a .png or .ppm file; implies --framebuffer.",
)
@click.option(
    "--vnc",
    multiple=True,
    metavar=":N[,...]",
    help="A VNC display on port 5900+N of this host, HOST:N, unix:PATH or none; to=, password=on, "
    "password-file=, websocket=on|PORT|PATH, tls-creds=DIR|anon, verify-peer=off, share=, "
    "connections=, lossy=on, lock-key-sync=off, insecure=on. Repeatable; implies --framebuffer.",
)
@click.option(
    "--vnc-encode",
    type=click.Choice([each.value for each in EncodeIn]),
    default=EncodeIn.WORKER.value,
    show_default=True,
    help="Where updates are encoded: in vnc_worker off the lock, or in the main loop under it.",
)
@click.option(
    "--bql-policy",
    type=click.Choice(["pthread", "ticket", "mcs"]),
    default="pthread",
    show_default=True,
    help="How the big lock chooses its next owner; pthread is QEMU's.",
)
@click.option("-S", "paused", is_flag=True, help="Do not start the vCPUs before a 'cont'.")
@click.option("--no-reboot", is_flag=True, help="End instead of resetting the guest.")
@click.option(
    "--no-shutdown",
    is_flag=True,
    help="Stop instead of ending when the guest shuts down; a signal still ends the VM.",
)
@click.option("--no-record", is_flag=True, help="Do not time the lock.")
@click.option(
    "--recording",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=output_file,
    help="Where the recording lives (default: a file per process in the runtime directory).",
)
@click.option(
    "--keep-recording", is_flag=True, help="Leave the recording behind, for 'bqlscope check'."
)
@click.option(
    "--window-recording",
    is_flag=True,
    help="Copy the recording to FILE.begin and FILE.end around the guest's measured window.",
)
@monitor_options
@click.option(
    "--metrics",
    is_flag=False,
    flag_value=DEFAULT_ADDRESS,
    metavar="[ADDR:PORT]",
    help=f"Serve live metrics to Prometheus while the VM runs (default {DEFAULT_ADDRESS}), from a "
    "process of their own.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=output_file,
    help="Write what happened as JSON; - is standard output, the guest's own output then goes to "
    "standard error.",
)
def run(
    json_file: Path | None, metrics: str | None, screendump: Path | None, **options: Any
) -> None:
    """Translate options, run, report."""
    logging.basicConfig(level=logging.WARNING, format="bqlscope: %(message)s", stream=sys.stderr)
    if json_file == STDOUT and options["serial"] == "stdio":
        options["serial"] = "stderr"  # standard output is for the JSON alone
    if (screendump is not None or options["vnc"]) and options["framebuffer"] is None:
        options["framebuffer"] = DEFAULT_SCREEN
    try:
        config = _config(**options)
        arrived = _hold_signals()
        with Machine(config) as machine:
            _announce(machine)
            if metrics is not None:
                _serve_metrics(machine, metrics)
            request = _run(machine, arrived)
            report = _report(machine, request)
            not_dumped = _dump_screen(machine, screendump)
    except CallbackError as error:
        traceback.print_exception(error.__cause__)
        raise click.ClickException(str(error)) from None
    except VmmError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:  # before the machine took the signal over
        sys.exit(EXIT_INTERRUPTED)
    if json_file is not None:
        _write_json(json_file, report)
    if not_dumped is not None:
        raise click.ClickException(f"--screendump: {not_dumped}")
    sys.exit(_exit_status(request))


def _config(
    kernel: str,
    append: str,
    initrd: Path | None,
    smp: int,
    memory: str,
    accel: str,
    drives: tuple[str, ...],
    objects: tuple[str, ...],
    serial: str,
    bql_policy: str,
    no_record: bool,
    recording: Path | None,
    keep_recording: bool,
    window_recording: bool,
    qmp: tuple[str, ...],
    monitor: tuple[str, ...],
    trace: tuple[str, ...],
    framebuffer: str | None,
    vnc: tuple[str, ...],
    vnc_encode: str,
    paused: bool,
    no_reboot: bool,
    no_shutdown: bool,
) -> MachineConfig:
    micro = kernel == MICRO_GUEST
    return MachineConfig(
        kernel=micro_guest_path() if micro else Path(kernel),
        micro_guest=micro,
        command_line=_micro_command_line(append, smp) if micro else append,
        initrd=initrd,
        cpus=smp,
        memory_bytes=parse_size(memory),
        accel=accel,
        objects=tuple(parse_object(text) for text in objects),
        drives=parse_drives(drives),
        serial=serial,
        bql_policy=bql_policy,
        record=not no_record,
        recording=recording,
        keep_recording=keep_recording,
        window_recording=window_recording,
        monitors=parse_monitors(qmp, monitor),
        trace=trace,
        framebuffer=parse_framebuffer(framebuffer) if framebuffer is not None else None,
        vnc=parse_displays(vnc),
        vnc_encode=EncodeIn(vnc_encode),
        run=RunOptions(paused=paused, no_reboot=no_reboot, no_shutdown=no_shutdown),
    )


def _micro_command_line(append: str, smp: int) -> str:
    """The micro-guest is told what only the VMM knows, unless the user said it.

    Raises VmmError when the guest would wait for vCPUs that do not exist.
    """
    given = dict(word.partition("=")[::2] for word in append.split())
    if "smp" not in given:
        return f"{append} smp={smp}".strip()
    wanted = given["smp"]
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 and int(wanted) > smp:
        raise VmmError(f"--append smp={wanted}: the machine has {smp} vCPUs, raise --smp")
    return append


def _announce(machine: Machine) -> None:
    """What a person who started the machine wants to know, a line each on standard error."""
    remarks = [machine.accel_choice.line(), *machine.notes]
    if machine.recorder is not None and machine.config.keep_recording:
        remarks.append(f"recording: {machine.recorder.path}")
    for remark in remarks:
        click.echo(f"bqlscope: {remark}", err=True)


def _serve_metrics(machine: Machine, address: str) -> None:
    """Start the exporter. Raises VmmError."""
    if machine.recorder is None:
        raise VmmError("--metrics needs a recording: not with --no-record")
    try:
        start_exporter(address, Path(machine.recorder.path))
    except OSError as error:
        raise VmmError(f"--metrics: cannot start the exporter: {error.strerror}") from error


def _hold_signals() -> list[int]:
    """Note Ctrl-C and SIGTERM from now on; returns the list they are noted in.

    A machine is built in a fraction of a second. An exception in the middle of that could leave a
    recording behind; the request is filed once the machine can be asked.
    """
    arrived: list[int] = []
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    return arrived


def _run(machine: Machine, arrived: list[int]) -> Request:
    """Run with Ctrl-C and SIGTERM as orderly requests; ``arrived`` came before."""
    loop = machine.main_loop.asyncio

    def end(number: int) -> None:
        name = signal.Signals(number).name
        machine.control.quit(ShutdownCause.HOST_SIGNAL, code=number, message=f"{name} received")

    for number in ENDING_SIGNALS:
        loop.add_signal_handler(number, end, int(number))
    for early in arrived:
        end(early)
    request = machine.run()
    if request.kind in _CRASHES:
        click.echo(f"bqlscope: guest stopped: {request.message}", err=True)
    return request


def _dump_screen(machine: Machine, path: Path | None) -> str | None:
    """Write the screen dump that was asked for. Returns why there is none: the rest matters too."""
    if path is None:
        return None
    try:
        dump = machine.screendump(path, image_format_of(path))
        machine.main_loop.asyncio.run_until_complete(dump)
    except VmmError as error:
        return str(error)
    return None


def _exit_status(request: Request) -> int:
    if request.kind is RequestKind.DEBUG_EXIT:
        return request.code & 0xFF
    if request.kind is RequestKind.SHUTDOWN:
        return EXIT_INTERRUPTED if request.code == signal.SIGINT else 0
    if request.kind is RequestKind.RESET:
        return 0
    return EXIT_CRASH


def _process_age_ns() -> int:
    """Nanoseconds since this process was created, to the kernel's clock tick."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - started


def _guest_result(line: bytes | None) -> object:
    """The guest's result line, or None: what a guest prints is not to be trusted."""
    try:
        return json.loads(line) if line is not None else None
    except (ValueError, RecursionError):
        return None


def _report(machine: Machine, request: Request) -> dict[str, object]:
    line = machine.serial.result_line
    started = machine.running_since_ns or time.monotonic_ns()
    since_start = time.monotonic_ns() - started
    return {
        "accel": {"name": machine.accel_choice.name, "reason": machine.accel_choice.reason},
        "host": host_info().as_dict(),
        "guest": _guest_result(line),
        "guest_status": request.code if request.kind is RequestKind.DEBUG_EXIT else None,
        "ended": {"kind": request.kind.name.lower(), "message": request.message},
        "recording": str(machine.recorder.path) if machine.recorder is not None else None,
        "window": machine.window_mark.window(),
        "start_ms": round((_process_age_ns() - since_start) / 1e6, 1),
        "cpus": [cpu.exits() for cpu in machine.cpus],
        "disks": [disk.statistics() for disk in machine.disks],
        "vnc": machine.vnc.statistics() if machine.vnc is not None else None,
    }


def _write_json(path: Path, report: dict[str, object]) -> None:
    text = json.dumps(report, indent=2) + "\n"
    try:
        if path == STDOUT:
            sys.stdout.write(text)
        else:
            write_whole(path, text)
    except OSError as error:
        raise click.ClickException(f"--json {path}: {error.strerror}") from None
