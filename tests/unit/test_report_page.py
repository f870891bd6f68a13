# SPDX-License-Identifier: GPL-2.0-or-later
"""The file itself: well-formed, closed to the outside, escaped, accessible, small."""

import re
from collections import Counter
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from profiler.commands.report import make_page
from profiler.layout import Role
from profiler.reports.page import render
from tests.support.pages import Parsed
from tests.support.recordings import RecordingBuilder
from tests.support.reports import (
    MS,
    NOW,
    busy,
    comparison_report,
    recording,
    recording_report,
    write_report,
)

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture(params=["recording", "comparison"])
def text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    make = recording_report if request.param == "recording" else comparison_report
    return make(tmp_path).read_text(encoding="utf-8")


def test_tags_nest_and_ids_are_unique(text: str) -> None:
    parsed = Parsed(text)
    ids = Counter(e.attributes["id"] for e in parsed.elements if "id" in e.attributes)
    assert ids
    assert [name for name, count in ids.items() if count > 1] == []


def test_every_reference_within_the_page_leads_somewhere(text: str) -> None:
    ids = set(re.findall(r' id="([^"]+)"', text))
    wanted = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    wanted |= set(re.findall(r'aria-labelledby="([^"]+)"', text))
    assert wanted
    assert wanted <= ids


def test_nothing_outside_is_named(text: str) -> None:
    parsed = Parsed(text)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    links = [e.attributes[k] for e in parsed.elements for k in ("href", "src") if k in e.attributes]
    assert {link for link in links if link and not link.startswith("#")} == {"data:,"}
    assert not {e.name for e in parsed.elements} & {"iframe", "object", "embed", "form", "base"}


def test_the_policy_forbids_everything_but_the_style_and_the_script_of_the_file(text: str) -> None:
    parsed = Parsed(text)
    policy = next(m for m in parsed.all("meta") if "http-equiv" in m.attributes)
    content = policy.attributes["content"] or ""
    assert content.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in content
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    handlers = [k for e in parsed.elements for k in e.attributes if k.startswith("on")]
    assert handlers == []
    assert not [e for e in parsed.elements if "style" in e.attributes]


def test_style_and_script_cannot_end_their_element() -> None:
    for name in ("style.css", "script.js"):
        assert "</" not in files("profiler.reports").joinpath(name).read_text(encoding="utf-8")


def test_drawings_have_a_text_and_tables_a_caption_and_headings(text: str) -> None:
    parsed = Parsed(text)
    drawings = [svg for svg in parsed.all("svg") if svg.attributes.get("role") == "img"]
    assert drawings
    assert all(len(svg.attributes["aria-label"] or "") > 20 for svg in drawings)
    others = [svg for svg in parsed.all("svg") if svg not in drawings]
    assert all(svg.attributes.get("aria-hidden") == "true" for svg in others)
    for table in parsed.all("table"):
        assert table.children[0].name == "caption"
        assert table.children[0].text
    assert all(th.attributes.get("scope") in ("col", "row") for th in parsed.all("th"))


