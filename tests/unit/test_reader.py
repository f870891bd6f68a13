# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader against recordings whose content is known to the last tick."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler import layout
from profiler.discovery import recording_directories
from profiler.errors import RecordingError
from profiler.geometry import Geometry
from profiler.layout import Blocked, FileState, Role, ThreadState
from profiler.model import Integrity, Kind, LiveHolder, Snapshot, Who
from profiler.reader import Recording, find_recordings
from profiler.recfile import RecordingFile
from profiler.thread_copy import copy_thread
from tests.support.recordings import (
    START_MONOTONIC_NS,
    START_REALTIME_NS,
    START_TICKS,
    RecordingBuilder,
    example,
    written_by_us,
)


def read(path: Path, events: bool = True) -> Snapshot:
    with Recording.open(path) as recording:
        return recording.snapshot(events=events)


class RecordingThatMoves(RecordingFile):
    """Calls `step` with the number of each read of a 32-bit number, before it happens."""

    def __init__(self, path: Path, step: Callable[[int], None]) -> None:
        super().__init__(path)
        self._step = step
        self._reads = 0

    def u32(self, offset: int) -> int:
        self._step(self._reads)
        self._reads += 1
        return super().u32(offset)


def geometry_of(file: RecordingFile) -> Geometry:
    return Geometry.of(file.record(0, layout.HEADER), file.size)


def test_rows_carry_the_exact_counts_and_ticks(tmp_path: Path) -> None:
    snapshot = read(example().write(tmp_path / "r.bql"))
    rows = {(row.thread, snapshot.site_label(row.site)): row for row in snapshot.rows}
    serial = rows[2, "serial"]
    assert (serial.total, serial.contended, serial.hold_total) == (17, 17, 17 * 301)
    assert serial.wait_total == sum(5_003 + i + 97 + 13 for i in range(17))
    assert (serial.handoff, serial.unknown) == (17 * 13, 0)
    assert serial.max_wait == 5_003 + 16 + 97 + 13
    assert serial.max_wait_by == Who(0, 1)
    poll = rows[0, "os_host_main_loop_wait main-loop.c:301"]
    assert (poll.total, poll.contended, poll.wait_total) == (23, 0, 0)
    assert poll.gil_ticks == 23 * 101
    assert poll.blocked_count[Blocked.GIL] == 23
    assert poll.max_hold == 7_001 + 22
    ioapic = rows[1, "ioapic"]
    assert ioapic.acquisitions == (5, 1, 0)
    assert ioapic.trylock_failed == 3
    assert ioapic.unknown == 15


def test_uncontended_waits_are_in_bucket_zero_of_the_histogram(tmp_path: Path) -> None:
    snapshot = read(example().write(tmp_path / "r.bql"))
    for row in snapshot.rows:
        assert row.wait_hist.total == row.total == row.hold_hist.total
    poll = next(row for row in snapshot.rows if row.thread == 0 and row.site == 1)
    assert int(poll.wait_hist.counts[0]) == 23


def test_threads_sites_and_process_are_named(tmp_path: Path) -> None:
    path = example(vm_name="web é", pid=4_000_777).write(tmp_path / "r.bql")
    snapshot = read(path)
    assert [(t.tid, t.role, t.name) for t in snapshot.threads] == [
        (901, Role.MAIN, "qemu-system-x86"),
        (902, Role.VCPU, "CPU 0/KVM"),
        (903, Role.VCPU, "CPU 1/KVM"),
    ]
    assert {t.integrity for t in snapshot.threads} == {Integrity.EXACT}
    assert [snapshot.site_label(i) for i in range(4)] == [
        "(other)",
        "os_host_main_loop_wait main-loop.c:301",
        "serial",
        "ioapic",
    ]
    process = snapshot.process
    assert (process.pid, process.name, process.vm_name) == (4_000_777, "qemu-system-x86", "web é")
    assert not process.alive
    assert process.path == path


