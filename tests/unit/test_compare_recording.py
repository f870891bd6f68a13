# SPDX-License-Identifier: GPL-2.0-or-later
"""Lock figures from recordings: the window between the marks, shares, blame in words."""

from pathlib import Path

import pytest

from profiler.compare.locks import BlamePair
from profiler.compare.recording import read_locks
from profiler.compare.trial import lock_metrics
from profiler.errors import RecordingError
from profiler.layout import Kind, Role
from tests.support.recordings import RecordingBuilder


class Machine:
    """Main loop, two vCPUs and an iothread; one tick is one nanosecond."""

    def __init__(self, pid: int = 4_000_001) -> None:
        self.build = RecordingBuilder(pid=pid, ticks_per_ns=1.0)
        self.main = self.build.thread(Role.MAIN, "qemu-system-x86")
        self.cpu0 = self.build.thread(Role.VCPU, "CPU 0/KVM")
        self.cpu1 = self.build.thread(Role.VCPU, "CPU 1/KVM")
        self.iothread = self.build.thread(Role.IOTHREAD, "IO io0")
        self.queue = self.build.site("virtio_blk.c", 7, "handle", region="virtio-blk queue")
        self.serial = self.build.site("vcpu.c", 9, "pio", region="serial (0x3f8)")

    def main_holds(self, count: int, ticks: int) -> None:
        for _ in range(count):
            self.build.acquire(self.main, self.queue, hold=ticks)

    def cpu1_waits(self, count: int, ticks: int, handoff: int = 0) -> None:
        for _ in range(count):
            blame = [(self.main, self.queue, ticks)]
            self.build.acquire(self.cpu1, self.serial, hold=2, blame=blame, handoff=handoff)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Boot (to be ignored), then a window of 23 main loop holds and 17 waits."""
    path, machine = tmp_path / "recording.bql", Machine()
    machine.main_holds(5, 1_000_000)
    machine.cpu1_waits(3, 50_000)
    machine.build.sync()
    machine.build.write(Path(f"{path}.begin"))
    machine.main_holds(23, 2_000)
    machine.cpu1_waits(17, 1_000, handoff=100)
    machine.build.acquire(machine.cpu0, machine.serial, hold=2, unknown=60)
    machine.build.acquire(
        machine.cpu0, machine.serial, hold=2, blame=[(machine.cpu1, machine.serial, 40)]
    )
    machine.build.acquire(machine.main, machine.queue, hold=2, blame=[(machine.cpu1, 0, 999)])
    machine.build.sync()
    machine.build.write(Path(f"{path}.end"))
    machine.main_holds(7, 3_000_000)
    machine.build.sync()
    return machine.build.write(path)


def test_only_the_window_counts(recording: Path) -> None:
    figures = read_locks(recording, 2e6)
    assert figures.window_source == "marks"
    assert figures.window_ns == 2e6
    assert figures.vcpus == 2
    assert figures.vcpu_wait_ns == 17 * 1_100 + 60 + 40
    assert figures.mainloop_hold_ns == 23 * 2_000 + 2
    assert figures.mainloop_hold_p99_ns == pytest.approx(2_000, rel=0.125)
    assert lock_metrics(figures)["vcpu_bql_wait_share"] == 18_800 / (2 * 2e6)


def test_blame_adds_up_to_the_wait_of_the_vcpus(recording: Path) -> None:
    figures = read_locks(recording, 1e6)
    serial, queue = "serial (0x3f8)", "virtio-blk queue"
    assert set(figures.blame) == {
        BlamePair("CPU 1", serial, "main loop", queue, 17 * 1_000),
        BlamePair("CPU 1", serial, "handoff", "", 17 * 100),
        BlamePair("CPU 0", serial, "unknown", "", 60),
        BlamePair("CPU 0", serial, "CPU 1", serial, 40),
    }
    assert sum(pair.wait_ns for pair in figures.blame) == figures.vcpu_wait_ns


def test_a_place_where_the_lock_is_only_retaken_after_waits_says_so(tmp_path: Path) -> None:
    path, machine = tmp_path / "recording.bql", Machine()
    idle = machine.build.site("../system/cpus.c", 463, "")
    blame = [(machine.main, machine.queue, 500)]
    machine.build.acquire(machine.cpu1, idle, hold=1, kind=Kind.COND, blame=blame, handoff=9)
    machine.build.acquire(machine.cpu0, machine.serial, hold=1, blame=[(machine.cpu1, idle, 70)])
    machine.build.acquire(machine.cpu0, idle, hold=1, kind=Kind.COND, blame=blame)
    machine.build.acquire(machine.cpu0, idle, hold=1, blame=blame)
    machine.build.sync()
    machine.build.write(path)
    place, queue = "after a condition wait (cpus.c:463)", "virtio-blk queue"
    assert set(read_locks(path, 1e6).blame) == {
        BlamePair("CPU 1", place, "main loop", queue, 500),
        BlamePair("CPU 1", place, "handoff", "", 9),
        BlamePair("CPU 0", "serial (0x3f8)", "CPU 1", place, 70),
        BlamePair("CPU 0", "cpus.c:463", "main loop", queue, 1_000),
    }


def test_of_a_hold_over_the_edge_of_the_window_only_the_inner_part_counts(tmp_path: Path) -> None:
    path, machine = tmp_path / "recording.bql", Machine()
    machine.build.hold_now(machine.main, machine.queue)
    machine.build.sync(1_000)
    machine.build.write(Path(f"{path}.begin"))
    machine.build.live["holder"] = 0
    machine.build.now -= 1_000  # the hold began 1000 ticks before the mark
    machine.build.acquire(machine.main, machine.queue, hold=1_300)
    machine.build.sync(5_000)
    machine.build.write(Path(f"{path}.end"))
    assert read_locks(path, 5_300.0).mainloop_hold_ns == 300


def test_without_a_mark_the_whole_recording_is_taken_over_its_own_time(recording: Path) -> None:
    Path(f"{recording}.end").unlink()
    figures = read_locks(recording, 1e6)
    assert figures.window_source == "whole"
    assert figures.window_ns > 26e6
    assert figures.mainloop_hold_ns > 26e6


def test_the_window_is_never_shorter_than_the_copies_are_apart(recording: Path) -> None:
    figures = read_locks(recording, None)
    assert 1_000_000 < figures.window_ns < 1_200_000
    assert read_locks(recording, 1e6) == figures


def test_copies_of_another_process_are_refused(recording: Path) -> None:
    other = Machine(pid=4_000_003)
    other.build.sync(50_000_000)
    other.build.write(Path(f"{recording}.end"))
    with pytest.raises(RecordingError, match="window copies do not fit"):
        read_locks(recording, 1e6)


def test_a_missing_recording_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError) as caught:
        read_locks(tmp_path / "none.bql", 1e6)
    assert "\n" not in caught.value.message
