# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports, differences and summaries of files that `bqlscope record` wrote."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler import cli
from profiler.commands.reading import Reading
from profiler.commands.summary import summary_document
from profiler.layout import Role
from profiler.model import EventLog, Snapshot
from profiler.reports.model import Timeline
from profiler.reports.source import Source, read_source
from profiler.reports.stretch import worst_stretch
from profiler.reports.timeline import timeline
from profiler.traces.batch import Batch
from profiler.traces.capture import Limits
from profiler.traces.source import event_file
from profiler.traces.waiting import Waiting
from tests.support.events import START, drain, ended_at, relay
from tests.support.pages import Parsed
from tests.support.recordings import RecordingBuilder
from tests.support.reports import MS, save_comparison

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str | Path, status: int = 0) -> str:
    assert cli.main([*map(str, arguments)]) == status
    shown = capsys.readouterr()
    return shown.err if status else shown.out


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """A recording, and the file of events drained from it, over the same time."""
    build = relay()
    recording = build.write(tmp_path / "r.bql")
    drain(recording, tmp_path / "r.events")
    return recording, ended_at(tmp_path / "r.events", build.now)


def page(capsys: Capture, source: Path) -> Parsed:
    return Parsed(run(capsys, "report", source, "-o", "-"))


def gap_words(parsed: Parsed) -> str:
    seen = parsed.seen()
    return seen[seen.rindex("What was not measured") :]


def jam(gaps: tuple[int, ...]) -> RecordingBuilder:
    """A wait of 8 ms, and after 200 ms three of 5 ms one after another. 1 tick is 1 ns."""
    build = RecordingBuilder(ticks_per_ns=1.0, events=4096)
    main, cpu = build.thread(Role.MAIN, "qemu"), build.thread(Role.VCPU, "CPU 0/KVM")
    poll = build.site("main-loop.c", 1, "poll")
    for number, length in enumerate((8, 5, 5, 5)):
        build.now += gaps[number] * MS
        build.acquire(main, poll, hold=length * MS)
        build.now -= length * MS
        build.acquire(cpu, poll, hold=MS, blame=[(main, poll, length * MS)])
    build.sync(after=100 * MS)
    return build


def test_the_page_has_the_figures_and_the_timeline_of_the_recording(
    capsys: Capture, both: tuple[Path, Path]
) -> None:
    truth, ours = (page(capsys, source) for source in both)
    for caption in (
        "By thread role",
        "By call site",
        "Waiters and holders by place",
        "The longest waits in it",
    ):
        assert ours.rows(caption) == truth.rows(caption), caption
    assert ours.rows("The longest waits in it")[0][1:] == [
        *("CPU 1", "serial", "main loop", "os_host_main_loop_wait main-loop.c:301"),
        *("2.40 µs", "0.50 ms"),
    ]
    lanes = [
        [e.attributes for e in parsed.elements if {"slice", "hold", "wait"} & e.classes]
        for parsed in (ours, truth)
    ]
    assert lanes[0] == lanes[1] != []
    verdicts = ["virtual CPUs spent 0.2 % of their time waiting" in p.seen() for p in (ours, truth)]
    assert verdicts == [True, True]


def test_the_summaries_are_equal_but_for_what_no_event_tells(both: tuple[Path, Path]) -> None:
    truth, ours = (summary_document(read_source(source).snapshot) for source in both)
    assert ours["interval_ns"] == truth["interval_ns"] == 1_004_550
    assert ours == truth | {"vcpu_exits": {}}
    assert ours["blame_ns"]["vcpu"] == {"main": 3300.0, "vcpu": 500.0, "handoff": 200.0}


def test_of_equal_longest_waits_the_last_is_named_as_in_the_recording(tmp_path: Path) -> None:
    build = RecordingBuilder(ticks_per_ns=1.0)
    main, cpu = build.thread(Role.MAIN, "qemu"), build.thread(Role.VCPU, "CPU 0/KVM")
    poll = build.site("main-loop.c", 1, "poll")
    requests = []
    for _ in range(2):
        build.acquire(main, poll, hold=MS)
        build.now -= MS
        requests.append(build.now)
        build.acquire(cpu, poll, hold=100, blame=[(main, poll, MS)])
    drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    for name in ("r.bql", "r.events"):
        rows = read_source(tmp_path / name).snapshot.rows
        assert [row.max_wait_at for row in rows if row.contended] == requests[1:], name


