# SPDX-License-Identifier: GPL-2.0-or-later
"""The formats that a recording can be written in, by name. One of them is one module."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from profiler.traces import folded, hlog, perfetto, pprof, rows, speedscope
from profiler.traces.source import Source


@dataclass(frozen=True)
class Format:
    """`write` writes a source; `binary`: nothing for a terminal; `about` is a few words of help."""

    write: Callable[[Source, BinaryIO], None]
    binary: bool
    about: str


FORMATS = {
    "perfetto": Format(perfetto.write, True, "a timeline for ui.perfetto.dev"),
    "pprof": Format(pprof.write, True, "for go tool pprof"),
    "speedscope": Format(speedscope.write, False, "flames for speedscope.app"),
    "folded": Format(folded.write, False, "waits as folded stacks, in µs"),
    "hlog": Format(hlog.write, False, "HdrHistogram log of waits and holds"),
    "csv": Format(rows.write_csv, False, "a line for each acquisition"),
    "json": Format(rows.write_json, False, "all figures, then a row for each acquisition"),
}
