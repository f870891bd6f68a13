# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of events: what goes in comes out, and drops are counted exactly."""

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler import layout
from profiler.errors import RecordingError, UserError
from profiler.model import Kind, Who
from profiler.traces import format as fmt
from profiler.traces.batch import Batch, Holes
from profiler.traces.capture import Limits
from profiler.traces.files import EventFiles
from profiler.traces.format import Segment, pack_events, unpack, unpack_events
from profiler.traces.source import EventFile, Rings, open_source
from tests.support.events import START, drain, relay
from tests.support.recordings import RecordingBuilder, example

ticks = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))
holders = st.one_of(
    st.just(0), st.builds(layout.who, st.integers(0, layout.NO_THREAD), st.integers(0, 0xFFFF))
)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    count = draw(st.integers(1, 8))
    raw = np.zeros(count, layout.EVENT)
    for slot in raw:
        contended = draw(st.booleans())
        slot["acquired"], slot["hold"] = draw(ticks), draw(ticks)
        slot["detail"] = draw(st.integers(0, 0xFFFF)) | draw(st.integers(0, 2)) << 16
        if contended:
            slot["wait"] = draw(ticks)
            slot["detail"] |= np.uint64(layout.EVENT_CONTENDED | draw(holders) << 32)
    return Segment(draw(st.integers(0, 255)), draw(st.integers(0, 2**40)), raw)


def columns(batch: Batch) -> list[list[int]]:
    return [getattr(batch, name).tolist() for name, _ in Batch.TYPES]


def everything(path: Path) -> Batch:
    with open_source(path) as source:
        return Batch.joined(list(source.batches()))


@given(st.lists(segments(), min_size=1, max_size=5))
def test_any_events_survive_a_chunk_unchanged(parts: list[Segment]) -> None:
    stored = pack_events(parts)
    header, body = stored[: fmt.CHUNK_HEADER.size], stored[fmt.CHUNK_HEADER.size :]
    raw = unpack(header, body)
    assert raw is not None
    runs, batch = unpack_events(raw)
    assert [(r.thread, r.first, r.count) for r in runs] == [
        (p.thread, p.first, len(p.raw)) for p in parts
    ]
    slots = np.concatenate([part.raw for part in parts])
    assert batch.acquired.tolist() == slots["acquired"].tolist()
    assert batch.hold.tolist() == slots["hold"].tolist()
    assert batch.wait.tolist() == slots["wait"].tolist()
    assert batch.site.tolist() == (slots["detail"] & 0xFFFF).tolist()
    assert batch.contended.tolist() == (slots["detail"] >> 18 & 1).astype(bool).tolist()


def test_a_recording_and_its_file_of_events_say_the_same(tmp_path: Path) -> None:
    recording = relay().write(tmp_path / "r.bql")
    totals = drain(recording, tmp_path / "r.events")
    assert (totals.reason, totals.events, totals.dropped, totals.lost) == ("ended", 4, 0, 0)
    with open_source(recording) as rings, open_source(tmp_path / "r.events") as file:
        assert isinstance(rings, Rings)
        assert isinstance(file, EventFile)
        known = {i: replace(thread, exits=()) for i, thread in rings.names.threads.items()}
        assert file.names == replace(rings.names, threads=known)  # exits are no events
        assert (file.clock, file.reason, file.notes) == (rings.clock, "ended", [])
        assert (file.process.pid, file.process.name) == (rings.process.pid, rings.process.name)
        ours, theirs = (Batch.joined(list(source.batches())) for source in (file, rings))
    assert columns(ours) == columns(theirs)
    assert ours.thread.tolist() == [0, 1, 2, 2]
    assert (ours.requested - np.uint64(START)).tolist() == [1000, 2000, 1400, 9000]
    assert (ours.released - np.uint64(START)).tolist() == [5000, 6200, 6800, 9100]
    assert ours.kind.tolist() == [Kind.LOCK] * 3 + [Kind.TRYLOCK]
    assert ours.holder_thread.tolist() == [-1, 0, 0, -1]


def test_the_sum_of_all_events_is_what_the_recorder_counted(tmp_path: Path) -> None:
    recording = relay().write(tmp_path / "r.bql")
    drain(recording, tmp_path / "r.events")
    with open_source(recording) as rings, open_source(tmp_path / "r.events") as file:
        truth, ours = rings.snapshot(), file.snapshot()
    assert {row.who: row for row in ours.rows} == {row.who: row for row in truth.rows if row.total}
    blamed = {(entry.waiter, entry.holder): entry for entry in ours.blame}
    assert blamed == {(entry.waiter, entry.holder): entry for entry in truth.blame}
    assert blamed[Who(2, 3), Who(0, 1)].ticks == 3600