def test_what_such_a_file_lacks_is_said_on_the_page(
    capsys: Capture, both: tuple[Path, Path]
) -> None:
    parsed = page(capsys, both[1])
    facts, words = parsed.facts(), gap_words(parsed)
    assert facts["Part"] == "the recorded time, until the process ended"
    assert facts["Captured"] == "all of 4 acquisitions, none sampled"
    assert facts["File of events"] == str(both[1])
    for lacking in (
        "sleeps inside holds",
        "interpreter lock",
        "trylocks",
        "disk",
        "left the guest",
    ):
        assert lacking in words
    assert "rings had dropped" not in words
    assert "does not add up" not in words
    assert "1.00 ms of the file" in words


def test_drops_are_counted_timed_and_blamed_on_nobody(capsys: Capture, tmp_path: Path) -> None:
    build = RecordingBuilder(events=4, ticks_per_ns=1.0)
    main, cpu = build.thread(Role.MAIN, "main"), build.thread(Role.VCPU, "cpu")
    for _ in range(9):
        build.acquire(main, 0, hold=MS)
    build.acquire(cpu, 0, hold=MS, blame=[(main, 0, 2 * MS)])
    drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    parsed = page(capsys, ended_at(tmp_path / "r.events", build.now))
    assert parsed.facts()["Captured"] == "4 of 10 acquisitions, none sampled"
    words = gap_words(parsed)
    assert "6 acquisitions were dropped while recording" in words
    assert "60.0 % of all," in words
    assert "1 span of time, together 7.00 ms" in words
    assert "In 7.00 ms of it acquisitions were dropped" in parsed.seen()


def test_a_wait_of_a_holder_from_before_the_recording_is_not_on_record(
    capsys: Capture, tmp_path: Path
) -> None:
    build = RecordingBuilder(ticks_per_ns=1.0)
    cpu = build.thread(Role.VCPU, "cpu")
    build.acquire(cpu, 0, hold=MS, unknown=MS)
    drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    words = gap_words(page(capsys, ended_at(tmp_path / "r.events", build.now)))
    assert "For 1.00 ms, 100 % of all waiting, who held the lock is not known" in words


def test_the_worst_stretch_is_found_behind_what_rings_have_forgotten(tmp_path: Path) -> None:
    recording = jam((0, 200, 0, 0)).write(tmp_path / "r.bql")
    drain(recording, tmp_path / "r.events")
    truth = timeline(read_source(recording).snapshot)
    found = worst(read_source(tmp_path / "r.events"))
    assert truth is not None
    assert (found.length, found.lanes, found.waits) == (truth.length, truth.lanes, truth.waits)
    assert [wait.wait for wait in found.waits] == [5 * MS] * 3
    assert found.start == truth.start == 193.5 * MS  # the middle of those 36 ms that hold all three


def worst(source: Source) -> Timeline:
    assert source.events is not None
    assert source.events.worst is not None
    found = timeline(source.events.worst.snapshot)
    assert found is not None
    return found


def test_the_interval_reaches_back_to_a_hold_that_began_before_recording(tmp_path: Path) -> None:
    """Nobody else had the lock meanwhile: the file has everything since then."""
    build = relay()
    drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    file = event_file(tmp_path / "r.events")
    assert file is not None
    with file:
        file.began = START + 3000  # main holds it from 1000 to 5000
        snapshot = file.snapshot()
    assert snapshot.start == START + 1000


