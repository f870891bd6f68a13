# SPDX-License-Identifier: GPL-2.0-or-later
"""Exporters of synthetic recordings, and scrapes as plain dictionaries.

    with exporter_of(path) as exporter:
        assert scraped(exporter)["bql_waiters", ("guest",)] == 0

A recording that this process writes (`alive_recording`) counts as one of a live process.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from exporters.exporter import Exporter
from exporters.fleet import World
from profiler.discovery import process_start_time
from tests.support.recordings import RecordingBuilder

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"

Scraped = dict[tuple[str, tuple[str, ...]], float]


@dataclass
class Log:
    """The lines an exporter said, and a clock that a test sets."""

    lines: list[str] = field(default_factory=list)
    now: float = 0.0


@contextmanager
def exporter_of(*sources: Path, log: Log | None = None, **options: Any) -> Iterator[Exporter]:
    """An exporter of these recordings (or, with `directories`, of what is found there)."""
    log = log or Log()
    world = World(
        sources=tuple(map(str, sources)), log=log.lines.append, now=lambda: log.now, **options
    )
    exporter = Exporter(world)
    try:
        yield exporter
    finally:
        exporter.close()


def scraped(exporter: Exporter) -> Scraped:
    """All samples of a scrape in text, by name and the values of the labels in sorted order."""
    found: Scraped = {}
    for family in text_string_to_metric_families(exporter.scrape().body.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels)))
            assert key not in found, f"twice: {key}"
            found[key] = float(sample.value)
    return found


@contextmanager
def alive_recording(build: RecordingBuilder, path: Path) -> Iterator[mmap.mmap]:
    """The recording of a process that lives and has the file mapped: this one."""
    build.header["pid"] = os.getpid()
    build.header["process_start_time"] = process_start_time(os.getpid())
    build.write(path)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        yield mapped