def test_headings_do_not_skip_a_level(text: str) -> None:
    levels = [int(e.name[1]) for e in Parsed(text).elements if re.fullmatch("h[1-6]", e.name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_axes_have_units(text: str) -> None:
    assert "wait time, at most (logarithmic)" in text
    assert "time from the start of the stretch, ms" in text
    assert re.search(r">100 ms</text>|>10 ms</text>", text)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    build = RecordingBuilder(vm_name=HOSTILE[:40], ticks_per_ns=1.0)
    build.header["process_name"] = HOSTILE.encode()[:15]
    main = build.thread(Role.MAIN, "qemu")
    cpu = build.thread(Role.VCPU, "<b>CPU 0</b>")
    place = build.site("<img src=x>.c", 1, "<svg onload=alert(1)>")
    device = build.site("a.c", 2, "f", region=HOSTILE[:40])
    build.acquire(main, place, hold=3 * MS)
    build.acquire(cpu, device, hold=MS, blame=[(main, place, 4 * MS)])
    build.sync()
    directory = tmp_path / "<i>"
    directory.mkdir()
    hostile = write_report(str(recording(directory, build)), tmp_path / "hostile.html")
    kind = write_report(str(recording(tmp_path)), tmp_path / "kind.html")
    names = [
        {e.name for e in Parsed(path.read_text(encoding="utf-8")).elements}
        for path in (hostile, kind)
    ]
    assert names[0] == names[1]
    parsed = Parsed(hostile.read_text(encoding="utf-8"))
    assert "<script>alert(1)</script>" in parsed.seen()
    assert "<svg onload=alert(1)>" in parsed.seen()
    assert len(parsed.all("script")) == 1


def test_the_page_of_a_known_recording_has_its_numbers(tmp_path: Path) -> None:
    parsed = Parsed(recording_report(tmp_path).read_text(encoding="utf-8"))
    rows = parsed.rows("By thread role")
    assert rows[0][0] == "main loop"
    assert rows[0][5] == "30.0 ms"
    assert rows[1][:2] == ["vCPU \N{MULTIPLICATION SIGN} 2", "45.3 ms"]
    assert rows[1][4] == "4.50 ms"
    assert parsed.rows("Waiters and holders by place")[0][:4] == [
        "CPU 1",
        "main loop",
        "40.0 ms",
        "88.4 %",
    ]
    assert parsed.rows("What holders slept for")[0][1:] == ["file I/O", "10.0 ms", "33.3 %"]
    facts = parsed.facts()
    assert facts["Captured"] == "all of 31 acquisitions, none sampled"
    assert facts["Part"] == "the whole recording"
    assert "Made 2027-03-01 12:30 UTC" in parsed.seen()


def test_what_was_lost_is_told(tmp_path: Path) -> None:
    build = busy(events=8)
    build.header["threads_lost"], build.header["acquisitions_lost"] = 2, 99
    build.header["sites_lost"] = 1
    build.threads["blame_lost"][2] = 5
    text = render(make_page(str(recording(tmp_path, build)), NOW))
    seen = Parsed(text).seen()
    assert "No room was left for 2 further threads" in seen
    assert "No room was left for 1 further call site" in seen
    assert "99 acquisitions of threads without a record are in no table" in seen
    assert "5 waits had no room in a blame table" in seen
    assert "the rings had dropped" in seen
    assert "record of who held the lock was overwritten" in seen


def test_a_recording_that_does_not_add_up_is_not_trusted(tmp_path: Path) -> None:
    build = busy()
    build.row(2, 3)["wait_total"] += 5
    seen = Parsed(render(make_page(str(recording(tmp_path, build)), NOW))).seen()
    assert "The recording does not add up: " in seen
    assert "conservation checks hold, 2 fail" in seen  # the wait's parts, and its events


def test_a_marked_window_is_used_and_named(tmp_path: Path) -> None:
    build = busy()
    build.write(tmp_path / "vm.bql.begin")
    for _ in range(2):
        build.acquire(0, 1, hold=MS)
    build.sync()
    build.write(tmp_path / "vm.bql.end")
    parsed = Parsed(render(make_page(str(recording(tmp_path, build)), NOW)))
    assert parsed.facts()["Part"] == "the window that the guest marked"
    assert parsed.facts()["Captured"] == "all of 2 acquisitions, none sampled"
    assert "boot and warm-up are subtracted" in parsed.seen()


def test_the_report_of_a_full_recording_is_far_below_three_megabytes(tmp_path: Path) -> None:
    threads, sites, events = 16, 60, 4096
    build = RecordingBuilder(
        threads=threads, sites=sites + 2, rows=1200, blame=64, events=events, ticks_per_ns=1.0
    )
    main = build.thread(Role.MAIN, "qemu")
    cpus = [build.thread(Role.VCPU, f"CPU {n}/KVM") for n in range(threads - 1)]
    places = [build.site(f"some/long/folder/file{n}.c", n, f"function_{n}") for n in range(sites)]
    for index, cpu in enumerate(cpus):
        for place in places:
            build.acquire(cpu, place, hold=900, blame=[(main, places[index], 500 + index)])
    for index, ring in enumerate(build.events):  # rings as full as a machine of days has them
        for number in range(events):
            at = build.now + number * 12_000 + index * 700
            ring[number] = (at, 400 if number % 3 else 300_000, 200, (index + 1) | 1 << 18)
        build.threads["events_head"][index] = 10 * events
    build.sync(after=100 * MS)
    size = len(render(make_page(str(recording(tmp_path, build)), NOW)).encode())
    assert 50_000 < size < 1_000_000