def test_a_rotated_part_is_read_alone_and_says_so(capsys: Capture, tmp_path: Path) -> None:
    recording = relay().write(tmp_path / "r.bql")
    for _ in range(2):
        drain(recording, tmp_path / "r.events", Limits(file_size=1), rotate=2)
    words = "file 1 of a recording in several files; only this one was read"
    older = tmp_path / "r.events.1"
    parsed = page(capsys, older)
    assert words in gap_words(parsed)
    assert parsed.facts()["Part"].endswith("until its file was full and the next one began")
    assert cli.main(["report", str(older), "-o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().err == f"bqlscope: note: {words}\n"
    assert words in " ".join(run(capsys, "summary", older).split())
    assert words in " ".join(run(capsys, "diff", older, recording).split())


def test_a_summary_says_that_it_is_of_the_recorded_time(
    capsys: Capture, both: tuple[Path, Path]
) -> None:
    truth, ours = (run(capsys, "summary", source) for source in both)
    text, note = ours.split("Note: ")
    assert text == truth
    assert "r.events: all figures are of the time that `bqlscope record` recorded" in note
    document = json.loads(run(capsys, "summary", both[1], "--json", "-"))
    assert [role["acquisitions"] for role in document["roles"]] == [1, 3]


@pytest.mark.parametrize("command", [("flame", "-o", "-"), ("stacks",)])
def test_flames_and_longest_holds_are_the_same(
    capsys: Capture, both: tuple[Path, Path], command: tuple[str, ...]
) -> None:
    truth, ours = (run(capsys, *command, source) for source in both)
    assert ours == truth != ""


def test_a_file_and_its_recording_do_not_differ_but_in_kind(
    capsys: Capture, both: tuple[Path, Path]
) -> None:
    out = run(capsys, "diff", *both)
    changes = [line.split()[1:] for line in out.splitlines() if line.startswith("  change")]
    assert changes == [["="] * 5] * len(changes) != []
    text = " ".join(out.split())
    assert (
        "A is of the whole life of the process, boot and idle time among it; B is of the time"
        in text
    )
    assert "A file of `bqlscope record` is compared with the sums of a recording" in text
    assert "marked window" not in text


def test_two_files_are_compared_without_that_remark(
    capsys: Capture, both: tuple[Path, Path], tmp_path: Path
) -> None:
    _, events = both
    text = " ".join(run(capsys, "diff", events, events).split())
    assert "compared with the sums" not in text
    assert "A is of" not in text
    killed = tmp_path / "killed.events"
    killed.write_bytes(events.read_bytes()[:-20])
    text = " ".join(run(capsys, "diff", events, killed).split())
    assert "B: cut off at byte" in text
    assert "Only in" not in text
    (tmp_path / "saved").mkdir()
    saved = save_comparison(tmp_path / "saved", recordings=False)
    assert "give two of a kind" in run(capsys, "diff", events, saved, status=2)


def test_progress_begins_after_two_seconds_and_leaves_a_terminal_clean() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in (
        (io.StringIO(), "reading vm.events: 50%, about 3 s left\n"),
        (Terminal(), "\r\x1b[Kreading vm.events: 50%, about 3 s left\r\x1b[K"),
    ):
        instants = iter((100.0, 101.9, 103.0, 103.1))
        reading = Reading("vm.events", stream, instants.__next__)
        for part in (0.4, 0.5, 0.6):
            reading(part)
        reading.clear()
        assert stream.getvalue() == shown


def batch(waits: list[tuple[int, int]]) -> Batch:
    """Contended acquisitions out of (request, wait)."""
    request, wait = (np.array(column, np.uint64) for column in zip(*waits, strict=True))
    zero = np.zeros(len(waits), np.uint64)
    contended = np.ones(len(waits), bool)
    columns = [zero, request + wait, wait, zero, zero, zero, contended, zero, zero]
    kinds = [kind for _, kind in Batch.TYPES]
    return Batch(*(c.astype(kind) for c, kind in zip(columns, kinds, strict=True)))


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 900)), min_size=1, max_size=20),
    st.integers(1, 40),
    st.sampled_from([4, 64, 4096]),
)
def test_the_worst_pieces_have_the_most_waiting_to_the_tick(
    waits: list[tuple[int, int]], width: int, most: int
) -> None:
    waiting = Waiting(500, width, most)
    for wait in waits:
        waiting.add(batch([wait]))
    found = waiting.worst(100)

    def inside(start: int, end: int) -> int:
        return sum(max(0, min(end, r + w) - max(start, r, 500)) for r, w in waits)

    if found is None:
        assert inside(500, 4000) == 0
        return
    start, end = found
    steps = range(500, 4000, waiting.width)
    assert inside(start, end) == max(inside(at, at + end - start) for at in steps)
    assert end - start < 100 + waiting.width or end - start <= most * waiting.width


def test_nonsense_does_not_move_the_pieces() -> None:
    waiting = Waiting(0, 10)
    waiting.add(batch([(5, 20), (2**64 - 50, 40), (2**63, 7)]))
    assert (waiting.width, waiting.worst(30)) == (10, (0, 30))


def test_too_many_events_in_the_stretch_keep_the_longest(tmp_path: Path) -> None:
    build = jam((0, 0, 0, 0))
    drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    file = event_file(tmp_path / "r.events")
    assert file is not None
    with file:
        snapshot = file.snapshot()
        found = worst_stretch(file, snapshot, (START, START + 50 * MS), 50 * MS, most=3)
    kept = [int(r["wait"] + r["hold"]) for log in logs(found.snapshot) for r in log.records]
    assert (found.left_out, sorted(kept)) == (5, [6 * MS, 8 * MS, 9 * MS])


def logs(snapshot: Snapshot) -> list[EventLog]:
    return list(snapshot.events.values())


def test_only_chunks_that_touch_a_span_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain(relay().write(tmp_path / "r.bql"), tmp_path / "r.events")
    file = event_file(tmp_path / "r.events")
    assert file is not None
    with file:
        file.snapshot()
        between = [len(part) for part in file.between(START + 5000, START + 5200)]
        monkeypatch.setattr("profiler.traces.source.fmt.unpack", None)
        after = list(file.between(START + 9100, START + 99_999))
    assert (between, after) == ([2], [])  # between two holds both vCPUs wait
