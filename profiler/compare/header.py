# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines above the table: what was run where.

Rule: transport, interrupt path, polling, backend and queue depth are named for every VMM, because
each of them can make more of a difference than the placement.
"""

import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from profiler.compare.result import Result
from profiler.compare.text import counted

LABEL_WIDTH = 10
Line = tuple[str, str]
"""Label and text."""


def size_text(size: int) -> str:
    """Bytes in the largest unit that divides them: 4 KiB, 512 B."""
    for unit, bytes_in in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size % bytes_in == 0:
            return f"{size // bytes_in} {unit}"
    return f"{size} B"


def _host_line(result: Result) -> Line:
    name = str(result.accel.get("name") or "unknown accelerator")
    reason = result.accel.get("reason")
    text = f"{name} ({reason})" if reason else name
    if result.host.nested and name != "qtest":
        text += ", nested: exits are slow"
    return "host", f"{text}; Linux {result.host.kernel}, {result.host.cpus} CPUs"


def _image(result: Result) -> str:
    drive = result.plan.drive
    image = "temporary 256 MiB image" if drive.temporary else str(drive.path)
    return f"{image}, raw, {'O_DIRECT' if drive.direct else 'page cache'}"


def _machine(result: Result) -> str:
    work = result.plan.workload
    return f"{counted(work.vcpus, 'vCPU')}, {work.memory}"


def _workload_line(result: Result) -> Line:
    work = result.plan.workload
    text = f"{work.rw} {size_text(work.block_size)}, queue depth {work.iodepth}"
    if work.vnc_clients:
        text += (
            f"; {counted(work.vnc_clients, 'VNC viewer')} of {work.vnc_draw}, {work.vnc_encoding}"
        )
    return "workload", text


def _irq(result: Result) -> str:
    placements = result.plan.placements
    irqs = {placement.irq for placement in placements}
    if len(irqs) > 1:
        return f"as each name says (default {placements[0].usual_irq})"
    return "none asked for" if irqs == {"none"} else irqs.pop()


def _polling(result: Result) -> str:
    return f"iothreads poll up to {result.plan.workload.poll_max_ns} ns"


def _trials_line(result: Result) -> Line:
    plan, work = result.plan, result.plan.workload
    return (
        "trials",
        f"{plan.trials} each, interleaved, {work.duration:g} s + {work.warmup:g} s warm-up",
    )


def _additions(result: Result) -> list[str]:
    arguments = result.plan.vmm.identity.arguments
    return [shlex.join(arguments)] if arguments else []


def header_lines(result: Result) -> list[Line]:
    """The lines of a comparison within one VMM."""
    vmm = result.plan.vmm.identity
    parts = [f"{vmm.title} {vmm.version}"]
    parts += [vmm.machine] if vmm.machine else []
    parts += [_machine(result), vmm.transport, *_additions(result)]
    return [
        ("vmm", ", ".join(parts)),
        _host_line(result),
        ("disk", f"{_image(result)}, aio={result.plan.drive.aio}"),
        _workload_line(result),
        ("irq", f"{_irq(result)}; {_polling(result)}"),
        _trials_line(result),
    ]


def _vmm_line(result: Result) -> Line:
    vmm = result.plan.vmm.identity
    parts = [vmm.version, *([vmm.machine] if vmm.machine else []), vmm.transport]
    parts += [f"irq {_irq(result)}", f"aio={result.plan.drive.aio}", *_additions(result)]
    return vmm.title, ", ".join(parts)


def several_header_lines(results: Sequence[Result]) -> list[Line]:
    """The lines of a comparison within each of several VMMs: what they share, and a line each."""
    first = results[0]
    return [
        _host_line(first),
        ("guest", f"{_machine(first)}; {_polling(first)}"),
        ("disk", _image(first)),
        _workload_line(first),
        *(_vmm_line(result) for result in results),
        _trials_line(first),
    ]


def print_lines(console: Console, lines: Sequence[Line]) -> None:
    """Print the lines in two columns."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=LABEL_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in lines:
        grid.add_row(label, Text(text))
    console.print(grid)
