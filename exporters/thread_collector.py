# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU time and run-queue delay of the threads of recorded processes, by role."""

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.registry import Collector

from exporters import names
from exporters.families import Labels, Values
from exporters.fleet import Fleet, Identity
from exporters.health import Health, Samples
from exporters.schedstat import SchedTotals, read_schedstat
from exporters.vm import VmSample
from profiler.layout import Role


class ThreadCollector(Collector):
    """What the kernel says about the threads of live processes."""

    def __init__(self, fleet: Fleet, samples: Samples, health: Health) -> None:
        self._fleet, self._samples, self._health = fleet, samples, health
        self._proc, self._per_thread = fleet.world.proc, fleet.world.per_thread
        self._totals: dict[Identity, SchedTotals] = {}

    def collect(self) -> Iterable[Metric]:
        """CPU time and run-queue delay. After the samples were taken."""
        with self._health.timed("threads") as outcome:
            families = [
                Values(name, self._per_thread) for name in (names.THREAD_CPU, names.THREAD_RUNQUEUE)
            ]
            known: dict[Identity, SchedTotals] = {}
            for sample in self._samples.current:
                identity = (sample.process.pid, sample.process.start_time)
                known[identity] = totals = self._totals.get(identity) or SchedTotals()
                if sample.process.alive and not self._add(sample, totals):
                    outcome.success = False
                for labels, times in sorted(totals.totals.items()):
                    families[0].add((sample.vm, *labels), times.cpu / 1e9)
                    families[1].add((sample.vm, *labels), times.runqueue / 1e9)
            self._totals = known
            return families
        return []

    def _add(self, sample: VmSample, totals: SchedTotals) -> bool:
        directory = self._proc / str(sample.process.pid)
        try:
            times = read_schedstat(directory)
        except (FileNotFoundError, ProcessLookupError):
            return True  # it ended since the sample was taken
        except OSError as error:
            self._fleet.fail("proc", f"{directory}: {(error.strerror or str(error)).lower()}")
            return False
        threads = {thread.tid: thread for thread in sample.table.threads if thread.live}
        labels: dict[int, Labels] = {}
        for tid in times:
            thread = threads.get(tid)
            role = thread.role if thread else Role.OTHER
            if self._per_thread:
                named = (thread.label, str(tid)) if thread else ("(others)", "0")
                labels[tid] = (role.label, *named)
            else:
                labels[tid] = (role.label,)
        totals.add(times, labels)
        return True
