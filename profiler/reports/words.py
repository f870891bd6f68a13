# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers and judgements as people say them."""

from collections.abc import Sequence

from profiler.commands.summary import SLEEP_WORDS
from profiler.compare.text import counted, number
from profiler.layout import Role

__all__ = [
    "SLEEP_WORDS",
    "counted",
    "duration",
    "listed",
    "percent",
    "rate",
    "role_name",
    "rough",
]

ROLE_NAMES = {
    Role.MAIN: "main loop",
    Role.VCPU: "vCPU",
    Role.VNC: "VNC",
    Role.RCU: "RCU",
    Role.OTHER: "other thread",
}
"""Roles whose name for people differs from the label."""

_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_SMALLEST_PERCENT = 0.0005


def duration(ns: float) -> str:
    """Nanoseconds with three digits and a unit: `8.00 ms`, `21.5 ms`; nothing is `0`."""
    for factor, unit in _UNITS:
        if ns >= 0.9995 * factor:
            return f"{number(ns / factor)} {unit}"
    return "0"


def percent(share: float) -> str:
    """A share as percent with three digits: `12.9 %`, `0.006 %`."""
    value = 100 * share
    if value >= 99.95:
        return "100 %" if value >= 99.9995 else f"{value:.4g} %"
    if 0 < value < _SMALLEST_PERCENT:
        return "<0.001 %"
    return f"{number(value)} %"


def rough(share: float) -> str:
    """A share with two digits, as in a sentence: `64 %`, `3.1 %`, `under 0.01 %`."""
    if 0 < share < 0.0001:
        return "under 0.01 %"
    value = float(f"{100 * share:.2g}")
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def role_name(role: Role) -> str:
    """A role as the report calls it."""
    return ROLE_NAMES.get(role, role.label)


def rate(per_second: float) -> str:
    """Events per second with three digits: `12.4 k`, `310`, `0.5`."""
    for factor, unit in ((1e6, " M"), (1e3, " k")):
        if per_second >= 0.9995 * factor:
            return f"{number(per_second / factor)}{unit}"
    return number(per_second)


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence: `a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
