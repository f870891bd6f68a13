# SPDX-License-Identifier: GPL-2.0-or-later
"""The report on a saved comparison: the verdict, the plots of its metrics, and each placement.

The recordings of the trials lie beside `compare.json`. Those of a placement are added up; the
timeline is of the trial in which vCPUs waited most. Without recordings the report says so and has
what the document has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from profiler.compare.header import header_lines, several_header_lines
from profiler.compare.metrics import HEADLINES, METRICS, Metric, shown
from profiler.compare.own import product_version
from profiler.compare.plan import Slot
from profiler.compare.result import Result
from profiler.compare.runner import FILE_NAME_CHARACTERS
from profiler.compare.saved import Saved
from profiler.compare.statistics import Ratio
from profiler.compare.table import estimate_text, ratio_text
from profiler.compare.text import factor, interval, number
from profiler.compare.verdict import Verdict, build_verdict, difference_caveats
from profiler.errors import RecordingError
from profiler.model import Role
from profiler.reports.devices import exits_table, queues_table
from profiler.reports.figures import curve, heatmap_figure, pairs_table, roles_table, sites_table
from profiler.reports.gaps import checked, gaps
from profiler.reports.model import (
    Block,
    Cell,
    Column,
    Curve,
    Distributions,
    Facts,
    Figure,
    Figures,
    Intervals,
    Notes,
    Page,
    Paragraph,
    Reading,
    Section,
    Table,
    Tile,
)
from profiler.reports.recording import timeline_blocks
from profiler.reports.sample import Sample
from profiler.reports.source import Source, read_recording
from profiler.reports.words import counted, duration, listed

PLOTTED = ("iops", "access_p99_us", "blk_lat_p99_us", "vcpu_bql_wait_share")
"""Metrics that have a plot; the table has all."""

MOST_SITES, MOST_PAIRS = 12, 12
COLOURS = 8
"""Placements with a colour of their own; further ones share them."""


@dataclass(frozen=True)
class Contestant:
    """A placement of a VMM with what its trials recorded."""

    result: Result
    name: str
    label: str
    kind: str
    sources: tuple[Source, ...]

    @property
    def sample(self) -> Sample | None:
        """All trials together; None without recordings."""
        snapshots = tuple(source.snapshot for source in self.sources)
        return Sample(snapshots) if snapshots else None


def comparison_page(saved: Saved, now: datetime) -> Page:
    """The page; `now` is when the report is made, in UTC."""
    judged = [(result, build_verdict(result)) for result in saved.results]
    contestants, broken = _contestants(saved)
    sections = [
        _metrics_section(saved),
        *_waits_section(contestants),
        *(_placement_section(number, one) for number, one in enumerate(contestants, 1)),
        Section("measured", "How it was measured", (Facts(_measured(saved, contestants)),)),
        Section("gaps", "What was not measured", (Notes(_gaps(contestants, broken)),)),
        Section("host", "Host", (Facts(_host(saved.results[0])),)),
    ]
    return Page(
        title=f"Does moving {saved.results[0].plan.subject} pay?",
        subject=f"bqlscope compare, {saved.when}",
        verdict=tuple(_sentences(judged)),
        hints=_notes(judged),
        tiles=_tiles(saved),
        sections=tuple(sections),
        made=f"Made {now:%Y-%m-%d %H:%M} UTC by bqlscope {product_version()}.",
    )


def _sentences(judged: Sequence[tuple[Result, Verdict]]) -> list[str]:
    several = len(judged) > 1
    return [
        f"{result.plan.vmm.identity.title}: {candidate.sentence}" if several else candidate.sentence
        for result, verdict in judged
        for candidate in verdict.candidates.values()
    ]


def _notes(judged: Sequence[tuple[Result, Verdict]]) -> tuple[str, ...]:
    """Caveats, once each; one that does not hold for all VMMs names its own."""
    notes = dict.fromkeys(difference_caveats([result for result, _ in judged]))
    for result, verdict in judged:
        for caveat in verdict.caveats:
            shared = all(caveat in other.caveats for _, other in judged)
            notes[caveat if shared else f"{result.plan.vmm.identity.title}: {caveat}"] = None
    return tuple(notes)


def _tiles(saved: Saved) -> tuple[Tile, ...]:
    """The headline ratios, where there is one candidate to have them."""
    (first, *others), tiles = saved.results, []
    if others or len(first.plan.candidates) != 1:
        return ()
    (name,) = (placement.name for placement in first.plan.candidates)
    for metric in HEADLINES:
        value = first.ratios[name][metric.key]
        if value.value is None or value.low is None or value.high is None:
            continue
        bounds = interval(factor(value.low), factor(value.high))
        tiles.append(
            Tile(
                f"{factor(value.value)} \N{MULTIPLICATION SIGN}",
                f"better in {metric.label} {bounds}{_undecided(value)}",
            )
        )
    return tuple(tiles)


def _undecided(value: Ratio) -> str:
    return "" if value.better or value.worse else ", which is no finding"


def _contestants(saved: Saved) -> tuple[list[Contestant], list[str]]:
    """All placements of all VMMs, and a sentence for each recording that cannot be used."""
    found: list[Contestant] = []
    broken: list[str] = []
    for result in saved.results:
        title = result.plan.vmm.identity.title
        for placement in result.plan.placements:
            sources = []
            for trial in range(result.plan.trials):
                slot = Slot(0, trial, placement, result.plan.key, saved.several)
                stem = slot.name.translate(FILE_NAME_CHARACTERS)
                path = saved.path.parent / f"{stem}-trial{trial + 1}-recording.bql"
                try:
                    sources += [read_recording(path)] if path.exists() else []
                except RecordingError as error:
                    broken.append(f"A recording cannot be used: {error.message}.")
            label = f"{title} {placement.name}" if saved.several else placement.name
            kind = f"p{len(found) % COLOURS}"
            found.append(Contestant(result, placement.name, label, kind, tuple(sources)))
    return found, broken


def _metrics_section(saved: Saved) -> Section:
    """Plots of the most important metrics, and a table for each candidate."""
    by_key = {metric.key: metric for metric in METRICS}
    figures = [_intervals_figure(saved, by_key[key]) for key in PLOTTED]
    drawn = [figure for figure in figures if figure is not None]
    pairs = [Figures(tuple(drawn[i : i + 2])) for i in range(0, len(drawn), 2)]
    tables = [
        _candidate_table(saved, result, placement.name)
        for result in saved.results
        for placement in result.plan.candidates
    ]
    key = Paragraph(
        "Each circle is a trial, the diamond their median, the line through it the 95 % interval."
    )
    return Section("metrics", "What the guest got", (key, *pairs, *tables))


def _intervals_figure(saved: Saved, metric: Metric) -> Figure | None:
    """A metric of all placements; None if nobody has it."""
    readings = tuple(_readings(saved, metric))
    if not readings:
        return None
    better = "more" if metric.more_is_better else "less"
    texts = [f"{f'{r.group} {r.label}'.strip()} {r.text} {metric.unit}" for r in readings]
    return Figure(
        _capital(metric.label),
        Intervals(metric.label, metric.unit, better, readings),
        f"{better.capitalize()} is better.",
        f"Median with 95 % interval: {listed(texts)}.",
    )


def _capital(label: str) -> str:
    """A label as a title; a name like vCPU stays as it is."""
    return label if label[1:2].isupper() else label[0].upper() + label[1:]


def _readings(saved: Saved, metric: Metric) -> list[Reading]:
    found, index = [], 0
    for result in saved.results:
        group = result.plan.vmm.identity.title if saved.several else ""
        for placement in result.plan.placements:
            value, kind = result.estimates[placement.name][metric.key], f"p{index % COLOURS}"
            index += 1
            if value.median is None or value.low is None or value.high is None:
                continue
            found.append(
                Reading(
                    label=placement.name,
                    group=group,
                    kind=kind,
                    median=value.median * metric.scale,
                    low=value.low * metric.scale,
                    high=value.high * metric.scale,
                    trials=tuple(trial * metric.scale for trial in value.trials),
                    text=estimate_text(value, metric.scale),
                )
            )
    return found


def _candidate_table(saved: Saved, result: Result, candidate: str) -> Table:
    """All metrics of a candidate against the baseline."""
    baseline = result.plan.baseline.name
    title = f"{result.plan.vmm.identity.title}: " if saved.several else ""
    rows = []
    for metric in shown(result.estimates.values()):
        value = result.ratios[candidate][metric.key]
        mark = "better" if value.better else "worse" if value.worse else ""
        rows.append(
            (
                Cell(f"{metric.label}, {metric.unit}"),
                Cell(estimate_text(result.estimates[baseline][metric.key], metric.scale)),
                Cell(estimate_text(result.estimates[candidate][metric.key], metric.scale)),
                Cell(ratio_text(value), mark=mark),
            )
        )
    return Table(
        f"{title}{candidate} against {baseline}",
        (
            Column("median [95 %]", numeric=False),
            Column(baseline, wraps=True),
            Column(candidate, wraps=True),
            Column("times better", wraps=True),
        ),
        tuple(rows),
        "The last column is a ratio of medians with its 95 % interval; above 1 the candidate is "
        "better. A + or \N{MINUS SIGN} marks those whose interval excludes 1, all others are no "
        "finding.",
    )


def _waits_section(contestants: Sequence[Contestant]) -> list[Section]:
    """The vCPUs' waits and the main loop's holds, a curve for each placement."""
    waits = _curves(contestants, Role.VCPU, "wait")
    holds = _curves(contestants, Role.MAIN, "hold")
    figures = []
    if waits:
        figures.append(
            Figure(
                "vCPUs waiting for the lock",
                Distributions("wait", "acquisitions", waits),
                "How much of all acquisitions by vCPUs had the lock within a given time. Each line "
                "up the axis is ten times rarer: the further left a curve reaches the top, the "
                "better.",
                _curves_text(waits),
            )
        )
    if holds:
        figures.append(
            Figure(
                "The main loop holding the lock",
                Distributions("hold", "holds", holds),
                "How long the main loop kept the lock once it had it: what everybody else waits "
                "for. How often it does is in the tables below.",
                _curves_text(holds),
            )
        )
    if not figures:
        return []
    return [Section("waits", "How long threads wait, and hold", (Figures(tuple(figures)),))]


def _curves(contestants: Sequence[Contestant], role: Role, what: str) -> tuple[Curve, ...]:
    found = []
    for one in contestants:
        groups = one.sample.roles if one.sample else ()
        for group in groups:
            if group.role is role and group.acquisitions:
                spread = group.wait if what == "wait" else group.hold
                found.append(curve(one.label, one.kind, spread))
    return tuple(found)


def _curves_text(curves: Sequence[Curve]) -> str:
    parts = [f"{c.label}: {c.samples} samples, at most {duration(c.largest)}" for c in curves]
    return f"Cumulative distributions. {listed(parts)}."


def _placement_section(number_of: int, one: Contestant) -> Section:
    """What the recordings of a placement say."""
    anchor, title = f"placement-{number_of}", f"In {one.label}: who makes whom wait"
    sample = one.sample
    if sample is None:
        return Section(
            anchor, title, (Paragraph("The recordings of its trials are not beside the result."),)
        )
    worst = max(one.sources, key=_vcpu_waiting)
    trial = one.sources.index(worst) + 1
    note = (
        f"Sums of {counted(len(one.sources), 'trial')}. The timeline is of trial {trial}, in which "
        "vCPUs waited most."
    )
    blocks: list[Block | None] = [
        Paragraph(note),
        heatmap_figure(sample),
        pairs_table(sample, MOST_PAIRS),
        *timeline_blocks(worst.snapshot),
        roles_table(sample),
        sites_table(sample, MOST_SITES),
        queues_table(sample),
        exits_table(sample),
    ]
    return Section(anchor, title, tuple(block for block in blocks if block is not None))


def _vcpu_waiting(source: Source) -> float:
    return Sample((source.snapshot,)).vcpu_wait_share or 0.0


def _measured(saved: Saved, contestants: Sequence[Contestant]) -> tuple[tuple[str, str], ...]:
    results = saved.results
    lines = several_header_lines(results) if saved.several else header_lines(results[0])
    recordings = sum(len(one.sources) for one in contestants)
    window = "as the guest marked it" if results[0].window == "marks" else "not marked"
    return (
        *((label[0].upper() + label[1:], text) for label, text in lines if label != "host"),
        ("Window", f"{window}; boot and warm-up subtracted" if "as" in window else window),
        ("Intervals", "95 %, bootstrap over trials; the trial is the unit, not the request"),
        ("Recordings", f"{recordings} read; every acquisition is in them, none sampled"),
        ("Checked", checked([source.snapshot for one in contestants for source in one.sources])),
        ("Document", f"{saved.path}, written by bqlscope {saved.version}"),
    )


def _gaps(contestants: Sequence[Contestant], broken: Sequence[str]) -> tuple[str, ...]:
    snapshots = [source.snapshot for one in contestants for source in one.sources]
    if not snapshots:
        return (*broken, "Who waited for whom over time: the recordings are not here.")
    whole = sum(not source.marked for one in contestants for source in one.sources)
    window = "Anything outside the guest's measured window: boot and warm-up are subtracted."
    if whole:
        window = (
            f"A window of its own in {counted(whole, 'trial')}: boot and warm-up are in their "
            "numbers."
        )
    return (*broken, *gaps(snapshots, window))


def _host(result: Result) -> tuple[tuple[str, str], ...]:
    host = result.host
    model = result.vmm_host.get("cpu_model")
    memory = result.vmm_host.get("memory_bytes")
    reason = result.accel.get("reason")
    accel = str(result.accel.get("name") or "not known")
    facts = [
        ("CPU", f"{model or 'unknown model'}, {host.cpus} of them usable, {host.machine}"),
        ("Kernel", f"Linux {host.kernel}"),
        ("Accelerator", f"{accel}: {reason}" if reason else accel),
    ]
    if isinstance(memory, int | float) and not isinstance(memory, bool) and 0 < memory < 1e18:
        facts.append(("Memory", f"{number(memory / 2**30)} GiB"))
    return tuple(facts)
