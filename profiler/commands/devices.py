# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope devices`: give the addresses in a QEMU's recording the names of its devices."""

from typing import TextIO

import click

from profiler.errors import UserError
from profiler.qemu.mtree import MemoryMap, parse_mtree
from profiler.qemu.qmp import Qmp
from profiler.qemu.regions import device_of, regions_path, uncovered, write_regions
from profiler.reader import Recording

LARGEST = 16 << 20
"""Characters of a memory map that are read; that of a machine with 1000 devices has a million."""

COMMAND = "info mtree -f"


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope devices 4711 --qmp /run/vm/qmp.sock\n"
    "  virsh qemu-monitor-command vm --hmp 'info mtree -f' | \\\n"
    "      bqlscope devices vm.bql --mtree -"
)
@click.argument("recording", metavar="FILE|PID")
@click.option("--qmp", "address", metavar="SOCKET", help="Ask QEMU itself, through its monitor.")
@click.option(
    "--mtree",
    type=click.File("r", encoding="utf-8", errors="replace"),
    help=f"Read what '{COMMAND}' printed in its monitor; '-' is standard input.",
)
def devices(recording: str, address: str | None, mtree: TextIO | None) -> None:
    """Show the devices behind the recorded addresses, or tell the recording their names.

    `bqlscope qemu` does this by itself. A QEMU that was started with the recorder by somebody else,
    such as libvirt, has a recording with bare addresses until somebody asks its monitor. The names
    are kept beside the recording, in FILE.regions.json.
    """
    if address is not None and mtree is not None:
        raise click.UsageError("--qmp and --mtree exclude each other")
    with Recording.open(recording) as opened:
        names = _names(address, mtree)
        if names is not None:
            process = opened.process
            write_regions(regions_path(process.path), process.pid, process.start_time, names)
        _show(opened, names)


def _names(address: str | None, mtree: TextIO | None) -> MemoryMap | None:
    if address is not None:
        with Qmp(address) as qmp:
            return parse_mtree(qmp.hmp(COMMAND))
    if mtree is None:
        return None
    text = mtree.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise UserError(f"{mtree.name}: too large for a memory map")
    return parse_mtree(text.replace("\r\n", "\n"))


def _show(opened: Recording, written: MemoryMap | None) -> None:
    regions = sorted(opened.regions() - {""})
    if not regions:
        click.echo(
            "no address is recorded: this is not a QEMU's recording, or nothing happened yet"
        )
        return
    names = written if written is not None else opened.names()
    width = max(map(len, regions))
    for region in regions:
        click.echo(f"{region:<{width}}  {device_of(region, names)}".rstrip())
    without = len(uncovered(regions, names))
    if without:
        click.echo(f"addresses without a device: {without}; see --qmp and --mtree", err=True)