def test_events_are_decoded_in_order_with_their_first_holder(tmp_path: Path) -> None:
    log = read(example().write(tmp_path / "r.bql")).events[2]
    assert (log.written, log.lost, log.dropped) == (17, 0, 0)
    assert log.records["wait"].tolist() == [5_003 + i + 110 for i in range(17)]
    assert set(log.records["hold"].tolist()) == {301}
    assert set(log.records["holder_thread"].tolist()) == {0}
    assert set(log.records["holder_site"].tolist()) == {1}
    assert bool(log.records["contended"].all())
    assert (np.diff(log.records["acquired"].astype(np.int64)) > 0).all()


def test_kinds_of_events_and_unrecorded_holders_are_decoded(tmp_path: Path) -> None:
    build = RecordingBuilder()
    thread, site = build.thread(Role.RCU, "call_rcu"), build.site("rcu.c", 7, "call_rcu")
    stranger = (layout.NO_THREAD, site, 5)
    build.acquire(thread, site, hold=3, blame=[stranger], kind=Kind.COND)
    build.acquire(thread, site, hold=4)
    snapshot = read(build.write(tmp_path / "r.bql"))
    records = snapshot.events[thread].records
    assert records["kind"].tolist() == [Kind.COND, Kind.LOCK]
    assert records["holder_thread"].tolist() == [-2, -1]
    assert snapshot.blame[0].holder == Who(None, site)
    assert snapshot.thread_label(snapshot.blame[0].holder) == "(unrecorded)"


def test_an_overrun_ring_gives_its_newest_events_and_counts_the_rest(tmp_path: Path) -> None:
    build = RecordingBuilder(events=8)
    thread, site = build.thread(Role.MAIN, "main"), build.site("a.c", 1, "a")
    for hold in range(21):
        build.acquire(thread, site, hold=hold)
    log = read(build.write(tmp_path / "r.bql")).events[thread]
    # The slot that the next event goes to may be half written: seven of eight are safe.
    assert log.records["hold"].tolist() == list(range(14, 21))
    assert (log.written, log.dropped) == (21, 14)


def test_events_that_were_overwritten_during_the_copy_are_discarded(tmp_path: Path) -> None:
    build = RecordingBuilder(events=8)
    thread, site = build.thread(Role.MAIN, "main"), build.site("a.c", 1, "a")
    for hold in range(8):
        build.acquire(thread, site, hold=hold)
    path = build.write(tmp_path / "r.bql")
    file = RecordingFile(path)
    geometry = geometry_of(file)
    file.close()
    with Recording.open(path) as recording, path.open("r+b") as raw:
        ring_read = recording._file.records

        def records(offset: int, part: Any, count: int, kind: Any) -> Any:
            copied = ring_read(offset, part, count, kind)
            if kind is layout.EVENT:  # three more events arrive while the ring is copied
                raw.seek(geometry.threads.at(thread) + 64)
                raw.write((11).to_bytes(8, "little"))
                raw.flush()
            return copied

        recording._file.records = records  # type: ignore[method-assign]
        log = recording.snapshot(events=True).events[thread]
    assert log.records["hold"].tolist() == [4, 5, 6, 7]
    assert (log.written, log.dropped) == (8, 4)


def test_events_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    log = read(example().write(tmp_path / "r.bql"), events=False).events[2]
    assert (len(log.records), log.written, log.dropped) == (0, 17, 17)


def test_the_clock_converts_by_its_calibration(tmp_path: Path) -> None:
    clock = read(example(ticks_per_ns=2.5).write(tmp_path / "r.bql")).clock
    assert clock.ns(2_500_000) == pytest.approx(1_000_000, rel=1e-5)
    assert clock.monotonic_ns(START_TICKS) == pytest.approx(START_MONOTONIC_NS, abs=2)
    assert clock.realtime_ns(START_TICKS) == pytest.approx(START_REALTIME_NS, abs=2)
    assert clock.ticks_at(START_MONOTONIC_NS) == pytest.approx(START_TICKS, abs=5)


def test_a_monotonic_clock_needs_no_calibration(tmp_path: Path) -> None:
    build = example(ticks_per_ns=1.0)
    build.header["clock_kind"] = layout.ClockKind.MONOTONIC
    for unit in ("ticks", "monotonic_ns", "realtime_ns"):
        build.header[f"clock_{unit}"] = build.header[f"clock_start_{unit}"]
    assert read(build.write(tmp_path / "r.bql")).clock.ns(17) == 17.0


