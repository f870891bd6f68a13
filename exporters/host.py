# SPDX-License-Identifier: GPL-2.0-or-later
"""What the recorded processes, the host and the exporter are."""

import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.registry import Collector

from exporters import names
from exporters.families import Values
from exporters.fleet import Fleet, Identity
from exporters.health import Health, Samples
from profiler.compare.host import detect_host

_PYTHON = re.compile(r"(?:lib)?python(\d+\.\d+)(t?)")


class HostCollector(Collector):
    """What processes, host and exporter are."""

    def __init__(self, fleet: Fleet, samples: Samples, health: Health) -> None:
        self._fleet, self._samples, self._health = fleet, samples, health
        host = detect_host()
        self._host = (
            host.kernel,
            host.machine,
            str(host.cpus),
            str(int(host.kvm)),
            str(int(host.nested)),
        )
        self._build = (own_version(), platform.python_version())
        self._boot = boot_time(fleet.world.proc)
        self._pythons: dict[Identity, tuple[str, str]] = {}

    def collect(self) -> Iterable[Metric]:
        """The info families and start times."""
        with self._health.timed("host"):
            process, start, host, build = (
                Values(name)
                for name in (names.PROCESS, names.PROCESS_START, names.HOST, names.BUILD)
            )
            for sample in self._samples.current:
                known = sample.process
                clock = sample.table.clock.kind.name.lower()
                python = self._python((known.pid, known.start_time))
                process.add((sample.vm, str(known.pid), known.name, clock, *python), 1)
                start.add((sample.vm,), self._boot + known.start_time / os.sysconf("SC_CLK_TCK"))
            host.add(self._host, 1)
            build.add(self._build, 1)
            return [process, start, host, build]
        return []

    def _python(self, identity: Identity) -> tuple[str, str]:
        if identity not in self._pythons:
            self._pythons[identity] = python_of(self._fleet.world.proc / str(identity[0]))
        return self._pythons[identity]


def python_of(process: Path) -> tuple[str, str]:
    """Version of the Python that a process is, and whether that build has an interpreter lock.

    Both are empty for another program, and for a process that cannot be looked at.
    """
    try:
        match = _PYTHON.fullmatch(os.path.basename(os.readlink(process / "exe")))
    except OSError:
        return "", ""
    return (match[1], "0" if match[2] else "1") if match else ("", "")


def boot_time(proc: Path) -> float:
    """When the host started, in seconds since the epoch; 0 if that is not known."""
    try:
        for line in (proc / "stat").read_text().splitlines():
            if line.startswith("btime "):
                return float(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0.0


def own_version() -> str:
    """Version of the installed distribution; empty if it is not installed."""
    try:
        return version("bqlscope")
    except PackageNotFoundError:
        return ""
