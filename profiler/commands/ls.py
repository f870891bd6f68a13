# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope ls`: which processes are recorded, and how much they wait."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from profiler.commands.output import STDOUT, output_file, write_json
from profiler.discovery import candidates
from profiler.errors import RecordingError
from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.summary import summarise

MAX_WIDTH = 80
_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_MAGNITUDES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Entry:
    """One recording. `age` is seconds since it began; the share is 0 to 1."""

    path: Path
    pid: int
    name: str
    vm_name: str
    state: str
    age: float
    threads: int
    acquisitions: int
    vcpu_wait_share: float

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "pid": self.pid,
            "name": self.name,
            "vm_name": self.vm_name,
            "state": self.state,
            "age_seconds": self.age,
            "threads": self.threads,
            "acquisitions": self.acquisitions,
            "vcpu_bql_wait_share": self.vcpu_wait_share,
            "path": str(self.path),
        }


@click.command()
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    is_flag=False,
    flag_value=STDOUT,
    callback=output_file,
    help="Write the list as JSON to a file; without a name, or '-', to standard output instead of"
    " the table.",
)
def ls(json_path: Path | None) -> None:
    """List the recorded processes of this user, live ones first.

    A recording is found in the recorder's directory, or because a process of this user has it
    mapped. State is 'live', 'closed' (the process closed its recording in order) or 'dead' (it was
    killed; what it recorded can still be read).
    """
    entries, problems = recorded()
    if json_path is not None:
        content = {"recordings": [entry.to_json() for entry in entries], "unreadable": problems}
        write_json(json_path, content)
    if json_path != STDOUT:
        _print(entries, problems)


def recorded() -> tuple[list[Entry], list[str]]:
    """All recordings of this user, live ones first, and a line for each that cannot be read."""
    entries, problems = [], []
    for path in candidates():
        try:
            with Recording.open(path) as recording:
                entries.append(_entry(recording.snapshot()))
        except RecordingError as error:
            if path.suffix == ".bql":  # what else a process has mapped is its own business
                problems.append(error.message)
    entries.sort(key=lambda entry: (entry.state != "live", entry.pid, str(entry.path)))
    return entries, problems


def _entry(snapshot: Snapshot) -> Entry:
    process = snapshot.process
    now = time.time_ns() if process.alive else snapshot.clock.realtime_ns(snapshot.taken)
    return Entry(
        path=process.path,
        pid=process.pid,
        name=process.name,
        vm_name=process.vm_name,
        state="live" if process.alive else "closed" if snapshot.closed else "dead",
        age=max(0.0, (now - snapshot.clock.start.realtime_ns) / 1e9),
        threads=len(snapshot.threads),
        acquisitions=sum(row.total for row in snapshot.rows),
        vcpu_wait_share=summarise(snapshot).vcpu_bql_wait_share,
    )


def age(seconds: float) -> str:
    """A span with one unit: `4 s`, `2 h`."""
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "0 s"


def count(number: int) -> str:
    """A count with three digits: `1.25 M`."""
    for size, unit in _MAGNITUDES:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _print(entries: list[Entry], problems: list[str]) -> None:
    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    if not entries:
        console.print(
            Text("nothing is recorded; start a VM with `bqlscope run` or `bqlscope qemu`")
        )
    else:
        console.print(_table(entries))
    for problem in problems:
        click.echo(f"bqlscope: {problem}", err=True)


def _table(entries: list[Entry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("pid", justify="right")
    table.add_column("name, VM", overflow="fold", min_width=15)
    table.add_column("state")
    for name in ("age", "threads", "taken", "vCPU wait"):
        table.add_column(name, justify="right")
    table.add_column("recording", overflow="fold")
    for entry in entries:
        table.add_row(
            str(entry.pid),
            Text(", ".join(filter(None, (entry.name, entry.vm_name)))),
            Text(entry.state, style="green" if entry.state == "live" else "dim"),
            age(entry.age),
            str(entry.threads),
            count(entry.acquisitions),
            f"{entry.vcpu_wait_share:.1%}",
            Text(str(entry.path)),
        )
    return table
