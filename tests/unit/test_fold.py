# SPDX-License-Identifier: GPL-2.0-or-later
"""Waits as folded stacks, and drawn as a flame graph."""

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.layout import Role
from profiler.model import Snapshot, Who
from profiler.reader import Recording
from profiler.stacks.join import seen_waits
from profiler.traces.flame_svg import Flame, html, svg, time_words
from profiler.traces.fold import Folded, Seen, fold, folded_lines
from profiler.traces.stacks import BLOCKED_BY, HANDOFF, UNKNOWN
from tests.support.dumps import make_dump
from tests.support.recordings import RecordingBuilder, example

MAIN, CPU0, CPU1 = 0, 1, 2
POLL, SERIAL, PIC = 1, 2, 3
SVG = "{http://www.w3.org/2000/svg}"


def read(build: RecordingBuilder, path: Path) -> Snapshot:
    with Recording.open(build.write(path)) as recording:
        return recording.snapshot()


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return read(example(ticks_per_ns=1.0), tmp_path / "r.bql")


CPU1_WAITS = ("vcpu", "CPU 1/KVM", "mmio_read physmem.c:2874", "serial")
MAIN_HOLDS = ("main", "qemu-system-x86", "os_host_main_loop_wait main-loop.c:301")


def test_the_weights_are_the_waits_exactly(snapshot: Snapshot) -> None:
    folded = fold(snapshot)
    assert sum(folded.values()) == sum(row.wait_total for row in snapshot.rows)
    assert folded[(*CPU1_WAITS, BLOCKED_BY, *MAIN_HOLDS)] == sum(5_003 + i for i in range(17))
    assert folded[(*CPU1_WAITS, HANDOFF)] == 17 * 13
    waits = ("vcpu", "CPU 0/KVM", "mmio_read physmem.c:2874", "ioapic", UNKNOWN)
    assert folded[waits] == 5 * 3


def test_frames_that_were_seen_are_added_to_their_part_and_to_no_more(snapshot: Snapshot) -> None:
    seen = Seen(Who(CPU1, SERIAL), Who(MAIN, POLL), 20_000, ("outer", "inner"), ("run", "flush"))
    plain, folded = fold(snapshot), fold(snapshot, [seen])
    deep = (*CPU1_WAITS[:2], "outer", "inner", *CPU1_WAITS[2:], BLOCKED_BY, *MAIN_HOLDS)
    assert folded[(*deep, "run", "flush")] == 20_000
    both = (*CPU1_WAITS, BLOCKED_BY, *MAIN_HOLDS)
    assert folded[both] == plain[both] - 20_000
    assert sum(folded.values()) == sum(plain.values())


def test_more_than_was_waited_is_not_believed(snapshot: Snapshot) -> None:
    who = (Who(CPU1, SERIAL), Who(MAIN, POLL))
    seen = [Seen(*who, 1 << 60, (), ("a",)), Seen(*who, 7, (), ("b",))]
    folded = fold(snapshot, [*seen, Seen(Who(9, 9), Who(9, 9), 5)])
    assert sum(folded.values()) == sum(fold(snapshot).values())
    assert not any(stack[-1] == "b" for stack in folded)


def test_seen_frames_are_spread_over_a_call_site_on_request(snapshot: Snapshot) -> None:
    who = (Who(CPU1, SERIAL), Who(MAIN, POLL))
    seen = [Seen(*who, 2_000, (), ("run", "a")), Seen(*who, 1_000, (), ("run", "b"))]
    folded = fold(snapshot, seen, spread=True)
    assert sum(folded.values()) == sum(fold(snapshot).values())
    by_leaf = {
        leaf: sum(ns for stack, ns in folded.items() if stack[-1] == leaf) for leaf in ("a", "b")
    }
    behind_main = sum(ns for stack, ns in folded.items() if MAIN_HOLDS[-1] in stack[4:])
    assert by_leaf["a"] + by_leaf["b"] == behind_main  # the other vCPU's waits too
    assert by_leaf["a"] == pytest.approx(2 * by_leaf["b"], abs=4)
    nothing = [Seen(*who, 0, (), ("run",))]
    assert fold(snapshot, nothing, spread=True) == fold(snapshot)


