# SPDX-License-Identifier: GPL-2.0-or-later
"""Contrast of every colour that carries something, light and dark, by WCAG 2's formula."""

import re
from importlib.resources import files

import pytest

TEXT, SHAPE = 4.5, 3.0
KINDS = ("main", "vcpu", "iothread", "rcu", "worker", "vnc", "migration", "other", "wait")
PAIRS = [
    *((name, ground, TEXT) for name in ("text", "muted", "link") for ground in ("page", "card")),
    *((name, "card", TEXT) for name in ("better", "worse")),
    *((kind, ground, SHAPE) for kind in KINDS for ground in ("card", "lane")),
    *((f"on{level}", f"h{level}", TEXT) for level in range(1, 6)),
    ("wait", "wait-ground", SHAPE),
    ("text", "lane", TEXT),
]


def colours(scheme: str) -> dict[str, str]:
    style = files("profiler.reports").joinpath("style.css").read_text(encoding="utf-8")
    light, _, rest = style.partition("@media screen and (prefers-color-scheme: dark)")
    source = light if scheme == "light" else rest.partition("* {")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", source))


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_stands_out_from_what_is_behind_it(scheme: str) -> None:
    found = colours(scheme)
    weak = [
        f"{front} on {ground}: {contrast(found[front], found[ground]):.2f}"
        for front, ground, least in PAIRS
        if contrast(found[front], found[ground]) < least
    ]
    assert weak == []


def test_both_schemes_define_the_same_colours() -> None:
    assert colours("light").keys() - {"shadow", "edge"} == colours("dark").keys() - {
        "shadow",
        "edge",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_stronger_cells_of_the_heatmap_differ_more_from_the_empty_one(scheme: str) -> None:
    found = colours(scheme)
    steps = [contrast(found[f"h{level}"], found["h0"]) for level in range(6)]
    assert steps == sorted(steps)
    assert len(set(steps)) == 6
