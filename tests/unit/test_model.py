# SPDX-License-Identifier: GPL-2.0-or-later
"""Differences between two snapshots: interval measurement."""

from dataclasses import replace
from pathlib import Path

import pytest

from profiler.model import Integrity, LiveHolder, Role, Site, Snapshot, Who
from profiler.reader import Recording
from tests.support.recordings import RecordingBuilder, example


def snap(build: RecordingBuilder, folder: Path) -> Snapshot:
    with Recording.open(build.write(folder / "r.bql")) as recording:
        return recording.snapshot(events=True)


def test_an_interval_has_only_what_happened_in_it(tmp_path: Path) -> None:
    build = example()
    earlier = snap(build, tmp_path)
    for i in range(7):
        build.acquire(2, 2, hold=11, blame=[(0, 1, 1_000 + i)], handoff=1, unknown=2)
    build.sync()
    between = snap(build, tmp_path).since(earlier)
    grown = {row.who: row for row in between.rows if row.total}
    assert set(grown) == {Who(2, 2)}
    row = grown[Who(2, 2)]
    assert (row.total, row.contended, row.hold_total) == (7, 7, 77)
    assert (row.wait_total, row.handoff, row.unknown) == (7_021 + 21, 7, 14)
    assert row.wait_hist.total == row.hold_hist.total == 7
    assert [(e.waiter, e.holder, e.ticks, e.count) for e in between.blame] == [
        (Who(2, 2), Who(0, 1), 7_021, 7)
    ]
    assert between.start == earlier.taken
    assert between.events[2].records["wait"].tolist() == [1_003 + i for i in range(7)]
    assert (between.events[2].written, between.events[0].written) == (7, 0)


def test_a_maximum_of_the_interval_is_exact_if_it_is_the_largest_ever(tmp_path: Path) -> None:
    build = example()
    earlier = snap(build, tmp_path)
    build.acquire(2, 2, hold=999_983, blame=[(1, 3, 888_887)])
    between = snap(build, tmp_path).since(earlier)
    row = next(row for row in between.rows if row.who == Who(2, 2))
    assert (row.max_hold, row.max_wait, row.max_wait_by) == (999_983, 888_887, Who(1, 3))
    assert next(e.max for e in between.blame) == 888_887


def test_a_maximum_older_than_the_interval_gives_way_to_a_close_bound(tmp_path: Path) -> None:
    build = example()
    earlier = snap(build, tmp_path)
    build.acquire(2, 2, hold=97, blame=[(0, 1, 401)])
    between = snap(build, tmp_path).since(earlier)
    row = next(row for row in between.rows if row.who == Who(2, 2))
    assert 97 <= row.max_hold <= 97 * 1.125
    assert 401 <= row.max_wait <= 401 * 1.125
    assert row.max_wait_by is None
    assert next(e.max for e in between.blame) == 401


def test_an_interval_without_acquisitions_has_no_maximum(tmp_path: Path) -> None:
    snapshot = snap(example(), tmp_path)
    between = snapshot.since(snapshot)
    assert {(row.total, row.max_hold, row.max_wait) for row in between.rows} == {(0, 0, 0)}
    assert between.blame == ()
    assert between.elapsed == 0


def test_rows_and_threads_that_are_new_count_in_full(tmp_path: Path) -> None:
    build = RecordingBuilder()
    main = build.thread(Role.VCPU, "main")
    earlier = snap(build, tmp_path)
    late = build.thread(Role.VCPU, "late")
    site = build.site("a.c", 1, "a")
    for thread in (main, late):
        build.acquire(thread, site, hold=13)
    build.sync()
    between = snap(build, tmp_path).since(earlier)
    assert sorted((row.thread, row.total) for row in between.rows) == [(0, 1), (1, 1)]
    assert between.events[late].written == 1


def test_a_log_with_fewer_events_is_not_a_later_one(tmp_path: Path) -> None:
    build = example()
    before = snap(build, tmp_path).events[2]
    build.acquire(2, 2, hold=1)
    after = snap(build, tmp_path).events[2]
    with pytest.raises(ValueError, match="is the later one"):
        before.since(after)


def test_the_holder_at_the_start_is_kept(tmp_path: Path) -> None:
    build = example()
    build.hold_now(0, 1)
    earlier = snap(build, tmp_path)
    assert isinstance(earlier.holder, LiveHolder)
    assert snap(build, tmp_path).since(earlier).initial_holder == earlier.holder


def test_counts_of_a_moving_record_never_go_below_zero(tmp_path: Path) -> None:
    build = example()
    earlier = snap(build, tmp_path)
    row = earlier.rows[0]
    ahead = type(row)(**{**row.__dict__, "integrity": Integrity.MOVING})
    behind = type(row)(
        **{**row.__dict__, "hold_hist": row.hold_hist - row.hold_hist, "contended": row.contended}
    )
    between = behind.since(ahead)
    assert between.hold_hist.total == 0
    assert between.integrity is Integrity.MOVING


def test_snapshots_of_different_processes_or_in_the_wrong_order_are_refused(
    tmp_path: Path,
) -> None:
    build = example()
    earlier = snap(build, tmp_path)
    build.sync()
    later = snap(build, tmp_path)
    with pytest.raises(ValueError, match="the earlier snapshot is the later one"):
        earlier.since(later)
    with pytest.raises(ValueError, match="different processes"):
        snap(example(pid=4_000_002), tmp_path).since(earlier)


def test_a_record_that_ended_before_the_last_look_at_it_is_still_the_later_one(
    tmp_path: Path,
) -> None:
    build = example()
    ended = snap(build, tmp_path)
    running = replace(ended, taken=ended.taken + 1_000, process=replace(ended.process, alive=True))
    interval = ended.since(running)
    assert (interval.start, interval.elapsed) == (ended.taken, 0)
    with pytest.raises(ValueError, match="the earlier snapshot is the later one"):
        ended.since(replace(running, process=ended.process))


@pytest.mark.parametrize(
    ("site", "label"),
    [
        (Site(1, "/src/a/b.c", 7, "f", "serial"), "serial"),
        (Site(1, "/src/a/b.c", 7, "f", ""), "f b.c:7"),
        (Site(1, "b.c", 7, "", ""), "b.c:7"),
        (Site(0, "", 0, "", ""), "(other)"),
    ],
)
def test_a_site_is_labelled_by_region_else_by_function_and_place(site: Site, label: str) -> None:
    assert site.label == label
