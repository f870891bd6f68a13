# SPDX-License-Identifier: GPL-2.0-or-later
"""A picture as lines of text, none wider than asked for.

Rows are laid out here and not by a table widget: columns must not move from one second to the
next, and the number of lines must fit the screen exactly.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from profiler.blame import HANDOFF
from profiler.commands.summary import SLEEP_WORDS, duration
from profiler.model import Blocked
from profiler.top.model import Holder, Line, Pair, Picture, Sort, ordered, ordered_pairs
from profiler.top.view import HELP, Tab, View

WIDE, NARROW, NARROWEST = 110, 76, 56
"""Columns from which quantiles, longest times, and contention are shown too."""

LONGEST_NAME = 60
"""Columns for a name at most: figures far away from it are hard to follow."""

BLAME_ROWS = 3
"""Pairs under the table of sites or threads."""

_FOOTER = (
    ("1", "sites"),
    ("2", "threads"),
    ("3", "blame"),
    ("w h c x", "sort"),
    ("Space", "freeze"),
    ("?", "help"),
    ("q", "quit"),
)
_HEADING = "reverse"
_NAMELESS = {True: "(waking up)", False: "(not known any more)"}
_FUNCTION = re.compile(r"\S+ (?=\S+:\d)")
"""The function in front of a place in the source."""


@dataclass(frozen=True)
class Glyphs:
    """Characters for bars, sparklines and arrows; those of ASCII are for terminals without more."""

    full: str
    empty: str
    steps: str
    sorted: str
    blocked_by: str


UNICODE = Glyphs("█", "░", "▁▂▃▄▅▆▇█", "▼", "←")
ASCII = Glyphs("#", ".", "_.-=+*%#", "*", "<-")
_TO_ASCII = str.maketrans("…µ", "~u")


@dataclass(frozen=True)
class State:
    """All that is drawn: the picture, ratios of the intervals so far, and the holder by now."""

    picture: Picture
    history: Sequence[tuple[float, float]]
    view: View
    interval: float
    holder: Holder | None
    waiters: int
    ended: bool = False


def screen(state: State, width: int, height: int, glyphs: Glyphs = UNICODE) -> list[Text]:
    """Exactly `height` lines of at most `width` columns."""
    head = _head(state, width, glyphs)
    if state.view.help:
        body = [*_help(), Text()]
    else:
        rest = max(0, height - len(head) - 1)
        body = _body(state, width, rest, glyphs)
    lines = [*head, *body][: max(0, height - 1)]
    lines += [Text() for _ in range(height - 1 - len(lines))]
    return [_plain(_fit(line, width), glyphs) for line in [*lines, _footer(state)][:height]]


def plain(picture: Picture, width: int, sort: Sort, glyphs: Glyphs = UNICODE) -> list[Text]:
    """Everything about one interval, as long as it takes; for files and other programs."""
    view = View(sort=sort)
    history = ((picture.held_ratio, picture.wait_ratio),)
    state = State(
        picture, history, view, round(picture.interval_ns / 1e9, 2), picture.holder, picture.waiters
    )
    tables = [
        _sites(state, width, glyphs),
        _threads(state, width, glyphs),
        _blame(state, width, glyphs),
    ]
    lines = _head(state, width, glyphs)
    for table in (_roles(state, width, glyphs), *tables):
        lines += [Text(), table.heading, *table.rows]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.rstrip()
    return [_plain(line, glyphs) for line in lines]


def table_rows(picture: Picture, tab: Tab) -> int:
    """Rows of the table behind a tab."""
    return len(
        {Tab.SITES: picture.sites, Tab.THREADS: picture.threads, Tab.BLAME: picture.pairs}[tab]
    )


def percent(ratio: float) -> str:
    """A part of the interval, without the sign: 0, <0.1, 4.3, 62."""
    value = ratio * 100
    if value <= 0:
        return "0"
    if value < 0.05:
        return "<0.1"
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def rate(per_second: float) -> str:
    """A count in a second: 0, 0.5, 12, 99999, 120k, 3.4M."""
    if per_second <= 0:
        return "0"
    if per_second < 9.95:
        return f"{per_second:.1f}".removesuffix(".0")
    if per_second < 99_999.5:
        return f"{per_second:.0f}"
    return f"{per_second / 1e3:.0f}k" if per_second < 999_500 else f"{per_second / 1e6:.1f}M"


def spark(ratios: Iterable[float], steps: str) -> str:
    """One character for each ratio from 0 to 1; nothing at all is a blank."""
    last = len(steps) - 1
    return "".join(
        steps[min(last, int(ratio * len(steps)))] if ratio > 0 else " " for ratio in ratios
    )


def bar(ratio: float, width: int, glyphs: Glyphs) -> str:
    """A bar of `width` characters; whatever is not nothing has at least one."""
    full = min(width, max(round(ratio * width), ratio > 0))
    return glyphs.full * full + glyphs.empty * (width - full)


# The top.


def _head(state: State, width: int, glyphs: Glyphs) -> list[Text]:
    picture = state.picture
    held = _gauge("held", picture.held_ratio, [h for h, _ in state.history], width, glyphs)
    what = "wait" if picture.vcpus else "all "
    wait = _gauge(what, picture.wait_ratio, [w for _, w in state.history], width, glyphs)
    return [_title(state, width), held, wait, _now(state)]


def _title(state: State, width: int) -> Text:
    picture, process = state.picture, state.picture.process
    name = process.vm_name or process.name
    cpus = f"{picture.vcpus} vCPU{'s' * (picture.vcpus != 1)}"
    text = Text("bqlscope top  ", style="bold")
    text.append(f"{name}", style="bold cyan")
    text.append(f"  pid {process.pid}, {cpus}, recorded {duration(picture.recorded_ns)}")
    text.append(f", every {state.interval:g} s", style="dim")
    flags = []
    if not picture.enabled:
        flags.append(Text(" recording is off ", style="bold yellow reverse"))
    if picture.lost:
        flags.append(Text(f" {picture.lost} not recorded ", style="bold yellow reverse"))
    if state.view.frozen:
        flags.append(Text(" FROZEN ", style="bold cyan reverse"))
    if state.ended:
        flags.append(Text(" ENDED ", style="bold red reverse"))
    flag = Text(" ").join(flags)
    if not flags:
        return text
    text.truncate(max(0, width - flag.cell_len - 1), overflow="ellipsis", pad=True)
    return Text.assemble(text, " ", flag)


def _gauge(name: str, ratio: float, history: Sequence[float], width: int, glyphs: Glyphs) -> Text:
    style = "green" if ratio < 0.5 else "yellow" if ratio < 0.8 else "bold red"
    room = max(0, width - 18)
    length = min(60, room // 2)
    trail = spark(history[-(room - length) :], glyphs.steps) if room > length else ""
    text = Text(f"{name} ")
    text.append(f"{percent(ratio):>4} % ", style=style)
    text.append(bar(ratio, length, glyphs), style=style)
    text.append(f"  {trail:>{room - length}}", style=style)
    return text


def _now(state: State) -> Text:
    if state.ended:
        return Text("The process has ended; this is the last picture. q quits.", style="bold red")
    text = Text("now  ")
    holder = state.holder
    if holder is None:
        text.append("free", style="green")
    else:
        style = "bold red" if holder.held_ns >= 100e6 else "bold"
        text.append(f"held {duration(holder.held_ns)}", style=style)
        text.append(f" by {_who(holder.role.label, holder.thread)} in {holder.site}")
        if holder.sleeps_for is not Blocked.NONE:
            what = SLEEP_WORDS[holder.sleeps_for]
            text.append(f", sleeps for {what} ({duration(holder.sleeping_ns)})", style="yellow")
    waiting = f"{state.waiters} waiting" if state.waiters else "nobody waits"
    return text.append(f"; {waiting}", style="yellow" if state.waiters else "dim")


def _who(role: str, thread: str) -> str:
    return thread if role == "vcpu" else f"{role} ({thread})"


def _footer(state: State) -> Text:
    text = Text()
    for key, what in _FOOTER:
        text.append(f" {key} ", style="reverse")
        text.append(f"{what} ")
    text.rstrip()
    return text


def _help() -> list[Text]:
    lines = [Text(), Text("Keys and columns", style="bold")]
    for key, what in HELP:
        lines.append(Text.assemble((f"  {key:<20}", "cyan"), what))
    return lines


# The tables.


@dataclass(frozen=True)
class _Table:
    heading: Text
    rows: list[Text]


@dataclass(frozen=True)
class _Column:
    name: str
    width: int
    value: Callable[[Line], str]
    sort: Sort | None = None
    least: int = 0


def _columns(seconds: float, width: int) -> list[_Column]:
    def share(ns: float) -> str:
        return percent(ns / (seconds * 1e9)) if seconds else "0"

    def often(count: int) -> str:
        return rate(count / seconds) if seconds else "0"

    columns = [
        _Column("taken/s", 8, lambda line: often(line.acquisitions), Sort.COUNT),
        _Column("cont/s", 7, lambda line: often(line.contended), Sort.CONTENTION, NARROWEST),
        _Column("wait%", 6, lambda line: share(line.wait_ns), Sort.WAIT),
        _Column("p99", 8, lambda line: duration(line.wait_p99_ns), least=WIDE),
        _Column("longest", 8, lambda line: duration(line.longest_wait_ns), least=NARROW),
        _Column("hold%", 6, lambda line: share(line.hold_ns), Sort.HOLD),
        _Column("p99", 8, lambda line: duration(line.hold_p99_ns), least=WIDE),
        _Column("longest", 8, lambda line: duration(line.longest_hold_ns), least=NARROW),
    ]
    return [column for column in columns if width >= column.least]


def _line_table(
    state: State,
    width: int,
    glyphs: Glyphs,
    title: str,
    lines: Sequence[Line],
    name: Callable[[Line, int], str],
    is_sorted: bool = True,
) -> _Table:
    columns = _columns(state.picture.interval_ns / 1e9, width)
    room = width - sum(column.width + 1 for column in columns)
    room = max(8, min(room, LONGEST_NAME))
    heading = _cell(title, room)
    for column in columns:
        mark = glyphs.sorted if is_sorted and column.sort is state.view.sort else ""
        heading += f" {column.name + mark:>{column.width}}"
    rows = []
    for line in lines:
        text = Text(_cell(name(line, room), room))
        for column in columns:
            text.append(f" {column.value(line):>{column.width}}")
        text.stylize("dim" if line.idle else "")
        rows.append(text)
    return _Table(_fit(Text(heading, style=_HEADING), width), rows)


def _roles(state: State, width: int, glyphs: Glyphs) -> _Table:
    lines = sorted(state.picture.roles, key=lambda line: line.role)

    def name(line: Line, _room: int) -> str:
        return f"{line.role.label} ({line.threads})"

    return _line_table(state, width, glyphs, "role (threads)", lines, name, is_sorted=False)


def _sites(state: State, width: int, glyphs: Glyphs) -> _Table:
    lines = ordered(state.picture.sites, state.view.sort)

    def name(line: Line, room: int) -> str:
        return f"{line.role.label:<8} {_place(line.name, room - 9)}"

    return _line_table(state, width, glyphs, "role     call site", lines, name)


def _threads(state: State, width: int, glyphs: Glyphs) -> _Table:
    lines = ordered(state.picture.threads, state.view.sort)

    def name(line: Line, _room: int) -> str:
        return f"{line.role.label:<8} {line.name} {line.tid}"

    return _line_table(state, width, glyphs, "role     thread, tid", lines, name)


def _blame(state: State, width: int, glyphs: Glyphs) -> _Table:
    by_count = state.view.sort in (Sort.COUNT, Sort.CONTENTION)
    seconds = state.picture.interval_ns / 1e9
    room = max(16, min(width - 35, 2 * LONGEST_NAME))
    left = room * 2 // 5
    right = room - left - 2
    mark = glyphs.sorted
    heading = (
        f"{_cell('who waited', left)}   {_cell('for whom', right - 1)}"
        f" {'waits/s' + mark * by_count:>8} {'longest':>8} {'wait%' + mark * (not by_count):>6}"
        f" {'of waits':>9}"
    )
    rows = []
    for pair in ordered_pairs(state.picture.pairs, state.view.sort):
        waiter, holder = _pair_names(pair, left, right - 1)
        known = pair.holder_role is not None
        text = Text(f"{_cell(waiter, left)} {glyphs.blocked_by:<2}")
        text.append(_cell(holder, right - 1), style="" if known else "dim")
        text.append(f" {rate(pair.count / seconds) if known and seconds else '':>8}")
        text.append(f" {duration(pair.longest_ns) if known else '':>8}")
        text.append(f" {percent(pair.wait_ns / 1e9 / seconds) if seconds else '':>6}")
        text.append(f" {percent(pair.share) + ' %':>9}")
        rows.append(text)
    if not rows:
        rows.append(Text("nobody waited", style="dim"))
    return _Table(_fit(Text(heading, style=_HEADING), width), rows)


def _pair_names(pair: Pair, left: int, right: int) -> tuple[str, str]:
    waiter = _place(pair.waiter_site, left - len(pair.waiter_role.label) - 1)
    waiter = f"{pair.waiter_role.label} {waiter}".strip()
    if pair.holder_role is None:
        return waiter, _NAMELESS[pair.holder_site == HANDOFF]
    holder = _place(pair.holder_site, right - len(pair.holder_role.label) - 1)
    return waiter, f"{pair.holder_role.label} {holder}"


def _place(site: str, room: int) -> str:
    """A site's label; without the function in front of the place if there is no room for both."""
    return site if cell_len(site) <= room else _FUNCTION.sub("", site, count=1)


