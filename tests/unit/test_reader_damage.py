# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged, truncated and foreign files: one clear line each, never a crash."""

import os
from pathlib import Path

import pytest

from profiler.errors import RecordingError
from profiler.model import Snapshot
from profiler.reader import Recording
from tests.support.recordings import RecordingBuilder, example


def read(path: Path) -> Snapshot:
    with Recording.open(path) as recording:
        return recording.snapshot(events=True)


DAMAGE = {
    "magic": (0, "not a recording"),
    "version": (9, "layout version 9; this program reads version 4"),
    "header_size": (8, "the header is too short"),
    "file_size": (1 << 40, "truncated: "),
    "buckets": (361, "361 histogram buckets"),
    "clock_kind": (3, "clock 3 does not exist"),
    "clock_seq": (1, "stopped while it set its clock"),
    "clock_ticks": (1, "clock runs backwards"),
    "live_offset": (1 << 50, "live state lies outside"),
    "sites_offset": (1 << 50, "site table lies outside"),
    "rows_offset": ((1 << 64) - 8, "row table lies outside"),
    "threads_offset": (1 << 50, "thread table lies outside"),
    "threads_capacity": (0, "a capacity of 0 threads"),
    "events_capacity": ((1 << 32) - 1, "a capacity of 4294967295 events"),
    "rows_stride": (64, "64 bytes for each of rows"),
    "near_buckets": (193, "193 near buckets"),
    "spill_offset": (1 << 50, "spill of the rows lies outside"),
    "spill_stride": (64, "64 bytes for the spill of a row"),
    "blame_offset": (1 << 31, "tables lie outside its block"),
    "threads_used": (5, "5 threads in a table of 4"),
    "sites_used": (9, "9 sites in a table of 8"),
}


@pytest.mark.parametrize("field", DAMAGE)
def test_a_damaged_header_is_one_clear_line(tmp_path: Path, field: str) -> None:
    value, problem = DAMAGE[field]
    build = example()
    build.header[field] = value
    path = build.write(tmp_path / "r.bql")
    with pytest.raises(RecordingError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count(str(path)) == 1
    assert problem in caught.value.message
    assert "\n" not in caught.value.message


def test_records_that_contradict_the_layout_are_damage(tmp_path: Path) -> None:
    def role(build: RecordingBuilder) -> None:
        build.threads["role"][0] = 8

    def row_index(build: RecordingBuilder) -> None:
        build.threads["row_of_site"][0][5] = 999

    def blames(build: RecordingBuilder) -> None:
        build.threads["blames_used"][2] = 17

    def row_owner(build: RecordingBuilder) -> None:
        build.row(1, 3)["thread"] = 2

    def nobody(build: RecordingBuilder) -> None:
        build.blame[2]["holder"][0] = 0

    def event_kind(build: RecordingBuilder) -> None:
        build.events[2]["detail"][0] = 3 << 16

    def reason(build: RecordingBuilder) -> None:
        build.hold_now(0, 1)
        build.live["blocked"] = 10

    for damage in (role, row_index, blames, row_owner, nobody, event_kind, reason):
        build = example()
        damage(build)
        with pytest.raises(RecordingError, match=r"r\.bql: damaged: "):
            read(build.write(tmp_path / "r.bql"))


def test_a_file_that_shrinks_while_it_is_open_is_truncated_not_fatal(tmp_path: Path) -> None:
    path = example().write(tmp_path / "r.bql")
    with Recording.open(path) as recording:
        os.truncate(path, 9_000)
        with pytest.raises(RecordingError, match="truncated: nothing at byte"):
            recording.snapshot()


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, problem in (
        (tmp_path, "not a regular file"),
        (tmp_path / "fifo", "not a regular file"),
        (tmp_path / "none", "no such file"),
        (Path("/a\0b"), "null"),
    ):
        with pytest.raises(RecordingError, match=problem):
            Recording.open(path)


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    snapshot = read(example(vm_name="\x1b[31mred").write(tmp_path / "r.bql"))
    assert snapshot.process.vm_name == "\N{REPLACEMENT CHARACTER}[31mred"