def test_overwritten_events_are_counted_per_thread(tmp_path: Path) -> None:
    build = RecordingBuilder(events=8)
    quick, slow = build.thread(layout.Role.VCPU, "quick"), build.thread(layout.Role.VCPU, "slow")
    for _ in range(29):
        build.acquire(quick, 0, hold=3)
    build.acquire(slow, 0, hold=5)
    build.threads["events_lost"][slow] = 11
    totals = drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    # Of a ring of 8 that is full, the oldest slot may be in the writer's hands.
    assert (totals.events, totals.dropped, totals.lost) == (7 + 1, 29 - 7, 11)
    with open_source(tmp_path / "r.events") as source:
        assert source.dropped == 29 - 7 + 11
        assert source.notes == ["33 acquisitions were dropped while recording"]


def test_waits_among_dropped_events_are_unknown_not_hand_over(tmp_path: Path) -> None:
    build = RecordingBuilder(events=4)
    main, cpu = build.thread(layout.Role.MAIN, "main"), build.thread(layout.Role.VCPU, "cpu")
    build.acquire(cpu, 0, hold=10, blame=[(main, 0, 500)])  # of a hold that is overwritten
    for _ in range(6):
        build.acquire(main, 0, hold=100)
    build.acquire(cpu, 0, hold=10, blame=[(main, 0, 90)], handoff=7)
    drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    with open_source(tmp_path / "r.events") as source:
        assert (len(source.holes.starts), source.dropped) == (1, 3)
        (row,) = [row for row in source.snapshot().rows if row.thread == cpu]
    # The builder's second wait follows the last hold, so nothing explains it but hand-over.
    assert (row.unknown, row.handoff, row.wait_total) == (500, 97, 597)


def test_holes_are_merged_and_found() -> None:
    holes = Holes.of([(50, 60), (10, 20), (15, 30)])
    assert (holes.starts.tolist(), holes.ends.tolist()) == ([10, 50], [30, 60])
    spans = np.array([[0, 10], [0, 11], [30, 50], [29, 30], [40, 70], [60, 99]], np.uint64)
    touched = holes.touch(spans[:, 0], spans[:, 1]).tolist()
    assert touched == [False, True, False, True, True, False]


def test_a_full_file_ends_the_recording_or_begins_another(tmp_path: Path) -> None:
    recording = example().write(tmp_path / "r.bql")
    output = tmp_path / "r.events"
    for _ in range(3):
        totals = drain(recording, output, Limits(file_size=1), rotate=2)
    assert totals.files == 2
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".bql")
    assert names == ["r.events", "r.events.1", "r.events.2"]
    with open_source(tmp_path / "r.events.1") as older, open_source(output) as newest:
        assert isinstance(older, EventFile)
        assert isinstance(newest, EventFile)
        assert (older.reason, newest.reason) == ("rotated", "ended")
        assert (older.part, newest.part) == (0, 1)
        assert older.names == newest.names
    assert len(everything(tmp_path / "r.events.1")) == 47
    assert len(everything(output)) == 0


def test_a_file_of_events_is_private(tmp_path: Path) -> None:
    drain(relay().write(tmp_path / "r.bql"), tmp_path / "r.events")
    assert stat.S_IMODE((tmp_path / "r.events").stat().st_mode) == 0o600


def test_a_foreign_file_is_never_overwritten(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("ten years of work")
    with pytest.raises(UserError, match=r"thesis\.txt exists and is no file"):
        EventFiles(precious)
    assert precious.read_text() == "ten years of work"


def test_a_disk_that_is_full_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("profiler.traces.files.os.write", full)
    with pytest.raises(UserError, match=r"cannot write .*/r\.events: no space left on device"):
        with EventFiles(tmp_path / "r.events"):
            pass


def test_only_regular_files_are_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match="fifo is not a regular file"):
        EventFiles(tmp_path / "fifo")


def test_a_process_that_is_not_there_is_one_clear_error() -> None:
    with pytest.raises(RecordingError, match="process 4000001 has no recording"):
        open_source(4_000_001)
