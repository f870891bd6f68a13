# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs of `bqlscope`: where each lives and its one-line help, as data.

The table repeats the `bqlscope.commands` entry points of pyproject.toml (a test compares them), so
that neither `bqlscope --help` nor starting a verb has to scan installed metadata or import the
other verbs. Verbs of other distributions come from the entry-point group alone.
"""

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb of the command line: `target` is `module:attribute`, `summary` one line of help."""

    target: str
    summary: str


VERBS: dict[str, Verb] = {
    "run": Verb("vmm.commands.run:run", "Run a virtual machine whose big lock is recorded."),
    "bench": Verb("vmm.commands.bench:bench", "Measure what recording costs on this machine."),
    "check": Verb(
        "profiler.commands.check:check", "Check a recording against its conservation laws."
    ),
    "summary": Verb(
        "profiler.commands.summary:summary", "Show who took the lock and who waited for whom."
    ),
    "top": Verb("profiler.commands.top:top", "Watch who holds the lock and who waits, live."),
    "stacks": Verb(
        "profiler.commands.stacks:stacks", "Show the Python code behind the longest holds."
    ),
    "flame": Verb("profiler.commands.flame:flame", "Draw who made whom wait as a flame graph."),
    "qemu": Verb("profiler.commands.qemu:qemu", "Run a QEMU whose big lock is recorded."),
    "attach": Verb(
        "profiler.commands.attach:attach", "Poll the lock statistics of a QEMU that runs already."
    ),
    "monitor": Verb(
        "profiler.commands.monitor:monitor", "Ask a running VM, ours or QEMU, and steer it."
    ),
    "devices": Verb(
        "profiler.commands.devices:devices", "Name the devices in the recording of a QEMU."
    ),
    "compare": Verb(
        "profiler.commands.compare:compare", "Compare placements of a disk in interleaved trials."
    ),
    "export": Verb("exporters.commands.export:export", "Serve live metrics of recorded processes."),
    "ls": Verb("profiler.commands.ls:ls", "List the processes whose lock is being recorded."),
    "record": Verb(
        "profiler.commands.record:record", "Keep every acquisition of a process in a file."
    ),
    "convert": Verb(
        "profiler.commands.convert:convert",
        "Write a recording as Perfetto, pprof, speedscope, CSV, …",
    ),
    "report": Verb(
        "profiler.commands.report:report", "Write a recording or a comparison as an HTML report."
    ),
    "diff": Verb(
        "profiler.commands.diff:diff", "Show what changed between two recordings or comparisons."
    ),
}
