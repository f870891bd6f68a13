# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as people read them: few significant digits, never an exponent.

What is rounded away here is in the JSON document.
"""

import math

INFINITE = "\N{INFINITY}"
_RANGE = "\N{EN DASH}"
_MOST_DECIMALS = 3
_SMALLEST = 10**-_MOST_DECIMALS


def number(value: float) -> str:
    """A value that is not negative, with at most three digits and three decimals.

    0.002, 0.12, 1.23, 12.3, 123, 12300; what is smaller than the last decimal is <0.001.
    """
    if value == 0:
        return "0"
    if value < _SMALLEST / 2:
        return f"<{_SMALLEST}"
    rounded = float(f"{value:.3g}")  # first, so that 9.996 counts as two digits before the point
    decimals = max(0, 2 - max(0, math.floor(math.log10(rounded))))
    if rounded < 0.1:
        decimals = _MOST_DECIMALS
    return f"{rounded:.{decimals}f}"


def factor(value: float) -> str:
    """A ratio, without trailing zeroes: 1.5, 32.3, 129; from a thousand on 6,200 or 450,000.

    An infinite one is a symbol.
    """
    if math.isinf(value):
        return INFINITE
    if value >= 999.5:
        return f"{float(f'{value:.2g}'):,.0f}"
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval(low: str, high: str) -> str:
    """The two bounds of an interval, in brackets."""
    return f"[{low}{_RANGE}{high}]"


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 trial, 5 trials."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
