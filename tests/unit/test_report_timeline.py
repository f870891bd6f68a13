# SPDX-License-Identifier: GPL-2.0-or-later
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.layout import Role
from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.reports.timeline import (
    COLUMNS,
    MOST_LANES,
    MOST_WAITS,
    _waiting_before,
    covered_ns,
    timeline,
)
from tests.support.recordings import RecordingBuilder
from tests.support.reports import MS, busy


def snapshot(tmp_path: Path, build: RecordingBuilder) -> Snapshot:
    with Recording.open(build.write(tmp_path / "r.bql")) as opened:
        return opened.snapshot(events=True)


def two_threads(events: int = 64, threads: int = 4) -> tuple[RecordingBuilder, int, int, int]:
    build = RecordingBuilder(ticks_per_ns=1.0, events=events, threads=threads, rows=80)
    main, cpu = build.thread(Role.MAIN, "qemu"), build.thread(Role.VCPU, "CPU 0/KVM")
    return build, main, cpu, build.site("main-loop.c", 1, "poll")


def test_the_worst_stretch_is_the_one_with_the_most_waiting(tmp_path: Path) -> None:
    build, main, cpu, poll = two_threads()
    build.acquire(cpu, poll, hold=MS, blame=[(main, poll, 8 * MS)])
    build.now += 200 * MS
    for _ in range(3):
        build.acquire(cpu, poll, hold=MS, blame=[(main, poll, 5 * MS)])
    build.sync(after=100 * MS)
    found = timeline(snapshot(tmp_path, build))
    assert found is not None
    assert found.length == pytest.approx(50 * MS)
    assert [wait.wait for wait in found.waits] == [5 * MS] * 3
    assert [wait.number for wait in found.waits] == [1, 2, 3]
    assert [wait.request for wait in found.waits] == pytest.approx(
        [16.5 * MS, 22.5 * MS, 28.5 * MS]
    )


def test_a_short_recording_is_shown_whole(tmp_path: Path) -> None:
    build, main, cpu, poll = two_threads()
    build.acquire(cpu, poll, hold=MS, blame=[(main, poll, 8 * MS)])
    build.sync(after=MS)
    found = timeline(snapshot(tmp_path, build))
    assert found is not None
    assert found.length == pytest.approx(11 * MS)  # 1 ms before the first event


def test_holds_and_waits_are_slices_of_their_thread(tmp_path: Path) -> None:
    found = timeline(snapshot(tmp_path, busy()))
    assert found is not None
    assert [lane.label for lane in found.lanes] == ["main loop", "CPU 0", "CPU 1"]
    main, cpu0, cpu1 = found.lanes
    assert {piece.note for piece in main.holds} == {"main loop held it 3.00 ms"}
    assert {piece.note for piece in cpu1.waits} == {"CPU 1 waited 4.50 ms"}
    assert cpu0.holds == ()
    assert {haze.share for haze in cpu0.hold_haze} == {0.05}  # 1 µs of 104 µs, rounded up


def test_waits_know_their_holder_and_its_lane(tmp_path: Path) -> None:
    found = timeline(snapshot(tmp_path, busy()))
    assert found is not None
    longest = max(found.waits, key=lambda wait: wait.wait)
    assert (longest.waiter, longest.site) == ("CPU 1", "virtio-blk")
    assert (longest.holder, longest.holder_lane) == ("main loop", 0)
    assert longest.holder_site == "os_host_main_loop_wait main-loop.c:301"
    assert len(found.waits) <= MOST_WAITS


def test_without_waits_or_events_there_is_nothing_to_draw(tmp_path: Path) -> None:
    build, _, cpu, poll = two_threads()
    assert timeline(snapshot(tmp_path, build)) is None
    build.acquire(cpu, poll, hold=MS)
    build.sync()
    assert timeline(snapshot(tmp_path, build)) is None


