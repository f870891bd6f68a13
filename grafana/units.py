# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as Grafana writes them."""

import math

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SECONDS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def text(value: float, unit: str) -> str:
    """A value with its unit, one of those that panels.py has: three digits."""
    if math.isnan(value):
        return "-"
    if unit == "s":
        return _seconds(value)
    if unit == "percentunit":
        return "< 0.01 %" if 0 < value < 1e-4 else f"{value * 100:.3g} %"
    if unit in ("bytes", "binBps"):
        power = min(3, int(math.log(max(abs(value), 1), 1024)))
        name = ("B", "KiB", "MiB", "GiB")[power]
        return f"{value / 1024**power:.3g} {name}" + ("/s" if unit == "binBps" else "")
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}".rstrip() + ("/s" if unit == "ops" else "")
    return ("< 0.001" if 0 < value < 1e-3 else f"{value:.2g}") + ("/s" if unit == "ops" else "")


def _seconds(value: float) -> str:
    for factor, name in _SECONDS:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {name}"
    return f"{value * 1e9:.0f} ns" if value else "0 s"
