# SPDX-License-Identifier: GPL-2.0-or-later
"""One honest sentence about each candidate: better, worse, mixed, or no difference shown.

Rule: a difference counts only if its 95 % interval excludes 1 by more than the metric's resolution
and there are enough trials for such an interval.  Only the headline metrics decide; the others are
in the table.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from profiler.compare.metrics import HEADLINES, METRICS, Metric
from profiler.compare.result import Result
from profiler.compare.statistics import MIN_TRIALS, Ratio
from profiler.compare.text import counted, factor, interval


@dataclass(frozen=True)
class CandidateVerdict:
    """What the trials show about one candidate; the tuples hold metric keys."""

    sentence: str
    decided: bool
    better: tuple[str, ...]
    worse: tuple[str, ...]
    undecided: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """The whole verdict.  `decided`: every candidate differs from the baseline in some headline."""

    sentence: str
    decided: bool
    candidates: dict[str, CandidateVerdict]
    caveats: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The `verdict` object of the JSON document."""
        return asdict(self)


def _inverse(value: float) -> float:
    return math.inf if value == 0 else 1 / value


def _phrase(metric: Metric, value: Ratio, gain: bool) -> str:
    """One half-sentence about a decided metric, its factor (above 1) and interval.

    An infinite factor means that the metric is zero on one side: which one, is said instead.
    """
    centre, low, high = value.value or 0.0, value.low or 0.0, value.high or 0.0
    if not gain:
        centre, low, high = _inverse(centre), _inverse(high), _inverse(low)
    if math.isinf(centre):
        side = "was zero before" if gain == metric.more_is_better else "is zero now"
        return f"'{metric.label}' {side}"
    phrase = (metric.better if gain else metric.worse).format(r=factor(centre))
    if math.isinf(high):
        return f"{phrase} [at least {factor(low)}]"
    return f"{phrase} {interval(factor(low), factor(high))}"


def _join(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def _candidate(result: Result, name: str) -> CandidateVerdict:
    ratios = result.ratios[name]
    enough = result.plan.trials >= MIN_TRIALS
    better = tuple(m.key for m in METRICS if enough and ratios[m.key].better)
    worse = tuple(m.key for m in METRICS if enough and ratios[m.key].worse)
    undecided = tuple(
        m.key
        for m in METRICS
        if ratios[m.key].value is not None and m.key not in better and m.key not in worse
    )
    gains = [_phrase(m, ratios[m.key], True) for m in HEADLINES if m.key in better]
    losses = [_phrase(m, ratios[m.key], False) for m in HEADLINES if m.key in worse]
    move = f"Moving {result.plan.subject} from {result.plan.baseline.name} to {name}"
    if not enough:
        sentence = (
            f"{move}: not decided, {counted(result.plan.trials, 'trial')} cannot support a 95 % "
            f"interval (at least {MIN_TRIALS} can)."
        )
    elif gains and losses:
        sentence = f"{move} is mixed: {_join(gains)}, but {_join(losses)}."
    elif gains:
        sentence = f"{move} pays: {_join(gains)}."
    elif losses:
        sentence = f"{move} makes things worse: {_join(losses)}."
    else:
        sentence = (
            f"{move}: no difference that {result.plan.trials} trials can show in disk requests "
            "per second, register read p99 or vCPU waits for the BQL."
        )
    return CandidateVerdict(sentence, bool(gains or losses), better, worse, undecided)


def busy_threads(result: Result) -> int:
    """Threads that want a CPU at once in the busiest placement: vCPUs, main loop, iothreads, and
    with viewers the VNC worker and the process that plays them.
    """
    iothreads = max(len(placement.iothreads) for placement in result.plan.placements)
    screen = 2 if result.plan.workload.vnc_clients else 0
    return result.plan.workload.vcpus + 1 + iothreads + screen


def caveats(result: Result) -> tuple[str, ...]:
    """What limits the result, one sentence each; empty on a good host."""
    found = []
    threads, cpus = busy_threads(result), result.host.cpus
    if threads > cpus:
        found.append(
            f"Up to {threads} threads shared {cpus} CPUs: part of every wait is the scheduler, "
            "and a host with a CPU for each thread may show other gains."
        )
    name = result.accel.get("name")
    if name == "qtest":
        found.append(
            "No virtual CPU ran (qtest): accesses cost no VM exit, so only lock waits carry over."
        )
    elif result.host.nested:
        found.append(
            "The host is nested (kvm_pvm): a VM exit costs many times its price on hardware; "
            "trust the ratios, not the absolute times."
        )
    if any(p.iothreads and p.irq == p.usual_irq == "mainloop" for p in result.plan.placements):
        found.append(
            "virtio-mmio has no irqfd here: an iothread's interrupts pass through the main loop, "
            "which takes back part of its gain; on PCI (--machine q35) they do not."
        )
    if not result.plan.drive.direct:
        found.append(
            "The image has no O_DIRECT here: reads went through the page cache, which hides the "
            "disk."
        )
    if result.window == "whole":
        found.append(
            "The guest's window was not marked in every trial: lock shares include boot and "
            "warm-up."
        )
    if result.window is None:
        found.append("No lock recording was made: lock shares and blame are missing.")
    return tuple(found)


def difference_caveats(results: Sequence[Result]) -> tuple[str, ...]:
    """What keeps the figures of several VMMs from being compared with each other."""
    names = {
        "interrupt path": [
            " and ".join(dict.fromkeys(placement.irq for placement in result.plan.placements))
            for result in results
        ],
        "transport": [result.plan.vmm.identity.transport for result in results],
        "backend": [result.plan.drive.aio for result in results],
    }
    differing = [
        f"{what} ({' against '.join(values)})"
        for what, values in names.items()
        if len(set(values)) > 1
    ]
    if not differing:
        return ()
    return (
        f"The VMMs differ in {_join(differing)}: compare the ratios, not one VMM's figures with "
        "another's.",
    )


def build_verdict(result: Result) -> Verdict:
    """The verdict on all candidates."""
    candidates = {name: _candidate(result, name) for name in result.ratios}
    return Verdict(
        sentence=" ".join(own.sentence for own in candidates.values()),
        decided=all(own.decided for own in candidates.values()),
        candidates=candidates,
        caveats=caveats(result),
    )
