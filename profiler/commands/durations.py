# SPDX-License-Identifier: GPL-2.0-or-later
"""Durations on the command line: `10ms`, `500us`, `1.5s`, `2m`; a bare number is seconds."""

import math
import re

import click

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_SYNTAX = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ]*)", re.ASCII)


class Duration(click.ParamType[float]):
    """A length of time from `least` to `most`, in seconds as a float."""

    name = "duration"

    def __init__(self, least: float = 1e-6, most: float = 30 * 86400.0) -> None:
        self._least, self._most = least, most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds; a wrong one is a usage error."""
        if isinstance(value, float):
            return value
        match = _SYNTAX.fullmatch(str(value).strip().lower().replace("μ", "µ"))
        factor = _UNITS.get(match[2]) if match else None
        if match is None or factor is None:
            self.fail(f"'{value}' is no duration such as 10ms, 1.5s or 2m", param, ctx)
        seconds = float(match[1]) * factor
        if not (math.isfinite(seconds) and self._least <= seconds <= self._most):
            limits = f"{self._least:g} s to {self._most:g} s"
            self.fail(f"'{value}' is out of range: {limits}", param, ctx)
        return seconds
