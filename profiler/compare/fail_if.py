# SPDX-License-Identifier: GPL-2.0-or-later
"""`--fail-if`: limits that turn a comparison into a gate.

Grammar: PATH OPERATOR NUMBER, where OPERATOR is one of > >= < <= and PATH is
  PLACEMENT.METRIC            the median, for example iothread.access_p99_us
  ratios.METRIC               the ratio of medians (two placements only)
  ratios.CANDIDATE.METRIC     the same with any number of placements
each optionally followed by .low or .high for a bound of the 95 % interval, and optionally
preceded by a VMM's key and a dot. Where several VMMs are compared, an expression without a key is
checked for each of them that has the path, and one that holds for any of them fails.
An expression that cannot be evaluated because nothing was measured fails: a gate that cannot see
must not let anything through.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from profiler.compare.metrics import METRIC_KEYS
from profiler.compare.placement import Placement
from profiler.compare.result import Result

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
BOUNDS = ("low", "high")
_EXPRESSION = re.compile(r"\s*(?P<path>\S+?)\s*(?P<operator>>=|<=|>|<)\s*(?P<limit>[^\s<>=]+)\s*")


Target = tuple[str | None, str | None, str]
"""Placement, candidate, metric."""


class FailIfError(ValueError):
    """An expression is wrong; the message is one line."""


@dataclass(frozen=True)
class Check:
    """One parsed expression.  `candidate` is set for ratios, else `placement` is.

    `vmm` is the key of the VMM whose result is looked at.
    """

    text: str
    vmm: str
    placement: str | None
    candidate: str | None
    metric: str
    bound: str | None
    operator: str
    limit: float


@dataclass(frozen=True)
class Outcome:
    """A check and what it found: `value` is None when nothing was measured (then it failed)."""

    check: Check
    value: float | None
    failed: bool

    def line(self) -> str:
        """One line for people."""
        return self._line(self.check.text)

    def line_with_vmm(self) -> str:
        """The same, naming the VMM whose result was looked at."""
        return self._line(f"{self.check.text} ({self.check.vmm})")

    def _line(self, text: str) -> str:
        if self.value is None:
            return f"{text}: not measured, so this fails"
        outcome = "so this fails" if self.failed else "passed"
        return f"{text}: value {self.value:.6g}, {outcome}"


def _known_paths(placements: Sequence[Placement]) -> dict[str, Target]:
    """Every path that can be asked of one VMM."""
    paths: dict[str, Target] = {}
    for key in METRIC_KEYS:
        for placement in placements:
            paths[f"{placement.name}.{key}"] = (placement.name, None, key)
        for candidate in placements[1:]:
            paths[f"ratios.{candidate.name}.{key}"] = (None, candidate.name, key)
        if len(placements) == 2:
            paths[f"ratios.{key}"] = (None, placements[1].name, key)
    return paths


def _split(text: str) -> tuple[str, str, float]:
    """Path, operator and limit.  Raises `FailIfError`."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise FailIfError(f"'{text}' is not METRIC>NUMBER; the operators are {' '.join(OPERATORS)}")
    try:
        limit = float(match["limit"])
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise FailIfError(f"'{text}': '{match['limit']}' is not a finite number")
    return match["path"], match["operator"], limit


def parse_checks(text: str, vmms: Mapping[str, Sequence[Placement]]) -> list[Check]:
    """Parse one expression against the placements that will run, by the VMM's key.

    Gives one check for each VMM that the expression is about.  Raises `FailIfError`.
    """
    path, sign, limit = _split(text)
    head, _, tail = path.rpartition(".")
    path, bound = (head, tail) if tail in BOUNDS else (path, None)
    known = {vmm: _known_paths(placements) for vmm, placements in vmms.items()}
    prefix, _, rest = path.partition(".")
    if prefix in known and rest in known[prefix]:
        found = {prefix: known[prefix][rest]}
    else:
        found = {vmm: paths[path] for vmm, paths in known.items() if path in paths}
    if not found:
        every = {name for paths in known.values() for name in paths}
        every |= {f"{vmm}.{name}" for vmm, paths in known.items() for name in paths}
        close = difflib.get_close_matches(path, sorted(every), n=1, cutoff=0.0)
        raise FailIfError(f"'{text}': there is no metric '{path}'; did you mean '{close[0]}'?")
    return [Check(text.strip(), vmm, *target, bound, sign, limit) for vmm, target in found.items()]


def evaluate(check: Check, result: Result) -> Outcome:
    """Look the value up; the check fails when the comparison holds, or without a value."""
    value: float | None
    if check.candidate is not None:
        ratio = result.ratios[check.candidate][check.metric]
        value = {None: ratio.value, "low": ratio.low, "high": ratio.high}[check.bound]
    else:
        estimate = result.estimates[check.placement or ""][check.metric]
        value = {None: estimate.median, "low": estimate.low, "high": estimate.high}[check.bound]
    failed = value is None or OPERATORS[check.operator](value, check.limit)
    return Outcome(check, value, failed)
