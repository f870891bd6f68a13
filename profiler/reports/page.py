# SPDX-License-Identifier: GPL-2.0-or-later
"""A page as HTML: one file with its style and script in it, and a policy that forbids the rest."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files

from profiler.reports.markup import Markup, join, tag
from profiler.reports.model import (
    Block,
    Cell,
    Column,
    Distributions,
    Facts,
    Figure,
    Figures,
    Heatmap,
    Intervals,
    Notes,
    Page,
    Paragraph,
    Plot,
    Section,
    Table,
    Timeline,
)
from profiler.reports.plots.canvas import HALF, NARROW, WIDE, Canvas
from profiler.reports.plots.cdf import draw_cdf
from profiler.reports.plots.dots import draw_dots
from profiler.reports.plots.heat import draw_heatmap
from profiler.reports.plots.lanes import draw_lanes

SHORT = 14
"""Texts of cells up to this length are not broken."""


def render(page: Page) -> str:
    """The whole file."""
    style, script = (
        files("profiler.reports").joinpath(name).read_text(encoding="utf-8")
        for name in ("style.css", "script.js")
    )
    body = _Body()
    content = join(
        tag("a", "Skip to the report", href="#report", class_="skip"),
        _header(page),
        _contents(page.sections),
        tag("main", [body.section(section) for section in page.sections], id="report"),
        tag("footer", tag("p", page.made)),
    )
    # Style and script are this package's own, and hold nothing that ends their element.
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _policy(style, script),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", page.title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    )
    parts = (tag("head", head), tag("body", content, tag("script", Markup(script))))
    return "<!doctype html>\n" + tag("html", parts, lang="en") + "\n"


def _policy(style: str, script: str) -> Markup:
    """Nothing may be fetched, and no other style or script may run."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    policy = (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; "
        f"script-src 'sha256-{digest(script)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return tag("meta", http_equiv="Content-Security-Policy", content=policy)


def _header(page: Page) -> Markup:
    tiles = [
        tag("div", tag("dt", tile.label), tag("dd", tile.value), class_="tile")
        for tile in page.tiles
    ]
    return tag(
        "header",
        tag("p", page.subject, class_="subject"),
        tag("h1", page.title),
        [tag("p", sentence, class_="verdict") for sentence in page.verdict],
        tag("dl", tiles, class_="tiles") if tiles else None,
        tag("ul", [tag("li", hint) for hint in page.hints], class_="hints") if page.hints else None,
    )


def _contents(sections: Sequence[Section]) -> Markup:
    items = [tag("li", tag("a", s.title, href=f"#{s.anchor}")) for s in sections]
    return tag("nav", tag("ol", items), aria_label="Contents")


class _Body:
    """Sections and what is in them; counts figures so that ids in drawings are unique."""

    def __init__(self) -> None:
        self._figures = 0

    def section(self, section: Section) -> Markup:
        """A section with its blocks."""
        blocks = [self._block(block) for block in section.blocks]
        heading = tag("h2", section.title, id=f"{section.anchor}-title")
        return tag(
            "section",
            heading,
            blocks,
            id=section.anchor,
            aria_labelledby=f"{section.anchor}-title",
        )

    def _block(self, block: Block) -> Markup:
        if isinstance(block, Figure):
            return self._figure(block, WIDE)
        if isinstance(block, Figures):
            return tag("div", [self._figure(part, HALF) for part in block.parts], class_="pair")
        if isinstance(block, Table):
            return _table(block)
        if isinstance(block, Paragraph):
            return tag("p", block.text)
        if isinstance(block, Facts):
            rows = [(tag("dt", label), tag("dd", text)) for label, text in block.rows]
            return tag("dl", rows, class_="facts")
        assert isinstance(block, Notes)
        return tag("ul", [tag("li", item) for item in block.items], class_="notes")

    def _figure(self, figure: Figure, width: float) -> Markup:
        """The plot for wide and for narrow windows, with title and caption."""
        self._figures += 1
        draw = _drawing(figure.plot)
        wide = draw(Canvas(width, f"f{self._figures}w"), figure.alternative)
        narrow = draw(Canvas(NARROW, f"f{self._figures}n", narrow=True), figure.alternative)
        caption = tag("figcaption", tag("h3", figure.title), tag("p", figure.caption))
        # A plot that is wider than a phone is scrolled, by keyboard too.
        plot = tag(
            "div",
            wide,
            narrow,
            class_="plot",
            tabindex="0" if "scrolled" in narrow[:400] else None,
            role="group",
            aria_label=figure.title,
        )
        return tag("figure", caption, plot)


def _drawing(plot: Plot) -> Callable[[Canvas, str], Markup]:
    if isinstance(plot, Distributions):
        return lambda canvas, text: draw_cdf(plot, canvas, text)
    if isinstance(plot, Heatmap):
        return lambda canvas, text: draw_heatmap(plot, canvas, text)
    if isinstance(plot, Timeline):
        return lambda canvas, text: draw_lanes(plot, canvas, text)
    assert isinstance(plot, Intervals)
    return lambda canvas, text: draw_dots(plot, canvas, text)


def _table(table: Table) -> Markup:
    head = [tag("th", column.title, scope="col", class_=_align(column)) for column in table.columns]
    rows = [
        tag(
            "tr",
            [
                _cell(cell, column, first=column is table.columns[0])
                for cell, column in zip(row, table.columns, strict=True)
            ],
        )
        for row in table.rows
    ]
    content = tag(
        "table",
        tag("caption", table.caption),
        tag("thead", tag("tr", head)),
        tag("tbody", rows),
    )
    note = tag("p", table.note, class_="note") if table.note else None
    scroller = tag(
        "div", content, class_="table", tabindex="0", role="region", aria_label=table.caption
    )
    return join(scroller, note)


def _align(column: Column) -> str | None:
    if not column.numeric:
        return None
    return "num wraps" if column.wraps else "num"


def _cell(cell: Cell, column: Column, first: bool) -> Markup:
    mark = None
    if cell.mark in ("better", "worse"):
        mark = tag("span", "+" if cell.mark == "better" else "\N{MINUS SIGN}", class_=cell.mark)
    elif cell.mark:
        shape = tag("rect", width=10, height=10, rx=2, class_=f"swatch k-{cell.mark}")
        mark = tag(
            "svg", shape, viewBox="0 0 10 10", width=10, height=10, aria_hidden="true", class_="key"
        )
    bar = None
    if cell.bar:
        fill = tag("rect", width=100 * min(1.0, cell.bar), height=4)
        bar = tag(
            "svg",
            fill,
            viewBox="0 0 100 4",
            preserveAspectRatio="none",
            aria_hidden="true",
            class_="bar",
        )
    value, bracket, interval = cell.text.partition(" [")
    words: list[Markup | str] = [cell.text]
    if column.wraps and bracket:  # an interval goes to a line of its own, whole
        words = [value, " ", tag("span", f"[{interval}", class_="short")]
    content = join(mark, words, bar)
    short = "short" if len(cell.text) <= SHORT else None
    if first:
        return tag("th", content, scope="row", class_=short)
    return tag("td", content, class_=_align(column) or short)