def test_what_a_ring_forgot_is_marked_and_stretches_that_all_rings_cover_come_first(
    tmp_path: Path,
) -> None:
    build, main, cpu, poll = two_threads(events=8)
    build.acquire(cpu, poll, hold=MS, blame=[(main, poll, 20 * MS)])  # CPU 0's ring has this
    build.now += 100 * MS
    for _ in range(20):  # the main loop's ring has the last 7
        build.acquire(main, poll, hold=10 * MS)
    build.acquire(cpu, poll, hold=MS, blame=[(main, poll, 5 * MS)])
    build.sync(after=MS)
    shot = snapshot(tmp_path, build)
    found = timeline(shot)
    assert found is not None
    assert [wait.wait for wait in found.waits] == [5 * MS]
    assert covered_ns(shot) == pytest.approx(70 * MS + 7 * MS)  # the oldest slot may be torn
    assert [lane.unseen for lane in found.lanes] == [0.0, 0.0]


def test_a_stretch_that_no_ring_covers_whole_is_better_than_none(tmp_path: Path) -> None:
    build, main, cpu, poll = two_threads(events=8)
    build.acquire(cpu, poll, hold=MS, blame=[(main, poll, 20 * MS)])
    for _ in range(20):
        build.acquire(main, poll, hold=MS)
    build.sync(after=MS)
    found = timeline(snapshot(tmp_path, build))
    assert found is not None
    main_lane = next(lane for lane in found.lanes if lane.label == "main loop")
    assert main_lane.unseen == pytest.approx(35 * MS)


def test_a_wait_that_reaches_out_of_the_stretch_is_drawn_to_its_edge(tmp_path: Path) -> None:
    build, main, cpu, poll = two_threads()
    build.acquire(cpu, poll, hold=MS, blame=[(main, poll, 80 * MS)])
    build.sync(after=MS)
    found = timeline(snapshot(tmp_path, build))
    assert found is not None
    (wait,) = found.waits
    assert wait.wait == 80 * MS
    assert wait.before or wait.beyond
    assert (wait.request, wait.acquired) == pytest.approx((0, 50 * MS))


def test_lanes_are_limited_to_the_busiest_threads(tmp_path: Path) -> None:
    build, main, cpu, poll = two_threads(threads=30)
    others = [build.thread(Role.WORKER, f"worker {n}") for n in range(20)]
    for thread in (cpu, *others):
        build.now -= 2 * MS
        build.acquire(thread, poll, hold=100_000, blame=[(main, poll, 2 * MS)])
    build.sync(after=MS)
    found = timeline(snapshot(tmp_path, build))
    assert found is not None
    assert len(found.lanes) == MOST_LANES
    assert found.omitted == 21 - MOST_LANES


def test_a_lane_has_no_more_slices_than_columns_however_many_events_there_are(
    tmp_path: Path,
) -> None:
    build, main, cpu, poll = two_threads(events=8192)
    for number in range(4000):
        build.acquire(cpu, poll, hold=300 + number, blame=[(main, poll, 200)])
    build.sync(after=MS)
    found = timeline(snapshot(tmp_path, build))
    assert found is not None
    for lane in found.lanes:
        assert len(lane.holds) + len(lane.hold_haze) <= 2 * COLUMNS
        assert len(lane.waits) + len(lane.wait_haze) <= 2 * COLUMNS


def test_a_damaged_event_is_left_out(tmp_path: Path) -> None:
    build = busy()
    build.events[2]["acquired"][3] = (1 << 64) - 5
    build.events[2]["wait"][4] = (1 << 63) + 1
    found = timeline(snapshot(tmp_path, build))
    assert found is not None
    assert all(0 <= wait.request <= wait.acquired for wait in found.waits)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 200)), min_size=1, max_size=30),
    st.lists(st.integers(0, 1500), min_size=1, max_size=10),
)
def test_waiting_before_an_instant_is_the_sum_of_all_clipped_waits(
    waits: list[tuple[int, int]], instants: list[int]
) -> None:
    request = np.array([start for start, _ in waits], dtype=np.int64)
    acquired = request + np.array([length for _, length in waits], dtype=np.int64)
    found = _waiting_before(np.array(instants, dtype=np.int64), request, acquired)
    expected = [sum(min(length, max(0, at - start)) for start, length in waits) for at in instants]
    assert found.tolist() == pytest.approx(expected)
