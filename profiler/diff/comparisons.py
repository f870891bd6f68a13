# SPDX-License-Identifier: GPL-2.0-or-later
"""Two saved comparisons, placement by placement: ratios of medians with bootstrap intervals.

The trials of the two were not interleaved with each other. A host that became slower in between
looks like a change; what that cannot fake is the gain of a candidate over its baseline, which each
comparison measured within itself. So both are given.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from profiler.compare.metrics import HEADLINES, Metric, shown
from profiler.compare.result import Result, metric_ratio
from profiler.compare.saved import Saved
from profiler.compare.statistics import MIN_TRIALS, Estimate, Ratio, finite
from profiler.compare.text import counted


@dataclass(frozen=True)
class MetricChange:
    """A metric of a placement in both; `ratio` above 1: B is better."""

    metric: Metric
    before: Estimate
    after: Estimate
    ratio: Ratio

    @property
    def decided(self) -> bool:
        """Whether the trials show a difference: enough of them, and the interval excludes 1."""
        enough = min(len(self.before.trials), len(self.after.trials)) >= MIN_TRIALS
        return enough and (self.ratio.better or self.ratio.worse)

    @property
    def distance(self) -> float:
        """How far the ratio is from 1, as a logarithm; infinite ratios are farthest."""
        value = self.ratio.value
        if value is None:
            return -1.0
        return math.inf if value in (0.0, math.inf) else abs(math.log(value))


@dataclass(frozen=True)
class PlacementChange:
    """All metrics of a placement that both comparisons ran, decided and large changes first."""

    vmm: str
    title: str
    name: str
    metrics: tuple[MetricChange, ...]


@dataclass(frozen=True)
class Gain:
    """What a candidate gained over its baseline, within A and within B."""

    vmm: str
    title: str
    candidate: str
    baseline: str
    metric: Metric
    before: Ratio
    after: Ratio


@dataclass(frozen=True)
class ComparisonDiff:
    """Everything that changed, and what to keep in mind."""

    a: Saved
    b: Saved
    placements: tuple[PlacementChange, ...]
    gains: tuple[Gain, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of `bqlscope diff --json` for two comparisons."""
        return {
            "schema": 1,
            "kind": "comparisons",
            "a": {"document": str(self.a.path), "date": self.a.date, "version": self.a.version},
            "b": {"document": str(self.b.path), "date": self.b.date, "version": self.b.version},
            "placements": [_placement_json(placement) for placement in self.placements],
            "gains": [_gain_json(gain) for gain in self.gains],
            "remarks": list(self.remarks),
        }


def _placement_json(change: PlacementChange) -> dict[str, Any]:
    return {
        "vmm": change.vmm,
        "placement": change.name,
        "metrics": {
            part.metric.key: {
                "a": {"median": part.before.median, "trials": list(part.before.trials)},
                "b": {"median": part.after.median, "trials": list(part.after.trials)},
                "times_better": _ratio_json(part.ratio),
                "decided": part.decided,
            }
            for part in change.metrics
        },
    }


def _gain_json(gain: Gain) -> dict[str, Any]:
    return {
        "vmm": gain.vmm,
        "candidate": gain.candidate,
        "baseline": gain.baseline,
        "metric": gain.metric.key,
        "a": _ratio_json(gain.before),
        "b": _ratio_json(gain.after),
    }


def _ratio_json(ratio: Ratio) -> dict[str, Any]:
    """An infinite value is null, and `unbounded` then says so."""
    return {
        "value": finite(ratio.value),
        "low": finite(ratio.low),
        "high": finite(ratio.high),
        "unbounded": ratio.high is not None and math.isinf(ratio.high),
    }


def diff_comparisons(a: Saved, b: Saved) -> ComparisonDiff:
    """What changed from a to b in what both ran."""
    pairs = _common(a, b)
    placements = tuple(_placements(pairs))
    return ComparisonDiff(
        a, b, placements, tuple(_gains(pairs)), tuple(_remarks(a, b, pairs, placements))
    )


