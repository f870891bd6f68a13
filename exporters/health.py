# SPDX-License-Identifier: GPL-2.0-or-later
"""How the exporter itself is doing: what each collector cost, what failed, what was sent."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.registry import Collector

from exporters import names
from exporters.families import Values
from exporters.fleet import Fleet
from exporters.vm import VmSample

FORMATS = ("text", "openmetrics", "protobuf")
REASONS = ("recording", "foreign", "proc", "client", "refused", "internal")


@dataclass
class Samples:
    """The samples of the scrape that is going on; the first collector takes them."""

    current: list[VmSample] = field(default_factory=list)


@dataclass
class Outcome:
    """How a collector did."""

    success: bool = True
    seconds: float = 0.0


class Health:
    """Counters of the exporter. Server threads count, too: `lock` guards what they touch."""

    def __init__(self, fail: Callable[[str, str], None], clock: Callable[[], float]) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.responses: Counter[str] = Counter()
        self.render_seconds: Counter[str] = Counter()
        self.response_bytes: Counter[str] = Counter()
        self._fail, self._clock = fail, clock
        self._lock = threading.Lock()
        self.started = time.time()

    @contextmanager
    def timed(self, collector: str) -> Iterator[Outcome]:
        """Time a collector. An exception is counted, told about, and goes no further."""
        outcome = self.outcomes[collector] = Outcome()
        begin = self._clock()
        try:
            yield outcome
        except Exception as error:
            outcome.success = False
            self._fail("internal", f"collector {collector}: {type(error).__name__}: {error}")
        outcome.seconds = self._clock() - begin

    def fail(self, reason: str, message: str) -> None:
        """Count a failure of REASONS and tell about it once."""
        with self._lock:
            self._fail(reason, message)

    def answered(self, kind: str, seconds: float, size: int) -> None:
        """A scrape was written in one of FORMATS."""
        with self._lock:
            self.responses[kind] += 1
            self.render_seconds[kind] += seconds  # type: ignore[assignment]
            self.response_bytes[kind] += size


class SelfCollector(Collector):
    """The exporter's own figures. To be registered last."""

    def __init__(self, fleet: Fleet, health: Health) -> None:
        self._fleet, self._health = fleet, health

    def collect(self) -> Iterable[Metric]:
        """Families that need no process to be recorded."""
        health, fleet = self._health, self._fleet
        seconds, success = Values(names.COLLECTOR_SECONDS), Values(names.COLLECTOR_SUCCESS)
        for collector, outcome in health.outcomes.items():
            seconds.add((collector,), outcome.seconds)
            success.add((collector,), int(outcome.success))
        yield from (seconds, success)
        yield _counted(names.FAILURES, REASONS, fleet.failures)
        states = Counter("live" if process.alive else "dead" for _, process in fleet.processes())
        yield _counted(names.PROCESSES, ("live", "dead"), states)
        yield _counted(names.RESPONSES, FORMATS, health.responses)
        yield _counted(names.RENDER_SECONDS, FORMATS, health.render_seconds)
        yield _counted(names.RESPONSE_BYTES, FORMATS, health.response_bytes)
        for name, value in (
            (names.ROWS_READ, fleet.rows_read),
            (names.ROWS_UNSETTLED, fleet.rows_unsettled),
            (names.EXPORTER_CPU, time.process_time()),
            (names.EXPORTER_MEMORY, resident_bytes()),
            (names.EXPORTER_START, health.started),
        ):
            family = Values(name)
            family.add((), value)
            yield family


def _counted(name: names.Metric, labels: Iterable[str], counts: Counter[str]) -> Metric:
    family = Values(name)
    for label in labels:
        family.add((label,), counts[label])
    return family


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """Memory of this process."""
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
