# SPDX-License-Identifier: GPL-2.0-or-later
"""The metrics of a trial, named once: key, unit, label and which direction is better.

Rule: a ratio above 1 always means that the candidate is better than the baseline.  Metrics where
more is better are therefore divided candidate/baseline, all others baseline/candidate.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from profiler.compare.statistics import Estimate

ONE_BUCKET = 1.13
"""Quantiles come out of histograms whose buckets are an eighth wide: values that are next to each
other in such a scale differ by less than this factor, those two buckets apart by more."""


@dataclass(frozen=True)
class Metric:
    """One number a trial yields: `key` in JSON, `label` and `unit` in the table.

    The table shows the value multiplied by `scale` (shares as percent, rates in thousands).
    `better` and `worse` are the verdict's phrases for a factor `{r}` above 1; only headline metrics
    have them.  A ratio whose interval comes nearer to 1 than the factor `resolution` is no finding.
    """

    key: str
    label: str
    unit: str
    more_is_better: bool
    scale: float = 1.0
    better: str = ""
    worse: str = ""
    resolution: float = 1.0
    optional: bool = False
    """Left out of tables where nobody has it."""

    @property
    def ratio_of(self) -> str:
        """How the ratio is formed, as written into the JSON document."""
        return "candidate/baseline" if self.more_is_better else "baseline/candidate"


METRICS: tuple[Metric, ...] = (
    Metric(
        "iops",
        "disk requests",
        "k/s",
        True,
        1e-3,
        "{r} times as many disk requests per second",
        "{r} times fewer disk requests per second",
    ),
    Metric("blk_lat_p50_us", "disk latency p50", "µs", False, resolution=ONE_BUCKET),
    Metric("blk_lat_p99_us", "disk latency p99", "µs", False, resolution=ONE_BUCKET),
    Metric("accesses_per_s", "register reads", "k/s", True, 1e-3),
    Metric("access_p50_us", "register read p50", "µs", False, resolution=ONE_BUCKET),
    Metric(
        "access_p99_us",
        "register read p99",
        "µs",
        False,
        1.0,
        "a p99 of register reads that is {r} times shorter",
        "a p99 of register reads that is {r} times longer",
        resolution=ONE_BUCKET,
    ),
    Metric("access_max_us", "register read max", "ms", False, 1e-3),
    Metric(
        "vcpu_bql_wait_share",
        "vCPU waits for BQL",
        "%",
        False,
        100.0,
        "{r} times less waiting of vCPUs for the BQL",
        "{r} times more waiting of vCPUs for the BQL",
    ),
    Metric("mainloop_bql_hold_share", "main loop holds", "%", False, 100.0),
    Metric("mainloop_hold_p99_us", "main loop hold p99", "µs", False, resolution=ONE_BUCKET),
    Metric("vnc_updates_per_s", "screen updates", "1/s", True, optional=True),
    Metric("vnc_bytes_per_s", "screen data", "MB/s", True, 1e-6, optional=True),
)
METRIC_KEYS: tuple[str, ...] = tuple(metric.key for metric in METRICS)
HEADLINES: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric.better)
"""The metrics the verdict speaks of."""


def shown(measured: Iterable[Mapping[str, Estimate]]) -> tuple[Metric, ...]:
    """The metrics that a table of these placements has a line for."""
    found = list(measured)
    return tuple(
        metric
        for metric in METRICS
        if not metric.optional
        or any(own[metric.key].median is not None for own in found if metric.key in own)
    )