Pair = tuple[Result, Result]


def _common(a: Saved, b: Saved) -> list[Pair]:
    """The results of VMMs that both ran."""
    after = {result.plan.key: result for result in b.results}
    return [(r, after[r.plan.key]) for r in a.results if r.plan.key in after]


def _placements(pairs: Sequence[Pair]) -> Iterable[PlacementChange]:
    for before, after in pairs:
        identity = before.plan.vmm.identity
        for placement in before.plan.placements:
            name = placement.name
            if name not in after.estimates:
                continue
            changes = [
                MetricChange(
                    metric,
                    before.estimates[name][metric.key],
                    after.estimates[name][metric.key],
                    metric_ratio(
                        metric,
                        before.estimates[name][metric.key].trials,
                        after.estimates[name][metric.key].trials,
                    ),
                )
                for metric in shown((before.estimates[name], after.estimates[name]))
            ]
            changes.sort(key=lambda change: (not change.decided, -change.distance))
            yield PlacementChange(identity.key, identity.title, name, tuple(changes))


def _gains(pairs: Sequence[Pair]) -> Iterable[Gain]:
    for before, after in pairs:
        if before.plan.baseline.name != after.plan.baseline.name:
            continue
        for name, ratios in before.ratios.items():
            if name not in after.ratios:
                continue
            for metric in HEADLINES:
                yield Gain(
                    before.plan.key,
                    before.plan.vmm.identity.title,
                    name,
                    before.plan.baseline.name,
                    metric,
                    ratios[metric.key],
                    after.ratios[name][metric.key],
                )


def _remarks(
    a: Saved, b: Saved, pairs: Sequence[Pair], placements: Sequence[PlacementChange]
) -> Iterable[str]:
    yield (
        "A and B were not interleaved: a host that changed its speed in between looks like a "
        "change. Trust the gains within each more than the change between them."
    )
    few = min((len(m.before.trials) for p in placements for m in p.metrics[:1]), default=0)
    few = min([few, *(len(m.after.trials) for p in placements for m in p.metrics[:1])])
    if 0 < few < MIN_TRIALS:
        yield f"{counted(few, 'trial')} cannot support a 95 % interval: nothing is decided."
    for before, after in pairs:
        differing = [
            f"{name} ({old} against {new})"
            for name, (old, new) in _settings(before, after).items()
            if old != new
        ]
        if differing:
            title = before.plan.vmm.identity.title
            yield f"{title}: A and B differ in {'; '.join(differing)}."
    yield from _missing(a, b)


def _settings(a: Result, b: Result) -> dict[str, tuple[Any, Any]]:
    """What should be equal if the difference is to mean something."""

    def of(result: Result) -> dict[str, Any]:
        plan, identity = result.plan, result.plan.vmm.identity
        work, drive, host = plan.workload, plan.drive, result.host
        return {
            "version": identity.version,
            "machine": identity.machine,
            "transport": identity.transport,
            "vCPUs": work.vcpus,
            "queue depth": work.iodepth,
            "block size": work.block_size,
            "workload": work.rw,
            "window": f"{work.duration:g} s",
            "polling": f"{work.poll_max_ns} ns",
            "memory": work.memory,
            "accelerator": result.accel.get("name"),
            "backend": drive.aio,
            "cache": drive.cache,
            "image": "a temporary one" if drive.temporary else str(drive.path),
            "kernel": host.kernel,
            "CPUs": host.cpus,
            "CPU model": result.vmm_host.get("cpu_model"),
        }

    before, after = of(a), of(b)
    return {name: (before[name], after[name]) for name in before}


def _missing(a: Saved, b: Saved) -> Iterable[str]:
    ran = [
        {(r.plan.vmm.identity.title, p.name) for r in saved.results for p in r.plan.placements}
        for saved in (a, b)
    ]
    for name, only in (("A", ran[0] - ran[1]), ("B", ran[1] - ran[0])):
        if only:
            names = ", ".join(sorted(f"{title} {placement}" for title, placement in only))
            yield f"Only in {name}: {names}."
