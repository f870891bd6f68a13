# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope convert`: every format with exact numbers, from rings and from a file of events."""

import base64
import csv
import io
import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler import cli
from profiler.reader import Recording
from profiler.traces import hlog, pprof
from profiler.traces.formats import FORMATS
from tests.support.events import START, drain, relay
from tests.support.pprof import parse
from tests.support.recordings import (
    START_MONOTONIC_NS,
    START_REALTIME_NS,
    START_TICKS,
    example,
)

SCHEMA = Path(__file__).parents[1] / "support" / "speedscope_schema.json"
OFFSET = (START - START_TICKS) // 2  # ns from the start of the clock to that of relay()
BINARY = {name for name, chosen in FORMATS.items() if chosen.binary}


@pytest.fixture(params=["rings", "events"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """relay() as a recording, and as a file of events; all formats say the same of both."""
    path = relay().write(tmp_path / "r.bql")
    if request.param == "rings":
        return path
    drain(path, tmp_path / "r.events")
    return tmp_path / "r.events"


def convert(recording: Path, name: str) -> bytes:
    target = recording.with_suffix(f".{name}")
    assert cli.main(["convert", str(recording), "--format", name, "-o", str(target)]) == 0
    return target.read_bytes()


POLL = "main;qemu-system-x86;os_host_main_loop_wait main-loop.c:301"
IOAPIC = "vcpu;CPU 0/KVM;mmio_read physmem.c:2874;ioapic"
SERIAL = "vcpu;CPU 1/KVM;mmio_read physmem.c:2874;serial"


def test_folded_waits_end_in_their_cause(recording: Path) -> None:
    assert convert(recording, "folded").decode().splitlines() == [
        f"{IOAPIC};[blocked by];{POLL} 2",
        f"{SERIAL};[blocked by];{POLL} 2",
    ]


def test_folded_microseconds_are_rounded_and_all_causes_named(tmp_path: Path) -> None:
    path = example().write(tmp_path / "r.bql")
    lines = dict(line.rsplit(" ", 1) for line in convert(path, "folded").decode().splitlines())
    assert lines == {
        f"{IOAPIC};[blocked by];{POLL}": str(round(sum(1009 + i for i in range(5)) / 2 / 1e3)),
        f"{SERIAL};[blocked by];{POLL}": str(round(sum(5003 + i for i in range(17)) / 2 / 1e3)),
        f"{SERIAL};[blocked by];{IOAPIC}": str(round(17 * 97 / 2 / 1e3)),
    }


def test_speedscope_keeps_to_its_schema(recording: Path) -> None:
    document = json.loads(convert(recording, "speedscope"))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    waiting, holding = (
        {
            ";".join(frames[at] for at in stack): weight
            for stack, weight in zip(profile["samples"], profile["weights"], strict=True)
        }
        for profile in document["profiles"]
    )
    assert waiting == {
        f"{IOAPIC};[blocked by];{POLL}": 1500,
        f"{SERIAL};[blocked by];{POLL}": 1800,
        f"{SERIAL};[blocked by];{IOAPIC}": 500,
        f"{IOAPIC};[handoff]": 100,
        f"{SERIAL};[handoff]": 100,
    }
    assert holding == {POLL: 2000, IOAPIC: 500, SERIAL: 350}
    assert [profile["endValue"] for profile in document["profiles"]] == [4000, 2850]


def test_pprof_has_contentions_delays_and_holds(recording: Path) -> None:
    profile = parse(convert(recording, "pprof"))
    assert profile.units == {"contentions": "count", "delay": "nanoseconds", "hold": "nanoseconds"}
    assert profile.default == "delay"
    assert profile.totals() == {"contentions": 2, "delay": 1600 + 2400, "hold": 2850}
    assert profile.totals(role="vcpu") == {"contentions": 2, "delay": 4000, "hold": 850}
    assert profile.totals(blocked_by="main")["delay"] == 1500 + 1800
    assert profile.totals(holder="ioapic")["delay"] == 500
    assert profile.totals(blocked_by="handoff")["delay"] == 200
    (hold,) = [s for s in profile.samples if s.values["hold"] == 500]
    assert hold.stack == ("ioapic", "mmio_read physmem.c:2874")
    assert hold.labels == {"role": "vcpu", "thread": "CPU 0/KVM", "tid": 902}
    assert profile.lines["mmio_read physmem.c:2874"] == ("system/physmem.c", 2874)


def test_pprof_of_an_interval_has_what_was_added(tmp_path: Path) -> None:
    build = relay()
    build.header["clock_start_realtime_ns"] = START_REALTIME_NS
    path = build.write(tmp_path / "r.bql")
    with Recording.open(path) as recording:
        earlier = recording.snapshot()
        build.acquire(2, 3, hold=80, blame=[(0, 1, 240)])
        build.sync()
        build.write(path)
        later = recording.snapshot()
    profile = parse(pprof.profile(later.since(earlier)))
    assert profile.totals() == {"contentions": 1, "delay": 120, "hold": 40}
    assert profile.duration_ns == round(later.clock.ns(later.taken - earlier.taken))


def test_go_reads_our_profiles(recording: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    convert(recording, "pprof")
    command = [go, "tool", "pprof", "-top", "-sample_index=delay", "-tagfocus=role=vcpu"]
    # Its own cache, as Go builds its tools when they are first used; our place for its copies.
    home = {**os.environ, "PPROF_TMPDIR": str(recording.parent)}
    result = subprocess.run(
        [*command, str(recording.with_suffix(".pprof"))],
        capture_output=True,
        text=True,
        env=home,
        check=True,
    )
    assert "Type: delay" in result.stdout
    assert "Total samples = 4us" in result.stdout
    assert re.search(r"1\.60us 40\.00% .* ioapic", result.stdout)


def decoded(text: str) -> tuple[np.ndarray[Any, Any], int]:
    """Counts and largest value of a histogram, by the description of its format."""
    stored = base64.b64decode(text)
    cookie, size = struct.unpack(">ii", stored[:8])
    assert (cookie, size) == (0x1C849314, len(stored) - 8)
    raw = zlib.decompress(stored[8:])
    cookie, size, offset, digits, lowest, highest, ratio = struct.unpack(">iiiiqqd", raw[:40])
    assert (cookie, offset, digits, lowest, ratio) == (0x1C849313, 0, 3, 1, 1.0)
    assert size == len(raw) - 40
    counts: list[int] = []
    at = 40
    while at < len(raw):
        value = shift = 0
        while True:
            value |= (raw[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not raw[at - 1] & 0x80:
                break
        value = value >> 1 ^ -(value & 1)
        counts += [value] if value >= 0 else [0] * -value
    return np.array(counts), highest


def histograms(log: bytes) -> dict[tuple[str, float], tuple[dict[int, int], float]]:
    """By tag and start of the interval: counts by value (below 2048 ns) and the maximum in ms."""
    found = {}
    for line in log.decode().splitlines():
        if line.startswith("Tag="):
            tag, start, _, largest, text = line.removeprefix("Tag=").split(",")
            counts, _ = decoded(text)
            used = {int(at): int(counts[at]) for at in np.flatnonzero(counts)}
            found[tag, float(start)] = used, float(largest)
    return found


def test_an_hlog_has_a_histogram_for_each_role(recording: Path) -> None:
    log = convert(recording, "hlog")
    assert log.split(b"StartTime: ")[1].split()[0].decode() == f"{START_REALTIME_NS / 1e9:.3f}"
    found = histograms(log)
    assert sorted(found) == [(f"{k}.{r}", 0.0) for k in ("hold", "wait") for r in ("main", "vcpu")]
    assert found["wait.main", 0.0] == ({0: 1}, 0.0)
    assert found["hold.main", 0.0][1] == 0.002
    counts, largest = found["wait.vcpu", 0.0]
    assert (sum(counts.values()), counts[0], largest) == (3, 1, 0.002)
    if recording.suffix == ".events":  # exact values; 2400 lies in the second half, in steps of 2
        assert counts == {0: 1, 1600: 1, 2048 + (2400 - 2048) // 2: 1}
        assert found["hold.vcpu", 0.0][0] == {50: 1, 300: 1, 500: 1}
        assert found["hold.main", 0.0][0] == {2000: 1}
    else:  # the middle of a bucket of 256 ticks, which the largest value cuts short
        assert found["hold.main", 0.0][0] == {(3840 + 4000) // 4: 1}


def test_an_hlog_of_events_has_an_interval_for_each_second(tmp_path: Path) -> None:
    build = relay()
    build.now = START + 2 * 2_000_000_000
    build.acquire(0, 1, hold=60)
    build.sync()
    drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    found = histograms(convert(tmp_path / "r.events", "hlog"))
    ours = {start: counts for (tag, start), (counts, _) in found.items() if tag == "hold.main"}
    assert ours == {0.0: {2000: 1}, 2.0: {30: 1}}


@given(st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=30))
def test_hlog_values_are_kept_to_three_digits(values: list[int]) -> None:
    column = np.array(values, np.int64)
    for value, index in zip(values, hlog.count_index(column).tolist(), strict=True):
        bucket = max(0, (index >> 10) - 1)
        low = (index - (bucket << 10)) << bucket
        assert low <= value < low + (1 << bucket)
        assert 1 << bucket <= max(1, value / 1000)


def test_csv_has_a_line_for_each_acquisition(recording: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(convert(recording, "csv").decode())))
    zero = START_MONOTONIC_NS + OFFSET
    assert [int(row["acquired_ns"]) - zero for row in rows] == [500, 2600, 3100, 4500]
    assert rows[1] == {
        "acquired_ns": str(zero + 2600),
        "wait_ns": "1600",
        "hold_ns": "500",
        "thread": "CPU 0/KVM",
        "tid": "902",
        "role": "vcpu",
        "site": "ioapic",
        "device": "ioapic",
        "kind": "lock",
        "contended": "1",
        "holder_thread": "qemu-system-x86",
        "holder_site": "os_host_main_loop_wait main-loop.c:301",
    }
    assert (rows[3]["kind"], rows[3]["holder_thread"], rows[3]["holder_site"]) == (
        "trylock",
        "",
        "",
    )


def test_csv_quotes_names_that_need_it(tmp_path: Path) -> None:
    build = relay()
    build.threads["name"][0] = b'a "b", c'
    rows = list(
        csv.DictReader(io.StringIO(convert(build.write(tmp_path / "r.bql"), "csv").decode()))
    )
    assert {row["thread"] for row in rows} == {'a "b", c', "CPU 0/KVM", "CPU 1/KVM"}


def test_json_has_all_figures_and_all_acquisitions(recording: Path) -> None:
    document = json.loads(convert(recording, "json"))
    assert document["schema"] == 1
    assert document["process"]["pid"] == 4_000_001
    rows = [dict(zip(document["columns"], row, strict=True)) for row in document["events"]]
    assert [row["wait_ns"] for row in rows] == [0, 1600, 2400, 0]
    assert rows[2]["holder_thread"] == "qemu-system-x86"
    vcpu = next(line for line in document["summary"]["roles"] if line["role"] == "vcpu")
    assert vcpu["wait"]["total_ns"] == 4000
    assert document["blame_ns"]["vcpu"] == {"main": 3300, "vcpu": 500, "handoff": 200}


@pytest.mark.parametrize("name", FORMATS)
def test_a_recording_without_events_is_a_valid_empty_file(tmp_path: Path, name: str) -> None:
    build = relay()
    for head in ("events_head", "row_of_site"):
        build.threads[head] = 0
    build.rows[:] = np.zeros((), build.rows.dtype)
    build.blame[1]["used"] = build.blame[2]["used"] = 0
    data = convert(build.write(tmp_path / "r.bql"), name)
    if name == "json":
        assert json.loads(data)["events"] == []
    if name == "pprof":
        assert parse(data).samples == []


def test_overwritten_events_are_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = relay_with_full_rings().write(tmp_path / "r.bql")
    convert(path, "csv")
    assert capsys.readouterr().err == (
        "bqlscope: note: events: the last 34 of 44 acquisitions;"
        " `bqlscope record` keeps all of them\n"
    )


def relay_with_full_rings() -> Any:
    build = relay()
    for _ in range(40):
        build.acquire(0, 1, hold=3)
    return build


def test_standard_output_is_the_default_and_files_appear_whole(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = relay().write(tmp_path / "r.bql")
    assert cli.main(["convert", str(path), "--format", "folded"]) == 0
    assert capfdbinary.readouterr().out.count(b"\n") == 2
    assert cli.main(["convert", str(path), "--format", "csv", "-o", "/dev/null"]) == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["r.bql"]


def test_wrong_input_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("hello")
    for source, problem in (
        (tmp_path / "none", "no such file"),
        (tmp_path / "text", "truncated"),
        (tmp_path, "not a regular file"),
    ):
        target = tmp_path / "out"
        assert cli.main(["convert", str(source), "--format", "csv", "-o", str(target)]) == 2
        err = capsys.readouterr().err
        assert problem in err
        assert err.count("\n") == 1
        assert not target.exists()
