# SPDX-License-Identifier: GPL-2.0-or-later
"""From trials to the result: estimates, ratios, blame, and the JSON document.

Pure functions of the trials; every later consumer (table, verdict, checks, JSON) reads a `Result`.
The document's keys are described in docs/compare-json.md.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from profiler.compare.host import Host
from profiler.compare.metrics import METRICS, Metric, shown
from profiler.compare.own import product_version
from profiler.compare.placement import Placement
from profiler.compare.plan import Plan
from profiler.compare.statistics import (
    CONFIDENCE,
    RESAMPLES,
    SEED,
    Estimate,
    Ratio,
    estimate,
    finite,
    ratio,
)
from profiler.compare.trial import Trial
from profiler.compare.vmm import Identity

SCHEMA = 1


@dataclass(frozen=True)
class BlameShare:
    """One waiter/holder pair of a placement, summed over its trials.

    `waiter_wait_ns` is all the waiter waited at that site, whoever held the lock; `share` is this
    pair's part of all vCPU waiting of the placement, 0 to 1.
    """

    waiter: str
    waiter_site: str
    holder: str
    holder_site: str
    wait_ns: float
    waiter_wait_ns: float
    share: float


@dataclass(frozen=True)
class Result:
    """A finished comparison.  Keys of the mappings are placement names and metric keys."""

    plan: Plan
    host: Host
    accel: Mapping[str, Any]
    vmm_host: Mapping[str, Any]
    estimates: Mapping[str, Mapping[str, Estimate]]
    ratios: Mapping[str, Mapping[str, Ratio]]
    blame: Mapping[str, Sequence[BlameShare]]
    window: str | None
    """`marks`, `whole` (at least one trial has no marks) or None (nothing recorded)."""


def metric_ratio(metric: Metric, baseline: Sequence[float], candidate: Sequence[float]) -> Ratio:
    """The ratio in the metric's direction: above 1 the candidate is better."""
    sides = (candidate, baseline) if metric.more_is_better else (baseline, candidate)
    return replace(ratio(*sides), resolution=metric.resolution)


def sum_blame(trials: Sequence[Trial]) -> list[BlameShare]:
    """Blame pairs summed over trials, longest wait first (ties by name, so the order is fixed)."""
    pairs: dict[tuple[str, str, str, str], float] = defaultdict(float)
    waiters: dict[tuple[str, str], float] = defaultdict(float)
    for trial in trials:
        for pair in trial.locks.blame if trial.locks else ():
            key = (pair.waiter, pair.waiter_site, pair.holder, pair.holder_site)
            pairs[key] += pair.wait_ns
            waiters[key[:2]] += pair.wait_ns
    total = sum(pairs.values())
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [
        BlameShare(*key, wait_ns=wait, waiter_wait_ns=waiters[key[:2]], share=wait / total)
        for key, wait in ordered
        if wait > 0
    ]


def _window(trials: Sequence[Trial]) -> str | None:
    sources = {trial.locks.window_source for trial in trials if trial.locks}
    if not sources:
        return None
    return "marks" if sources == {"marks"} else "whole"


def build_result(plan: Plan, host: Host, trials: Sequence[Trial]) -> Result:
    """All figures of a plan from its trials, in whatever order they ran; those of others may be
    among them.
    """
    trials = [trial for trial in trials if trial.slot.vmm == plan.key]
    by_name: dict[str, list[Trial]] = {placement.name: [] for placement in plan.placements}
    for trial in trials:
        by_name[trial.slot.placement.name].append(trial)
    values = {
        name: {
            metric.key: [t.metrics[metric.key] for t in own if metric.key in t.metrics]
            for metric in METRICS
        }
        for name, own in by_name.items()
    }
    base = values[plan.baseline.name]
    return Result(
        plan=plan,
        host=host,
        accel=trials[0].accel if trials else {},
        vmm_host=trials[0].vmm_host if trials else {},
        estimates={
            name: {key: estimate(numbers) for key, numbers in own.items()}
            for name, own in values.items()
        },
        ratios={
            placement.name: {
                metric.key: metric_ratio(
                    metric, base[metric.key], values[placement.name][metric.key]
                )
                for metric in METRICS
            }
            for placement in plan.candidates
        },
        blame={name: sum_blame(own) for name, own in by_name.items()},
        window=_window(trials),
    )


def _estimate_json(value: Estimate) -> dict[str, Any]:
    interval = None if value.median is None else [value.low, value.high]
    return {"median": value.median, "ci95": interval, "trials": list(value.trials)}


def _ratio_json(metric: Metric, value: Ratio) -> dict[str, Any]:
    unbounded = value.value is not None and (
        finite(value.value) is None or finite(value.high) is None
    )
    interval = None if value.value is None else [finite(value.low), finite(value.high)]
    return {
        "median": finite(value.value),
        "ci95": interval,
        "unbounded": unbounded,
        "of": metric.ratio_of,
    }


def _placement_config(placement: Placement) -> dict[str, Any]:
    return {
        "kind": placement.kind,
        "irq": placement.irq,
        "iothreads": len(placement.iothreads),
        "queues": placement.queues,
    }


def _ratios_json(result: Result) -> dict[str, Any]:
    by_candidate: dict[str, Any] = {
        name: {
            metric.key: _ratio_json(metric, own[metric.key])
            for metric in shown(result.estimates.values())
        }
        for name, own in result.ratios.items()
    }
    if len(by_candidate) == 1:
        (only,) = by_candidate.values()
        return {**by_candidate, **only}
    return by_candidate


def _vmm_json(identity: Identity) -> dict[str, Any]:
    return {
        "name": identity.key,
        "version": identity.version,
        "transport": identity.transport,
        "machine": identity.machine,
        "program": identity.program,
        "package": identity.package,
        "arguments": list(identity.arguments),
    }


def _workload_json(plan: Plan) -> dict[str, Any]:
    drive = {
        "path": None if plan.drive.temporary else str(plan.drive.path),
        "temporary": plan.drive.temporary,
        "cache": plan.drive.cache,
        "aio": plan.drive.aio,
        "readonly": plan.drive.readonly,
    }
    return {**asdict(plan.workload), "trials": plan.trials, "drive": drive}


def to_json(result: Result, date: str) -> dict[str, Any]:
    """The document without verdict and checks, which their own modules add.

    `date` is when the comparison ended, ISO 8601 in UTC.
    """
    plan = result.plan
    return {
        "schema": SCHEMA,
        "version": product_version(),
        "date": date,
        "vmm": _vmm_json(plan.vmm.identity),
        "host": {
            **asdict(result.host),
            "accel": dict(result.accel),
            "vmm_host": dict(result.vmm_host),
        },
        "workload": _workload_json(plan),
        "window": result.window,
        "statistics": {"confidence": CONFIDENCE, "resamples": RESAMPLES},
        "seeds": {"bootstrap": SEED, "guest": [trial + 1 for trial in range(plan.trials)]},
        "baseline": plan.baseline.name,
        "placements": {
            placement.name: {
                "config": _placement_config(placement),
                **{
                    metric.key: _estimate_json(result.estimates[placement.name][metric.key])
                    for metric in shown(result.estimates.values())
                },
            }
            for placement in plan.placements
        },
        "ratios": _ratios_json(result),
        "blame": {name: [asdict(pair) for pair in own] for name, own in result.blame.items()},
    }