def test_dumps_give_the_frames_of_holder_and_waiter_from_the_root_on() -> None:
    (seen,) = seen_waits([make_dump(), make_dump(same=False)])
    assert (seen.waiter, seen.holder) == (Who(CPU1, SERIAL), Who(MAIN, POLL))
    assert (seen.ticks, seen.waiter_frames) == (20_000, ())
    assert seen.holder_frames == ("run loop.py:3", "flush disk.py:7")


def test_lines_are_whole_microseconds_that_programs_can_read() -> None:
    folded: Folded = {
        ("a;b", "c\nd", ""): 2_600.0,
        ("a", "tiny"): 400.0,
        ("z", "exactly"): 1_000.0,
    }
    assert folded_lines(folded) == ["a:b;c d;? 3", "z;exactly 1"]


def test_unrecorded_threads_and_sites_have_names_too(tmp_path: Path) -> None:
    build = RecordingBuilder(ticks_per_ns=1.0)
    cpu = build.thread(Role.VCPU, "CPU 0/KVM")
    build.acquire(cpu, 0, hold=1, blame=[(0xFFFE, 7, 500)])
    folded = fold(read(build, tmp_path / "r.bql"))
    waiter = ("vcpu", "CPU 0/KVM", "(other)")
    assert folded == {(*waiter, BLOCKED_BY, "other", "(unrecorded)", "site 7"): 500}


def picture(folded: Folded) -> Flame:
    return Flame(folded, "guest 4711: threads waited", "a note")


def frames(text: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(text).iter(f"{SVG}svg") if e.get("class") == "f"]


def test_the_picture_has_a_box_for_each_frame_with_its_share(snapshot: Snapshot) -> None:
    folded = fold(snapshot)
    boxes = frames(svg(picture(folded)))
    titles = [title.text or "" for box in boxes for title in box.iter(f"{SVG}title")]
    total = sum(folded.values())
    serial = sum(ns for stack, ns in folded.items() if "serial" in stack[:4])
    assert f"serial {time_words(serial)}, {serial / total:.1%} of all waiting" in titles
    rows: dict[str, list[tuple[float, float]]] = {}
    for box in boxes:
        left, width = (float(box.attrib[name].rstrip("%")) for name in ("x", "width"))
        rows.setdefault(box.attrib["y"], []).append((left, left + width))
    for spans in rows.values():
        spans.sort()
        assert spans[0][0] >= 0
        assert spans[-1][1] <= 100.01
        assert all(a[1] <= b[0] + 0.001 for a, b in itertools.pairwise(spans))


def test_the_file_needs_nothing_from_elsewhere_and_knows_dark_mode(snapshot: Snapshot) -> None:
    for text in (svg(picture(fold(snapshot))), html(picture(fold(snapshot)))):
        assert "prefers-color-scheme: dark" in text
        addresses = set(re.findall(r"[a-z]+://[^\s\"'<]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, never fetched
        assert "<script" not in text
        assert "@import" not in text


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_no_name_breaks_the_document(names: list[str]) -> None:
    for text in (svg(picture({tuple(names): 5e6})), svg(Flame({}, names[0], names[-1]))):
        ET.fromstring(text.encode())


def test_hostile_names_stay_text() -> None:
    evil = '</title><script>alert("1")</script>\x00\x1b[2J]]>&#0;'
    text = html(Flame({(evil, evil): 1e6}, evil, evil))
    assert "<script" not in text
    assert "\x00" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;alert(&quot;1&quot;)" in text


def test_very_deep_and_very_many_stacks_are_drawn_in_bounds() -> None:
    deep = tuple(f"f{level}" for level in range(5_000))
    many: Folded = {("root", f"leaf{number}"): 1.0 for number in range(20_000)}
    assert len(frames(svg(picture({deep: 1.0})))) == 400
    assert len(frames(svg(picture(many)))) == 1  # the leaves are too narrow to be seen


def test_nobody_waited_is_said() -> None:
    assert "Nobody waited." in svg(picture({}))
    assert "Nobody waited." in html(picture({}))


@pytest.mark.parametrize(
    ("ns", "words"),
    [(0, "0 µs"), (500, "0.50 µs"), (1_234, "1.23 µs"), (999_700, "1 ms"), (61e9, "61 s")],
)
def test_times_are_short(ns: float, words: str) -> None:
    assert time_words(ns) == words
