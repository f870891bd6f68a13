# SPDX-License-Identifier: GPL-2.0-or-later
"""The two text formats, quickly: Prometheus text 0.0.4 and OpenMetrics 1.0.0.

What a series looks like does not change from scrape to scrape, so it is kept: the line up to the
value, and for a histogram all its lines with places for the counts. A scrape fills the places in.
What is no longer exported is forgotten by the next scrape.

Families that are not ours (`Values`, `Histograms`) go through prometheus-client's own encoder; the
tests compare ours with it, line by line. Neither format gets `_created` series.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import Metric, exposition
from prometheus_client.openmetrics import exposition as openmetrics

from exporters.families import (
    BOUND_TEXTS,
    Family,
    Histograms,
    Labels,
    Slowest,
    Values,
    float_text,
    mark,
)

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})

_Key = tuple[str, Labels]


class _One:
    """A registry of one family."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]


class TextEncoder:
    """Writes families in one of the formats. Not for several threads at once."""

    def __init__(self, with_exemplars: bool) -> None:
        """`with_exemplars`: OpenMetrics; else text 0.0.4."""
        self._openmetrics = with_exemplars
        self._known: dict[_Key, str] = {}
        self._used: dict[_Key, str] = {}

    def encode(self, families: Iterable[Metric]) -> bytes:
        """All families as one document."""
        self._used = {}
        parts: list[str] = []
        for family in families:
            if isinstance(family, Values):
                self._values(family, parts)
            elif isinstance(family, Histograms):
                self._histograms(family, parts)
            else:
                parts.append(self._foreign(family))
        if self._openmetrics:
            parts.append("# EOF\n")
        self._known = self._used
        return "".join(parts).encode()

    def _foreign(self, family: Metric) -> str:
        if not self._openmetrics:
            return exposition.generate_latest(_One(family)).decode()
        whole: bytes = openmetrics.generate_latest(_One(family))  # type: ignore[no-untyped-call]
        return whole.decode().removesuffix("# EOF\n")

    def _heading(self, family: Family) -> str:
        text = family.documentation.translate(_ESCAPES if self._openmetrics else _HELP_ESCAPES)
        if self._openmetrics:
            unit = f"# UNIT {family.name} {family.unit}\n" if family.unit else ""
            return f"# HELP {family.name} {text}\n# TYPE {family.name} {family.type}\n{unit}"
        kind = "gauge" if family.type == "info" else family.type
        return f"# HELP {family.entry.name} {text}\n# TYPE {family.entry.name} {kind}\n"

    def _values(self, family: Values, parts: list[str]) -> None:
        parts.append(self._heading(family))
        name, label_names = family.entry.name, family.label_names
        for labels, value in zip(family.labels, family.values, strict=True):
            key = (name, labels)
            begin = self._known.get(key) or _begin(name, label_names, labels)
            self._used[key] = begin
            parts.append(f"{begin}{_number(value)}\n")

    def _histograms(self, family: Histograms, parts: list[str]) -> None:
        parts.append(self._heading(family))
        name, label_names = family.entry.name, family.label_names
        place = "%s" if self._openmetrics else "%d"
        for block in family.blocks:
            counts = block.scale.classic(block.histograms).tolist()
            for index, (labels, line, total) in enumerate(
                zip(block.labels, counts, block.sums, strict=True)
            ):
                key = (name, labels)
                template = self._known.get(key) or _template(name, label_names, labels, place)
                self._used[key] = template
                line.append(line[-1])
                if self._openmetrics and (slowest := block.slowest[index]) is not None:
                    _add_exemplar(line, slowest)
                line.append(float_text(total))
                parts.append(template % tuple(line))


def _add_exemplar(line: list[Any], slowest: Slowest) -> None:
    at = mark(slowest)
    when = f" {slowest.at:.3f}" if slowest.at else ""
    line[at] = f'{line[at]} # {{tid="{slowest.tid}"}} {float_text(slowest.seconds)}{when}'


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else float_text(value)


def _label_text(label_names: Sequence[str], labels: Labels) -> str:
    pairs = zip(label_names, labels, strict=True)
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs)


def _begin(name: str, label_names: Sequence[str], labels: Labels) -> str:
    return f"{name}{{{_label_text(label_names, labels)}}} " if labels else f"{name} "


def _template(name: str, label_names: Sequence[str], labels: Labels, place: str) -> str:
    text = _label_text(label_names, labels).replace("%", "%%")
    buckets = "".join(f'{name}_bucket{{{text},le="{bound}"}} {place}\n' for bound in BOUND_TEXTS)
    return f"{buckets}{name}_count{{{text}}} {place}\n{name}_sum{{{text}}} %s\n"
