# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of a recording against its snapshot, which is read in another way."""

import os
from pathlib import Path

import numpy as np
import pytest

from profiler import layout
from profiler.errors import RecordingError
from profiler.layout import Hist
from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.table import Table
from tests.support.big_recording import big_recording
from tests.support.recordings import RecordingBuilder, example


def both(path: Path) -> tuple[Table, Snapshot]:
    with Recording.open(path) as recording:
        return recording.table(), recording.snapshot()


def assert_equal(table: Table, snapshot: Snapshot) -> None:
    """Every number of the table is in the snapshot, and none is missing."""
    rows = {(row.thread, row.site): row for row in snapshot.rows}
    assert len(table.rows) == len(rows)
    everything = np.arange(len(table.rows))
    waits, holds = table.rows.waits(everything), table.rows.holds(everything)
    for index, head in enumerate(table.rows.heads):
        row = rows[int(head["thread"]), int(head["site"])]
        assert tuple(head["acquisitions"]) == row.acquisitions
        assert tuple(head["blocked_ticks"]) == row.blocked_ticks
        assert [int(head[n]) for n in ("contended", "wait_total", "hold_total", "max_wait")] == [
            row.contended,
            row.wait_total,
            row.hold_total,
            row.max_wait,
        ]
        assert list(waits[index]) == list(row.wait_hist.counts[: layout.BUCKETS])
        assert list(holds[index]) == list(row.hold_hist.counts[: layout.BUCKETS])
    blame = sorted(
        (int(thread), int(entry["waiter_site"]), int(entry["ticks"]), int(entry["count"]))
        for thread, entry in zip(table.blame_threads, table.blame, strict=True)
    )
    assert blame == sorted(
        (entry.waiter.thread, entry.waiter.site, entry.ticks, entry.count)
        for entry in snapshot.blame
    )
    assert (table.sites, table.holder, table.waiters) == (
        snapshot.sites,
        snapshot.holder,
        snapshot.waiters,
    )
    assert [thread.tid for thread in table.threads] == [thread.tid for thread in snapshot.threads]
    assert (table.taken, table.losses) == (snapshot.taken, snapshot.losses)


def test_a_table_says_what_the_snapshot_says(tmp_path: Path) -> None:
    table, snapshot = both(example().write(tmp_path / "r.bql"))
    assert_equal(table, snapshot)
    assert table.rows.unsettled == 0


def test_a_table_of_many_chunks_says_what_the_snapshot_says(tmp_path: Path) -> None:
    assert_equal(*both(big_recording(9, 113).write(tmp_path / "r.bql")))


@pytest.mark.parametrize("interleaved", [False, True])
def test_rows_that_have_spilled_are_read_with_their_spill(
    tmp_path: Path, interleaved: bool
) -> None:
    build = big_recording(5, 7, every_bucket=True, interleaved=interleaved)
    assert (build.rows["spills"][5:] > 0).all()
    assert_equal(*both(build.write(tmp_path / "r.bql")))


def advance(build: RecordingBuilder, path: Path, thread: int, site: int) -> None:
    """One more acquisition in the file, with the counter moved as the recorder does."""
    build.acquire(thread, site, hold=99)
    build.threads["seq"][thread] += 2
    path.write_bytes(build.data)


def test_only_chunks_of_threads_that_did_something_are_read_again(tmp_path: Path) -> None:
    build = big_recording(9, 140)
    path = build.write(tmp_path / "r.bql")
    with Recording.open(path) as recording:
        assert recording.table().rows.read == 9 * 141
        assert recording.table().rows.read < 32  # the threads' rows of site 0, which nobody uses
        advance(build, path, 3, 7)
        again = recording.table()
        assert 0 < again.rows.read < 9 * 141
        assert_equal(again, recording.snapshot())


def test_a_spill_that_grew_is_read_again(tmp_path: Path) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")
    row = build.row(2, 2)
    with Recording.open(path) as recording:
        for spills in range(3):
            assert int(row["spills"][0]) == spills
            assert_equal(recording.table(), recording.snapshot())
            build.acquire(2, 2, hold=1 << 30)
            advance(build, path, 2, 2)


def test_a_spill_read_amid_its_change_is_read_again(tmp_path: Path) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")
    number = build.row_number(2, 2)
    with Recording.open(path) as recording:
        recording.table()
        build.threads["seq"][2] += 1  # killed, or caught, between the two halves of a spill
        build.row(2, 2)["seq"] += 1
        build.row(2, 2)["spills"] += 1
        path.write_bytes(build.data)
        assert recording.table().rows.unsettled == 1
        build.threads["seq"][2] += 1
        build.row(2, 2)["seq"] += 1
        build.row(2, 2)["acquisitions"][0, 0] += 1
        build.spill["count"][number, Hist.HOLD, 300] += np.uint64(1)
        path.write_bytes(build.data)
        assert_equal(recording.table(), recording.snapshot())


def test_a_count_of_more_than_16_bits_is_read(tmp_path: Path) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")
    before = (1 << 16) - 2
    build.count(build.row_number(2, 2), Hist.HOLD, bucket=9, count=before)
    build.row(2, 2)["acquisitions"][0, 0] += before
    with Recording.open(path) as recording:
        for counted in range(before, before + 4):
            advance(build, path, 2, 3)
            table = recording.table()
            assert_equal(table, recording.snapshot())
            assert counted in table.rows.holds(np.arange(len(table.rows)))
            build.acquire(2, 2, hold=9)
    assert int(build.row(2, 2)["spills"][0]) == 1


def test_rows_that_appear_later_are_read(tmp_path: Path) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")
    with Recording.open(path) as recording:
        before = len(recording.table().rows)
        advance(build, path, 2, 1)
        assert len(recording.table().rows) == before + 1
        assert_equal(recording.table(), recording.snapshot())


def test_a_row_that_does_not_add_up_is_taken_as_it_is_and_counted(tmp_path: Path) -> None:
    build = example()
    build.threads["seq"][2] = build.row(2, 2)["seq"] = 1
    build.row(2, 2)["acquisitions"][0][0] += 1
    table, _ = both(build.write(tmp_path / "r.bql"))
    assert table.rows.unsettled == 1
    index = next(i for i, head in enumerate(table.rows.heads) if head["seq"] == 1)
    assert int(table.rows.unwaited[index]) == 1


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("rows_used", 13, "13 rows in a table of 12"),
        ("threads_used", 5, "5 threads in a table of 4"),
        ("magic", 0, "not a recording"),
    ],
)
def test_a_damaged_header_is_one_clear_line(
    tmp_path: Path, field: str, value: int, problem: str
) -> None:
    build = example()
    build.header[field] = value
    path = build.write(tmp_path / "r.bql")
    with pytest.raises(RecordingError, match=problem) as caught:
        both(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_row_of_a_thread_that_is_not_there_is_damage(tmp_path: Path) -> None:
    build = example()
    build.row(1, 3)["thread"] = 77
    with pytest.raises(RecordingError, match=r"r\.bql: damaged: a row of thread 77"):
        both(build.write(tmp_path / "r.bql"))


def test_a_file_that_shrinks_between_two_tables_is_truncated_and_heals(tmp_path: Path) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")
    with Recording.open(path) as recording:
        recording.table()
        os.truncate(path, 9_000)
        with pytest.raises(RecordingError, match="truncated: nothing at byte"):
            recording.table()
        path.write_bytes(build.data)
        assert_equal(recording.table(), recording.snapshot())
