# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as people read them: three significant digits, never an exponent."""

import math

INFINITE = "\N{INFINITY}"
_RANGE = "\N{EN DASH}"
_MOST_DECIMALS = 6


def number(value: float) -> str:
    """A value that is not negative, with three significant digits: 0.00123, 12.3, 1234."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")  # first, so that 9.996 counts as two digits before the point
    decimals = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{value:.{min(decimals, _MOST_DECIMALS)}f}"


def factor(value: float) -> str:
    """A ratio, without trailing zeroes: 1.5, 32.3, 129; an infinite one is a symbol."""
    if math.isinf(value):
        return INFINITE
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval(low: str, high: str) -> str:
    """The two bounds of an interval, in brackets."""
    return f"[{low}{_RANGE}{high}]"
