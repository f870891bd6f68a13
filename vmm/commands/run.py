# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope run``: boot a virtual machine."""

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from vmm.accel.detect import host_info
from vmm.cmdline.build import build_config
from vmm.cmdline.command import WIDTH, RunCommand, RunOption
from vmm.cmdline.dump import dump_machine
from vmm.cmdline.given import OptionError
from vmm.cmdline.merge import merge
from vmm.commands.metrics import start_exporter
from vmm.commands.output import write_whole
from vmm.commands.run_help import EXIT_STATUS, HELP, answer_help
from vmm.commands.run_options import run_options
from vmm.config import MachineConfig
from vmm.display.options import image_format_of
from vmm.errors import CallbackError, VmmError
from vmm.machine import Machine
from vmm.machine_file import FileSettings, load_machine_file
from vmm.object_types import type_registry
from vmm.qom import TypeRegistry
from vmm.requests import Request, RequestKind
from vmm.runstate import ShutdownCause

EXIT_CRASH = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
STDOUT = Path("-")
_CRASHES = (RequestKind.GUEST_CRASH, RequestKind.INTERNAL_ERROR, RequestKind.TRIPLE_FAULT)
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command(
    cls=RunCommand,
    params=run_options(),
    help=HELP,
    epilog=EXIT_STATUS,
    context_settings={
        "max_content_width": WIDTH,
        "terminal_width": WIDTH,
        "help_option_names": ["-h", "--help"],
    },
)
@click.pass_context
def run(ctx: click.Context, /, machine_file: str | None, **typed: Any) -> None:
    """Translate options, run, report."""
    logging.basicConfig(level=logging.WARNING, format="bqlscope: %(message)s", stream=sys.stderr)
    types = type_registry()
    try:
        _print_help(ctx, typed, types)
        given = _values(ctx, machine_file, typed)
        config = build_config(given, types)
        if given.get("dump_machine"):
            click.echo(dump_machine(config, _options(ctx)), nl=False)
            return
    except OptionError as error:
        raise _WrongUsage(str(error)) from None
    sys.exit(_machine(config, given))


class _WrongUsage(click.ClickException):
    exit_code = EXIT_USAGE


def _options(ctx: click.Context) -> list[RunOption]:
    return [param for param in ctx.command.params if isinstance(param, RunOption)]


def _print_help(ctx: click.Context, typed: dict[str, Any], types: TypeRegistry) -> None:
    """Answer -device help and the like, and end the command."""
    others = [str(typed.get(name)) for name in ("machine", "accel", "cpu")]
    try:
        lines = answer_help(typed["objects"], typed["devices"], others, types)
    except VmmError as error:
        raise _WrongUsage(str(error)) from None
    if lines is not None:
        click.echo("\n".join(lines))
        ctx.exit()


def _values(ctx: click.Context, machine_file: str | None, typed: dict[str, Any]) -> dict[str, Any]:
    """Machine file and command line as one. Raises OptionError."""
    options = _options(ctx)
    file = FileSettings()
    if machine_file is not None:
        file = load_machine_file(Path(machine_file), options)
    given = merge(options, typed, file)
    if given.get("json_file") == STDOUT and given.get("serial", "stdio") == "stdio":
        given["serial"] = "stderr"  # standard output is for the JSON alone
    return given


def _machine(config: MachineConfig, given: Mapping[str, Any]) -> int:
    """Build, run and report; returns the exit status.

    Args:
        config: the machine.
        given: what was asked for beside it: metrics, a screen dump, JSON.
    """
    try:
        arrived = _hold_signals()
        if config.process_name is not None:
            Path("/proc/self/comm").write_bytes(os.fsencode(config.process_name))
        with Machine(config) as machine:
            _announce(machine)
            if "metrics" in given:
                _serve_metrics(machine, given["metrics"])
            request = _run(machine, arrived)
            report = _report(machine, request)
            not_dumped = _dump_screen(machine, given.get("screendump"))
    except CallbackError as error:
        traceback.print_exception(error.__cause__)
        raise click.ClickException(str(error)) from None
    except VmmError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:  # before the machine took the signal over
        return EXIT_INTERRUPTED
    if "json_file" in given:
        _write_json(given["json_file"], report)
    if not_dumped is not None:
        raise click.ClickException(f"--screendump: {not_dumped}")
    return _exit_status(request)


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
