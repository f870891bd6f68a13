# SPDX-License-Identifier: GPL-2.0-or-later
"""A dashboard's queries without Grafana: variables filled in, Prometheus asked."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

Json = dict[str, Any]
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class QueryError(Exception):
    """Prometheus refused a query or did not answer."""


@dataclass(frozen=True)
class Points:
    """A series: labels, and its values by time in seconds since the epoch."""

    labels: Mapping[str, str]
    times: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Target:
    """A query of a panel, and whether Grafana asks for its value now instead of its course."""

    ref: str
    expr: str
    legend: str
    instant: bool


@dataclass(frozen=True)
class Prometheus:
    """The HTTP interface at a base address."""

    base: str

    def instant(self, expr: str, at: float) -> list[Points]:
        """Values at one instant. Raises QueryError."""
        return [
            Points(each["metric"], (float(each["value"][0]),), (float(each["value"][1]),))
            for each in self._ask("query", query=expr, time=at)["result"]
        ]

    def course(self, expr: str, begin: float, end: float, step: float) -> list[Points]:
        """Values over time, in seconds since the epoch. Raises QueryError."""
        found = []
        for each in self._ask("query_range", query=expr, start=begin, end=end, step=step)["result"]:
            times, values = zip(*each["values"], strict=True)
            found.append(Points(each["metric"], times, tuple(map(float, values))))
        return found

    def _ask(self, what: str, **parameters: object) -> Json:
        url = f"{self.base}/api/v1/{what}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=30) as answer:
                return dict(json.load(answer)["data"])
        except HTTPError as error:
            raise QueryError(error.read().decode(errors="replace")) from error
        except (URLError, OSError) as error:
            raise QueryError(f"{self.base}: {error}") from error


def panels(dashboard: Json) -> Iterator[Json]:
    """All panels of a dashboard's JSON but rows."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def targets(panel: Json) -> list[Target]:
    """The queries of a panel's JSON."""
    return [
        Target(each["refId"], each["expr"], each.get("legendFormat", ""), bool(each.get("instant")))
        for each in panel.get("targets", ())
    ]


def variables(dashboard: Json, window: str) -> dict[str, str]:
    """Every variable at what it is when the dashboard opens; `window` is $__rate_interval."""
    found = {"__rate_interval": window}
    for each in dashboard["templating"]["list"]:
        current = each.get("current", {}).get("value", "")
        found[each["name"]] = each.get("allValue", "") if current == "$__all" else current
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its variables replaced. Raises KeyError for one that is not there."""
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], text)


def legend(target: Target, labels: Mapping[str, str]) -> str:
    """What Grafana calls a series."""
    if target.legend in ("", "__auto"):
        return ", ".join(value for name, value in labels.items() if name != "__name__")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), target.legend)
