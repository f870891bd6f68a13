# SPDX-License-Identifier: GPL-2.0-or-later
"""What `bqlscope top` draws, as text, and what keys do to it."""

from dataclasses import replace
from pathlib import Path

import pytest

from profiler.blame import HANDOFF
from profiler.layout import Blocked, Role
from profiler.model import Process
from profiler.top.draw import (
    ASCII,
    UNICODE,
    State,
    bar,
    percent,
    plain,
    rate,
    screen,
    spark,
    table_rows,
)
from profiler.top.model import Holder, Line, Pair, Picture, Sort
from profiler.top.terminal import keys
from profiler.top.view import Tab, View, pressed

MAIN = Line(Role.MAIN, "", 0, 1, 4_555, 2, 1e5, 0, 37.9e3, 24e6, 15.4e3, 69.4e3)
VCPU = Line(Role.VCPU, "", 0, 2, 8_307, 8, 44e6, 0, 16.2e6, 1e5, 136, 2.96e3)
SITES = tuple(
    replace(VCPU, name=f"device{number}", wait_ns=1e6 * (40 - number)) for number in range(40)
)
PICTURE = Picture(
    process=Process(Path("x.bql"), 4711, 1, "qemu", "guest", alive=True),
    realtime_ns=0,
    interval_ns=1e9,
    recorded_ns=26.2e9,
    enabled=True,
    lost=0,
    vcpus=2,
    held_ratio=0.62,
    wait_ratio=0.044,
    waiters=2,
    holder=Holder(Role.MAIN, "qemu", 9, "wait main-loop.c:301", 120e6, Blocked.DRAIN, 80e6),
    roles=(MAIN, VCPU),
    sites=(*SITES, replace(MAIN, name="os_host_main_loop_wait main-loop.c:301")),
    threads=(replace(MAIN, name="qemu", tid=9), replace(VCPU, name="CPU 0/KVM", tid=10)),
    pairs=(
        Pair(Role.VCPU, "device0", Role.MAIN, "wait main-loop.c:301", 40e6, 8, 16e6, 0.9),
        Pair(Role.VCPU, "", None, HANDOFF, 4e6, 0, 0, 0.1),
    ),
)
STATE = State(PICTURE, [(0.1, 0.0), (0.62, 0.044)], View(), 1.0, PICTURE.holder, PICTURE.waiters)


def drawn(state: State, width: int, height: int, glyphs: object = UNICODE) -> list[str]:
    assert glyphs in (UNICODE, ASCII)
    lines = screen(state, width, height, UNICODE if glyphs is UNICODE else ASCII)
    assert len(lines) == height
    assert all(line.cell_len <= width for line in lines)
    return [line.plain.rstrip() for line in lines]


def test_eighty_columns_show_load_holder_roles_sites_and_blame() -> None:
    lines = drawn(STATE, 80, 24)
    assert lines[:4] == [
        "bqlscope top  guest  pid 4711, 2 vCPUs, recorded 26.2 s, every 1 s",
        f"held   62 % {'█' * 19}{'░' * 12}{'▁▅':>33}",
        f"wait  4.4 % █{'░' * 30}{'▁':>33}",
        "now  held 120 ms by main (qemu) in wait main-loop.c:301, sleeps for a drain (80…",
    ]
    assert lines[5:8] == [
        "role (threads)                   taken/s  cont/s  wait%  longest  hold%  longest",
        "main (1)                            4555       2   <0.1  37.9 µs    2.4  69.4 µs",
        "vcpu (2)                            8307       8    4.4  16.2 ms   <0.1  2.96 µs",
    ]
    assert lines[9:11] == [
        "role     call site               taken/s  cont/s wait%▼  longest  hold%  longest",
        "vcpu     device0                    8307       8    4.0  16.2 ms   <0.1  2.96 µs",
    ]
    assert lines[-4:-1] == [
        "who waited           for whom                  waits/s  longest wait%▼  of waits",
        "vcpu device0       ← main main-loop.c:301            8    16 ms    4.0      90 %",
        "vcpu               ← (waking up)                                   0.4      10 %",
    ]
    assert lines[-1].endswith(" q quit")


def test_two_hundred_columns_show_quantiles_and_all_that_fits() -> None:
    lines = drawn(STATE, 200, 50)
    assert "p99" in lines[5]
    assert sum("device" in line for line in lines) >= 34
    assert "main wait main-loop.c:301" in "\n".join(lines)


@pytest.mark.parametrize("size", [(1, 1), (5, 2), (20, 3), (40, 8), (79, 12), (300, 90)])
@pytest.mark.parametrize("tab", list(Tab))
@pytest.mark.parametrize("shows_help", [False, True])
def test_every_size_is_filled_exactly(size: tuple[int, int], tab: Tab, shows_help: bool) -> None:
    drawn(replace(STATE, view=View(tab=tab, help=shows_help)), *size)


def test_names_of_any_language_keep_the_columns_straight() -> None:
    wide = replace(PICTURE, sites=(replace(VCPU, name="磁盘" * 20), replace(VCPU, name="x")))
    lines = screen(replace(STATE, picture=wide), 80, 24, UNICODE)
    rows = [line for line in lines if line.plain.startswith("vcpu     ")]
    assert {row.cell_len for row in rows} == {80}


