# SPDX-License-Identifier: GPL-2.0-or-later
"""Pieces of PromQL for panels: selectors that carry the dashboard's variables, rates, quantiles."""

from dataclasses import dataclass
from typing import Protocol

WINDOW = "$__rate_interval"


class Series(Protocol):
    """A metric or a recording rule: what a selector must know of it."""

    @property
    def name(self) -> str:
        """Name as stored."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels besides those of the target."""


@dataclass(frozen=True)
class Own:
    """A series that Prometheus itself makes for each target."""

    name: str
    labels: tuple[str, ...] = ()


UP = Own("up")
SCRAPE_DURATION = Own("scrape_duration_seconds")
SCRAPE_SAMPLES = Own("scrape_samples_scraped")
OWN = (UP, SCRAPE_DURATION, SCRAPE_SAMPLES)


class Scope:
    """The variables of a dashboard, each with the labels that it selects.

    $job and $instance are everywhere. A label that the series does not have is left out.
    """

    def __init__(self, *variables: str, **labels: str) -> None:
        self.variables = variables
        self._labels = {**{name: name for name in variables}, **labels}

    def select(self, series: Series, *matchers: str, suffix: str = "") -> str:
        """A selector; `matchers` (`role="vcpu"`) take the place of the variable of their label."""
        given = {matcher.partition("=")[0].rstrip("!") for matcher in matchers}
        words = ['job=~"$job"', 'instance=~"$instance"']
        for label, variable in self._labels.items():
            if label in series.labels and label not in given:
                words.append(f'{label}=~"${variable}"')
        return f"{series.name}{suffix}{{{', '.join((*words, *matchers))}}}"

    def rate(self, series: Series, *matchers: str, suffix: str = "") -> str:
        """Growth per second of a counter."""
        return f"rate({self.select(series, *matchers, suffix=suffix)}[{WINDOW}])"

    def total_rate(
        self, series: Series, *matchers: str, by: str = "", suffix: str = "", more: str = ""
    ) -> str:
        """Growth per second of a counter, summed; `by` names labels to keep."""
        return f"{_sum(by)}({self.rate(series, *matchers, suffix=suffix)}{more})"

    def quantile(self, q: float, series: Series, *matchers: str, by: str = "") -> str:
        """A quantile of what a histogram counted lately."""
        keep = f"{by}, le" if by else "le"
        counts = self.total_rate(series, *matchers, by=keep, suffix="_bucket")
        return f"histogram_quantile({q}, {counts})"


def largest(expr: str) -> str:
    """The ten largest of what is not nought."""
    return f"topk(10, {expr} > 0)"


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"