def test_the_live_holder_is_read_with_what_it_sleeps_for(tmp_path: Path) -> None:
    build = example()
    build.hold_now(0, 1, blocked=Blocked.DRAIN, waiters=2)
    snapshot = read(build.write(tmp_path / "r.bql"))
    assert snapshot.waiters == 2
    assert snapshot.holder == LiveHolder(Who(0, 1), build.now, Blocked.DRAIN, build.now)
    assert snapshot.taken >= build.now


def test_the_live_line_alone_says_who_holds_and_since_when(tmp_path: Path) -> None:
    build = example(ticks_per_ns=1.0)
    build.hold_now(0, 1, blocked=Blocked.DRAIN, waiters=3)
    with (
        written_by_us(build, tmp_path / "live.bql"),
        Recording.open(tmp_path / "live.bql") as open_,
    ):
        live, snapshot = open_.live(), open_.snapshot()
    assert (live.holder, live.waiters, live.alive) == (snapshot.holder, 3, True)
    elapsed = time.monotonic_ns() - START_MONOTONIC_NS
    assert 0 < live.held_ns <= elapsed
    free = example(ticks_per_ns=1.0).write(tmp_path / "free.bql")
    with Recording.open(free) as open_:
        assert (open_.live().holder, open_.live().held_ns) == (None, 0.0)


def test_a_free_lock_has_no_holder(tmp_path: Path) -> None:
    snapshot = read(example().write(tmp_path / "r.bql"))
    assert (snapshot.holder, snapshot.waiters) == (None, 0)


def test_a_row_pool_overrun_shares_the_row_of_site_zero(tmp_path: Path) -> None:
    build = RecordingBuilder()
    thread = build.thread(Role.MAIN, "main")
    one, two = build.site("a.c", 1, "a"), build.site("b.c", 2, "b")
    build.row(thread, 0)
    for site in (one, two):
        build.threads["row_of_site"][thread][site] = thread + 1
        build.acquire(thread, site, hold=site)
    build.header["rows_lost"] = 2
    snapshot = read(build.write(tmp_path / "r.bql"))
    assert [(row.site, row.total) for row in snapshot.rows] == [(0, 2)]
    assert snapshot.losses.rows == 2


def test_a_thread_that_wrote_during_a_copy_is_copied_again(tmp_path: Path) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")
    file: RecordingThatMoves

    def step(read_number: int) -> None:
        if read_number != 1:  # 0: the counter before the first copy, 1: after it
            return
        build.acquire(2, 2, hold=100_003)
        build.threads["seq"][2] += 2
        build.write(path)

    file = RecordingThatMoves(path, step)
    copy = copy_thread(file, geometry_of(file), 2, alive=True)
    file.close()
    assert copy.integrity is Integrity.EXACT
    assert int(copy.head["events_head"]) == 18
    assert max(int(row.head["max_hold"]) for row in copy.rows) == 100_003


def test_a_thread_that_never_rests_is_taken_as_moving(tmp_path: Path) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")

    def step(read_number: int) -> None:
        build.threads["seq"][2] += 2
        build.write(path)

    file = RecordingThatMoves(path, step)
    copy = copy_thread(file, geometry_of(file), 2, alive=True)
    file.close()
    assert copy.integrity is Integrity.MOVING
    assert all(row.exact for row in copy.rows)


def test_a_counter_left_odd_by_a_killed_process_marks_thread_and_row_torn(tmp_path: Path) -> None:
    build = example()
    build.threads["seq"][1] = 7
    build.row(1, 3)["seq"] = 9
    snapshot = read(build.write(tmp_path / "r.bql"))
    assert [t.integrity for t in snapshot.threads] == [
        Integrity.EXACT,
        Integrity.TORN,
        Integrity.EXACT,
    ]
    assert [r.integrity for r in snapshot.rows if r.thread == 1] == [Integrity.TORN]


