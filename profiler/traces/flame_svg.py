# SPDX-License-Identifier: GPL-2.0-or-later
"""A flame graph as one SVG or HTML file that needs nothing else: no script, no font, no network.

Roots are at the top, so that a column reads as a sentence: who waited, where, blocked by whom.
Widths are percentages and every frame is an <svg> of its own, which cuts its text off: the picture
fits a phone and a wide screen, and a renderer need not know how wide letters are.

Every name comes from somebody else's program: it is cleaned of what XML forbids and escaped here,
in one place.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from profiler.traces.fold import Folded
from profiler.traces.stacks import BLOCKED_BY, HANDOFF, UNKNOWN

ROW = 20
"""Height of a frame in pixels."""

LEAST_SHARE = 0.0005
"""Frames narrower than this part of the whole are not drawn: they cannot be seen."""

DEEPEST = 400
"""Frames of a stack that are drawn."""

_LEAST_NAMED = 0.008
_HEAD = 66
_FOOT = 12
_SIDE = 10
_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))

_FONT = 'ui-sans-serif, system-ui, "DejaVu Sans", sans-serif'
_PALETTE = {
    # rule: light, dark
    ".paper { fill: %s }": ("#ffffff", "#14181d"),
    ".title { fill: %s }": ("#1b1f24", "#e6eaef"),
    ".note { fill: %s }": ("#59636e", "#9aa4af"),
    ".f text { fill: %s }": ("#14181d", "#f2f5f8"),
    ".f rect { stroke: %s }": ("#ffffff", "#14181d"),
    ".f:hover rect { stroke: %s }": ("#1b1f24", "#e6eaef"),
    ".w0 { fill: %s }": ("#9cc3ee", "#2f5f94"),
    ".w1 { fill: %s }": ("#b4d2f3", "#29527f"),
    ".by { fill: %s }": ("#c9cfd6", "#48515b"),
    ".h0 { fill: %s }": ("#f5b083", "#9a4f1f"),
    ".h1 { fill: %s }": ("#f8c5a3", "#83451d"),
    ".no { fill: %s }": ("#dfe3e8", "#363d45"),
}
"""Colours of the waiter's side, the holder's, and what is between. No CSS variables: viewers other
than browsers do not know them."""


_PAGE_STYLE = f"""
body {{ margin: 0; background: #ffffff; color: #1b1f24; font-family: {_FONT} }}
h1 {{ font-size: 1.1rem; margin: 0.8rem 0.6rem 0.2rem }}
p {{ font-size: 0.85rem; margin: 0 0.6rem 0.8rem; opacity: 0.75 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #14181d; color: #e6eaef }} }}
"""


def _style() -> str:
    light = " ".join(rule % colours[0] for rule, colours in _PALETTE.items())
    dark = " ".join(rule % colours[1] for rule, colours in _PALETTE.items())
    return (
        f".flame {{ font-family: {_FONT} }} .title {{ font-size: 16px; font-weight: 600 }}"
        " .note, .f text { font-size: 12px } .f rect { stroke-width: 1px }\n"
        f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}"
    )


@dataclass
class _Node:
    ns: float = 0.0
    children: dict[str, "_Node"] = field(default_factory=dict)


@dataclass(frozen=True)
class Flame:
    """What a flame graph shows; `title` is a sentence, `note` what the reader has to know."""

    folded: Folded
    title: str
    note: str

    @property
    def total_ns(self) -> float:
        """All waiting, in nanoseconds."""
        return math.fsum(self.folded.values())


def svg(flame: Flame) -> str:
    """The picture as an SVG document."""
    top = (
        f'<text class="title" x="{_SIDE}" y="24">{safe(flame.title)}</text>\n'
        f'<text class="note" x="{_SIDE}" y="46">{safe(flame.note)}</text>\n'
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_svg(flame, top, _HEAD)}\n'


def html(flame: Flame) -> str:
    """The picture as an HTML page, whose heading wraps on a narrow screen."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{safe(flame.title)}</title>\n<style>{_PAGE_STYLE}</style></head><body>\n"
        f"<h1>{safe(flame.title)}</h1>\n<p>{safe(flame.note)}</p>\n"
        f"{_svg(flame, '', 0)}\n</body></html>\n"
    )


def safe(text: str) -> str:
    """Text that may stand anywhere in XML or HTML, quotes included."""
    legal = "".join(c if _is_legal(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in text)
    return escape(legal, {'"': "&quot;", "'": "&#39;"})


def _is_legal(code: int) -> bool:
    """What XML 1.0 allows, without the control characters that it merely discourages."""
    if code < 0x20 or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF:
        return False
    return code not in (0xFFFE, 0xFFFF)


def time_words(ns: float) -> str:
    """A duration with three digits: 812 µs, 1.25 s; 0 µs for what is less than half of one."""
    for factor, unit in _UNITS:
        rounded = float(f"{ns / factor:.3g}")
        if rounded >= 1:
            return f"{rounded:g} {unit}"
    return f"{ns / 1e3:.2f} µs" if ns >= 5 else "0 µs"


def _tree(folded: Folded) -> _Node:
    root = _Node()
    for stack, ns in folded.items():
        root.ns += ns
        node = root
        for name in stack[:DEEPEST]:
            node = node.children.setdefault(name, _Node())
            node.ns += ns
    return root


@dataclass(frozen=True)
class _Box:
    name: str
    depth: int
    start: float
    ns: float
    side: str


def _boxes(node: _Node, total: float, depth: int, start: float, side: str) -> Iterator[_Box]:
    """Boxes from left to right, the widest first, each with the colour of its side of the wait."""
    for name, child in sorted(node.children.items(), key=lambda item: (-item[1].ns, item[0])):
        if child.ns >= LEAST_SHARE * total:
            inner = "h" if name == BLOCKED_BY else side
            yield _Box(name, depth, start, child.ns, _colour(name, side, depth))
            yield from _boxes(child, total, depth + 1, start, inner)
        start += child.ns


def _colour(name: str, side: str, depth: int) -> str:
    if name == BLOCKED_BY:
        return "by"
    if name in (HANDOFF, UNKNOWN):
        return "no"
    return f"{side}{depth % 2}"


def _svg(flame: Flame, top: str, head: int) -> str:
    """The element, with `top` in its first `head` pixels."""
    root = _tree(flame.folded)
    boxes = list(_boxes(root, root.ns, 0, 0.0, "w"))
    depth = max((box.depth + 1 for box in boxes), default=1)
    height = head + depth * ROW + _FOOT
    start = (
        f'<svg class="flame" xmlns="http://www.w3.org/2000/svg" width="100%" height="{height}"'
        f' role="img" aria-label="{safe(flame.title)}">\n<style>{_style()}</style>\n'
        f'<rect class="paper" width="100%" height="{height}"/>\n{top}'
    )
    if not boxes:
        return (
            f'{start}<text class="note" x="{_SIDE}" y="{head + 14}">Nobody waited.</text>\n</svg>'
        )
    return start + "".join(_box(box, root.ns, head) for box in boxes) + "</svg>"


def _box(box: _Box, total: float, head: int) -> str:
    share = box.ns / total
    left, width = 100 * box.start / total, 100 * share
    label = safe(box.name)
    text = f'<text x="4" y="14">{label}</text>' if share > _LEAST_NAMED else ""
    return (
        f'<svg class="f" x="{left:.4f}%" y="{head + box.depth * ROW}" width="{width:.4f}%"'
        f' height="{ROW}"><rect class="{box.side}" width="100%" height="{ROW}"/>{text}'
        f"<title>{label} {time_words(box.ns)}, {share:.1%} of all waiting</title></svg>\n"
    )