def _body(state: State, width: int, height: int, glyphs: Glyphs) -> list[Text]:
    """Roles, the table of the tab, and the largest pairs under it, as far as there is room."""
    roles = _roles(state, width, glyphs)
    lines = [Text(), roles.heading, *roles.rows] if height > 10 else []
    under: list[Text] = []
    if state.view.tab is not Tab.BLAME and height - len(lines) > 10:
        blame = _blame(state, width, glyphs)
        under = [Text(), blame.heading, *blame.rows[:BLAME_ROWS]]
    draw = {Tab.SITES: _sites, Tab.THREADS: _threads, Tab.BLAME: _blame}[state.view.tab]
    table = draw(state, width, glyphs)
    room = max(0, height - len(lines) - len(under) - 2)
    offset = max(0, min(state.view.offset, len(table.rows) - room))
    shown = table.rows[offset : offset + room]
    return [*lines, Text(), table.heading, *shown, *under]


def _cell(text: str, width: int) -> str:
    """Text cut or padded to so many columns."""
    cell = Text(text)
    cell.truncate(width, overflow="ellipsis")
    return cell.plain + " " * (width - cell.cell_len)


def _plain(line: Text, glyphs: Glyphs) -> Text:
    if glyphs is ASCII:
        line.plain = line.plain.translate(_TO_ASCII)
    return line


def _fit(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis", pad=bool(line.style))
    return line