def test_a_running_process_is_alive_and_its_copy_is_not(tmp_path: Path) -> None:
    path, copy = tmp_path / "r.bql", tmp_path / "copy.bql"
    with written_by_us(example(), path):
        copy.write_bytes(path.read_bytes())
        assert read(path).process.alive
        assert not read(copy).process.alive


def test_a_reused_process_id_is_not_the_recorded_process(tmp_path: Path) -> None:
    path = tmp_path / "r.bql"
    with written_by_us(example(), path) as mapped:
        build = example()
        build.header["pid"] = os.getpid()
        build.header["process_start_time"] = 1
        mapped[:] = bytes(build.data)
        assert not read(path).process.alive


def test_a_snapshot_of_a_live_process_ends_now(tmp_path: Path) -> None:
    path = tmp_path / "r.bql"
    with written_by_us(example(), path), Recording.open(path) as recording:
        first, second = recording.snapshot(), recording.snapshot()
    assert second.taken > first.taken


def test_a_new_calibration_never_sets_the_snapshots_of_a_live_process_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "r.bql", time.monotonic_ns()
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    with written_by_us(example(), path) as mapped, Recording.open(path) as recording:
        first = recording.snapshot()
        header = np.frombuffer(mapped, layout.HEADER, 1)
        synced = int(header["clock_monotonic_ns"][0])
        del header
        at = layout.HEADER.fields["clock_monotonic_ns"][1]  # type: ignore[index]
        mapped[at : at + 8] = (synced + 1_000).to_bytes(8, "little")
        second = recording.snapshot()
    assert second.clock.ticks_at(now) < first.clock.ticks_at(now)
    assert second.taken == first.taken
    assert second.since(first).elapsed == 0


def test_a_recording_is_found_by_process_id(tmp_path: Path) -> None:
    example(pid=4_000_009).write(tmp_path / "4000009.bql")
    for source in (4_000_009, "4000009"):
        with Recording.open(source, [tmp_path / "none", tmp_path]) as recording:
            assert recording.process.pid == 4_000_009
    with pytest.raises(RecordingError, match="process 17 has no recording in"):
        Recording.open(17, [tmp_path])


def test_all_recordings_of_a_directory_are_found_live_ones_first(tmp_path: Path) -> None:
    example(pid=4_000_001).write(tmp_path / "4000001.bql")
    (tmp_path / "5.bql").write_bytes(b"not finished")
    with written_by_us(example(), tmp_path / f"{os.getpid()}.bql"):
        found = find_recordings([tmp_path, tmp_path / "none"])
    assert [(p.pid, p.alive) for p in found] == [(os.getpid(), True), (4_000_001, False)]


def test_the_directories_are_those_of_the_recorder() -> None:
    both = recording_directories({"XDG_RUNTIME_DIR": "/run/user/7", "TMPDIR": "/var/tmp"})
    assert both == [Path("/run/user/7/bqlscope"), Path(f"/var/tmp/bqlscope-{os.getuid()}")]
    assert recording_directories({})[-1].name == f"bqlscope-{os.getuid()}"


def test_freed_thread_blocks_are_left_out(tmp_path: Path) -> None:
    build = example()
    build.threads["state"][0] = ThreadState.FREE
    snapshot = read(build.write(tmp_path / "r.bql"))
    assert [t.index for t in snapshot.threads] == [1, 2]
    assert snapshot.role_of(Who(0, 1)) is Role.OTHER


def test_a_closed_recording_says_so(tmp_path: Path) -> None:
    build = example()
    build.header["state"] = FileState.CLOSED
    assert read(build.write(tmp_path / "r.bql")).closed


def test_threads_sites_and_clock_can_be_read_without_what_was_recorded(tmp_path: Path) -> None:
    build = example()
    build.threads["seq"][1] += 1  # in the middle of an update, as a busy thread always seems to be
    with Recording.open(build.write(tmp_path / "r.bql")) as recording:
        snapshot = recording.snapshot()
        threads = recording.threads()
        assert recording.sites() == snapshot.sites
        assert recording.sites(first=2) == snapshot.sites[2:]
        assert recording.clock() == snapshot.clock
    assert [(thread.tid, thread.name, thread.role) for thread in threads] == [
        (thread.tid, thread.name, thread.role) for thread in snapshot.threads
    ]
