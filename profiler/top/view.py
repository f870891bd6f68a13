# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a picture is shown, and what each key changes about it."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

from profiler.top.model import Sort


class Tab(Enum):
    """The table that fills the screen."""

    SITES = "sites"
    THREADS = "threads"
    BLAME = "blame"


@dataclass(frozen=True)
class View:
    """What is shown. `offset`: rows of the table that were scrolled past."""

    tab: Tab = Tab.SITES
    sort: Sort = Sort.WAIT
    offset: int = 0
    frozen: bool = False
    help: bool = False
    quit: bool = False


PAGE_ROWS = 10

_Member = TypeVar("_Member", bound=Enum)

_SORTS = {"w": Sort.WAIT, "h": Sort.HOLD, "c": Sort.COUNT, "x": Sort.CONTENTION}
_TABS = {"1": Tab.SITES, "2": Tab.THREADS, "3": Tab.BLAME}
_STEPS = {
    "up": -1,
    "k": -1,
    "down": 1,
    "j": 1,
    "page-up": -PAGE_ROWS,
    "page-down": PAGE_ROWS,
    "home": -(1 << 20),
    "end": 1 << 20,
}

HELP = (
    ("1 2 3, Tab", "call sites, threads, who waited for whom"),
    ("w h c x", "sort by wait, hold, count, contention; s: the next one"),
    ("up down, PgUp PgDn", "scroll; Home and End go to the ends"),
    ("Space", "freeze the picture, and let it go on"),
    ("?", "this help, and back"),
    ("q, Ctrl-C", "quit"),
    ("", ""),
    ("held", "part of the interval in which somebody held the lock"),
    ("wait", "part of the vCPUs' time that they waited for the lock"),
    ("taken/s cont/s", "acquisitions, and those that had to wait"),
    ("wait% hold%", "time in the interval; waits of several threads add up"),
    ("(waking up)", "the lock was free, the waiter not running yet"),
    ("", "A wait counts when it ends. p99 is of all acquisitions."),
)
"""Keys and columns, with what they mean."""


def pressed(view: View, key: str, rows: int) -> View:
    """The view after a key; `rows` is the length of the table. Unknown keys change nothing."""
    if key == "q":
        return replace(view, quit=True)
    if view.help or key == "?":
        return replace(view, help=not view.help)
    if key in _STEPS:
        offset = min(max(0, view.offset) + _STEPS[key], rows - 1)
        view = replace(view, offset=max(0, offset))
    elif key in ("s", *_SORTS):
        view = replace(view, sort=_SORTS.get(key) or _next(view.sort), offset=0)
    elif key in ("tab", *_TABS):
        view = replace(view, tab=_TABS.get(key) or _next(view.tab), offset=0)
    elif key == " ":
        view = replace(view, frozen=not view.frozen)
    return view


def _next(member: _Member) -> _Member:
    members = list(type(member))
    return members[(members.index(member) + 1) % len(members)]
