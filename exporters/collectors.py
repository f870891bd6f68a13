# SPDX-License-Identifier: GPL-2.0-or-later
"""From samples of processes to metric families: prometheus-client collectors.

    Exporter.gather() -> registry -> LockCollector (here), which takes the samples
                                     ThreadCollector, HostCollector, which add to them
                                     SelfCollector, which tells how the others did

Rule: a collector that fails costs its own families, and says so in its success metric.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from prometheus_client import Metric
from prometheus_client.registry import Collector

from exporters import names
from exporters.families import HistogramBlock, Histograms, Values
from exporters.fleet import Fleet
from exporters.health import Health, Samples
from exporters.vm import RowSums, VmSample
from profiler.layout import Blocked, Exit, Kind, Role
from profiler.model import Who


class LockCollector(Collector):
    """What recordings say about the lock."""

    def __init__(self, fleet: Fleet, samples: Samples, health: Health) -> None:
        self._fleet, self._samples, self._health = fleet, samples, health
        self._per_thread = fleet.world.per_thread

    def collect(self) -> Iterable[Metric]:
        """Families of all processes. Takes the samples."""
        with self._health.timed("lock") as outcome:
            self._samples.current, outcome.success = self._fleet.samples()
            return list(self._families(self._samples.current))
        return []

    def _families(self, samples: list[VmSample]) -> Iterator[Metric]:
        with_rows = [(sample, sample.rows) for sample in samples if sample.rows is not None]
        yield from self._histograms(with_rows)
        yield from self._counters(with_rows)
        yield _blocked(samples)
        yield _held_while_blocked(with_rows)
        yield from _live(samples)
        yield _threads(samples)
        yield _exits(samples)
        yield from _recordings(samples)

    def _histograms(self, samples: list[tuple[VmSample, RowSums]]) -> Iterator[Metric]:
        waits = Histograms(names.WAIT, self._per_thread)
        holds = Histograms(names.HOLD, self._per_thread)
        for sample, rows in samples:
            labels = [(sample.vm, *group) for group in rows.groups.labels]
            for family, histograms, totals, slowest in (
                (waits, rows.waits, rows.wait_total, rows.slowest_waits),
                (holds, rows.holds, rows.hold_total, rows.slowest_holds),
            ):
                sums = [sample.scale.seconds(ticks) for ticks in totals.tolist()]
                family.blocks.append(
                    HistogramBlock(labels, histograms, sums, slowest, sample.scale)
                )
        yield waits
        yield holds

    def _counters(self, samples: list[tuple[VmSample, RowSums]]) -> Iterator[Metric]:
        acquisitions, contentions, failures, gil = (
            Values(name, self._per_thread)
            for name in (
                names.ACQUISITIONS,
                names.CONTENTIONS,
                names.TRYLOCK_FAILURES,
                names.GIL_WAIT,
            )
        )
        for sample, rows in samples:
            all_labels = [(sample.vm, *group) for group in rows.groups.labels]
            contentions.labels += all_labels
            contentions.values += rows.contended.tolist()
            for kind in Kind:
                column = rows.acquisitions[:, kind]
                word = kind.name.lower()
                chosen = range(len(column)) if kind is Kind.LOCK else np.flatnonzero(column)
                for index in chosen:
                    labels = all_labels[index]
                    acquisitions.labels.append((*labels[:3], word, *labels[3:]))
                acquisitions.values += column[chosen].tolist()
            for family, column, worth in (
                (failures, rows.trylock_failed, 1),
                (gil, rows.blocked[:, Blocked.GIL], sample.scale.ns_per_tick / 1e9),
            ):
                for index in np.flatnonzero(column):
                    family.add(all_labels[index], int(column[index]) * worth)
        yield from (acquisitions, contentions, failures, gil)


def _blocked(samples: list[VmSample]) -> Metric:
    family = Values(names.BLOCKED)
    for sample in samples:
        for labels, ticks in sorted(sample.blame.items()):
            family.add((sample.vm, *labels), sample.scale.seconds(ticks))
    return family


def _held_while_blocked(samples: list[tuple[VmSample, RowSums]]) -> Metric:
    family = Values(names.HELD_WHILE_BLOCKED)
    for sample, rows in samples:
        totals: dict[tuple[str, str], int] = {}
        for index, reason in np.argwhere(rows.blocked):
            if reason != Blocked.NONE:
                key = (rows.groups.sites[index], Blocked(reason).label)
                totals[key] = totals.get(key, 0) + int(rows.blocked[index, reason])
        for (site, label), ticks in totals.items():
            family.add((sample.vm, site, label), sample.scale.seconds(ticks))
    return family


def _live(samples: list[VmSample]) -> Iterator[Metric]:
    """What is true at this instant; nothing is for a process that is dead."""
    held, owner, waiters, ratio = (
        Values(name) for name in (names.OWNER_HELD, names.OWNER, names.WAITERS, names.HELD_RATIO)
    )
    for sample in samples:
        table = sample.table
        if not sample.process.alive:
            continue
        holder = table.holder
        since = table.taken - holder.since if holder else 0
        held.add((sample.vm,), max(0.0, table.clock.seconds(since)))
        waiters.add((sample.vm,), table.waiters)
        ratio.add((sample.vm,), sample.held_ratio)
        if holder:
            blocked = holder.blocked.label
            owner.add((sample.vm, *_who(sample, holder.who), blocked), 1)
    yield from (held, owner, waiters, ratio)


def _who(sample: VmSample, who: Who) -> tuple[str, str, str, str]:
    site = sample.names.label(who.site)
    if who.thread is None:
        return Role.OTHER.label, "(unrecorded)", "0", site
    thread, tid = sample.names.thread_labels(who.thread)
    return sample.names.role(who.thread).label, thread, tid, site


def _threads(samples: list[VmSample]) -> Metric:
    family = Values(names.THREADS)
    for sample in samples:
        for role in Role:
            known = [thread for thread in sample.table.threads if thread.role is role]
            if known:
                family.add((sample.vm, role.label), sum(thread.live for thread in known))
    return family


def _exits(samples: list[VmSample]) -> Metric:
    family = Values(names.VCPU_EXITS)
    for sample in samples:
        counted = [thread.exits for thread in sample.table.threads if any(thread.exits)]
        for kind in Exit:
            total = sum(exits[kind] for exits in counted)
            if total:
                family.add((sample.vm, kind.label), total)
    return family


def _recordings(samples: list[VmSample]) -> Iterator[Metric]:
    up, enabled, lost = (
        Values(name) for name in (names.UP, names.RECORDING_ENABLED, names.RECORDING_LOST)
    )
    for sample in samples:
        table, losses = sample.table, sample.table.losses
        up.add((sample.vm,), int(sample.process.alive))
        enabled.add((sample.vm,), int(table.enabled))
        for what, count in (
            ("sites", losses.sites),
            ("rows", losses.rows),
            ("threads", losses.threads),
            ("acquisitions", losses.acquisitions),
            ("trylocks", losses.trylocks_failed),
            ("blame", sum(thread.blame_lost for thread in table.threads)),
            ("events", table.events_lost),
        ):
            lost.add((sample.vm, what), count)
    yield from (up, enabled, lost)