def test_a_terminal_without_unicode_gets_ascii_only() -> None:
    text = "\n".join(drawn(STATE, 80, 24, ASCII) + drawn(STATE, 200, 50, ASCII))
    assert text.isascii()


def test_names_are_never_markup() -> None:
    picture = replace(PICTURE, sites=(replace(VCPU, name="[red]x[/]"),))
    assert any("[red]x[/]" in line for line in drawn(replace(STATE, picture=picture), 80, 24))


def test_the_end_of_the_process_and_a_frozen_picture_are_told() -> None:
    lines = drawn(replace(STATE, ended=True, view=View(frozen=True)), 80, 24)
    assert lines[0].endswith("FROZEN   ENDED")
    assert lines[3] == "The process has ended; this is the last picture. q quits."
    off = replace(PICTURE, enabled=False, lost=7)
    assert "recording is off" in drawn(replace(STATE, picture=off), 100, 24)[0]
    assert "7 not recorded" in drawn(replace(STATE, picture=off), 100, 24)[0]


def test_a_free_lock_and_no_vcpus_read_naturally() -> None:
    idle = replace(PICTURE, vcpus=0, pairs=(), sites=(), roles=())
    lines = drawn(replace(STATE, picture=idle, holder=None, waiters=0), 80, 24)
    assert lines[3] == "now  free; nobody waits"
    assert "nobody waited" in lines


def test_scrolling_stops_at_the_last_row() -> None:
    view = View()
    rows = table_rows(PICTURE, view.tab)
    first = drawn(replace(STATE, view=pressed(view, "down", rows)), 80, 24)
    assert any(line.startswith("vcpu     device1 ") for line in first)
    assert not any(line.startswith("vcpu     device0 ") for line in first)
    view = pressed(view, "end", rows)
    last = drawn(replace(STATE, view=view), 80, 24)
    assert any("main-loop.c:301" in line and line.startswith("main ") for line in last[11:])
    assert pressed(pressed(view, "page-down", rows), "up", rows).offset == rows - 2
    assert pressed(view, "home", rows).offset == 0
    assert pressed(View(), "down", rows=0).offset == 0


@pytest.mark.parametrize(
    ("pressed_keys", "view"),
    [
        ("h", View(sort=Sort.HOLD)),
        ("sss", View(sort=Sort.CONTENTION)),
        ("ssss", View()),
        ("2", View(tab=Tab.THREADS)),
        ("3x", View(tab=Tab.BLAME, sort=Sort.CONTENTION)),
        (" ", View(frozen=True)),
        ("  ", View()),
        ("?", View(help=True)),
        ("?z", View()),
        ("?q", View(help=True, quit=True)),
        ("z", View()),
    ],
)
def test_keys_change_the_view(pressed_keys: str, view: View) -> None:
    seen = View()
    for key in pressed_keys:
        seen = pressed(seen, key, 10)
    assert seen == view


def test_tab_goes_round() -> None:
    view = View()
    for tab in (Tab.THREADS, Tab.BLAME, Tab.SITES):
        view = pressed(view, "tab", 1)
        assert view.tab is tab


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"qh", ["q", "h"]),
        (b"\x1b[A\x1bOB", ["up", "down"]),
        (b"\x1b[5~j\x1b[6~", ["page-up", "j", "page-down"]),
        (b"\x1b[200~q", ["q"]),  # a sequence that is no key of ours, then one
        (b"\x1b[1;5A ", [" "]),
        (b"\x1b", []),
        (b"\x1bx", []),
        (b"\x1b[", []),
        (b"\t\x04", ["tab", "q"]),
        ("ü".encode(), []),
        (b"\x00\x7f", []),
    ],
)
def test_keys_are_told_from_escape_sequences(data: bytes, found: list[str]) -> None:
    assert keys(data) == found


def test_plain_text_has_every_row_and_no_trailing_blanks() -> None:
    lines = [line.plain for line in plain(PICTURE, 120, Sort.HOLD)]
    assert sum("device" in line for line in lines) >= 40
    assert any("hold%▼" in line for line in lines)
    assert all(line == line.rstrip() and len(line) <= 120 for line in lines)


@pytest.mark.parametrize(
    ("ratio", "text"), [(0, "0"), (0.0001, "<0.1"), (0.043, "4.3"), (0.0996, "10"), (12.3, "1230")]
)
def test_percentages_are_short(ratio: float, text: str) -> None:
    assert percent(ratio) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (0.52, "0.5"), (3, "3"), (99_999, "99999"), (123_456, "123k"), (3_410_000, "3.4M")],
)
def test_rates_are_short(count: float, text: str) -> None:
    assert rate(count) == text


def test_bars_and_sparklines_show_every_little_something() -> None:
    assert spark([0, 0.0001, 0.5, 1, 7], UNICODE.steps) == " ▁▅██"
    assert bar(0.0001, 5, ASCII) == "#...."
    assert bar(0, 5, ASCII) == "....."
    assert bar(7, 5, ASCII) == "#####"
