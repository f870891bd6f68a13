# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk queues and vCPU exits in a recording: read, subtracted, summarised."""

from pathlib import Path

import pytest

from profiler.layout import Exit, Request, Role
from profiler.model import QueueKey, Snapshot
from profiler.reader import Recording
from profiler.summary import summarise, vcpu_exits
from tests.support.recordings import RecordingBuilder


def read(build: RecordingBuilder, path: Path) -> Snapshot:
    with Recording.open(build.write(path)) as recording:
        return recording.snapshot()


def test_requests_are_told_by_queue_and_placement(tmp_path: Path) -> None:
    build = RecordingBuilder(ticks_per_ns=1.0)
    for placement, duration in (("mainloop", 90_000), ("iothread", 30_000)):
        row = build.queue("disk0", 1, placement)
        for i in range(7):
            build.request(row, duration + i)
        build.request(row, 1_000, kind=Request.WRITE, size=512)
    snapshot = read(build, tmp_path / "r.bql")
    slow, fast = snapshot.queues
    assert (slow.key, fast.key) == (
        QueueKey("disk0", 1, "mainloop"),
        QueueKey("disk0", 1, "iothread"),
    )
    assert slow.requests == (7, 1, 0, 0)
    assert (slow.read_bytes, slow.written_bytes) == (7 * 4096, 512)
    assert slow.duration_total == 7 * 90_000 + 21 + 1_000
    lines = summarise(snapshot).queues
    assert [line.placement for line in lines] == ["mainloop", "iothread"]
    assert lines[0].duration.p50 == pytest.approx(90_000, rel=0.125)
    assert lines[1].duration.max == 30_006


def test_an_interval_has_the_requests_and_exits_that_were_added(tmp_path: Path) -> None:
    build = RecordingBuilder()
    cpu = build.thread(Role.VCPU, "CPU 0/KVM")
    row = build.queue("disk0", 0, "vcpu")
    build.request(row, 100)
    build.threads["exits"][cpu][Exit.PIO] = 5
    build.sync()
    before = read(build, tmp_path / "a.bql")
    for _ in range(3):
        build.request(row, 200)
    other = build.queue("disk1", 0, "mainloop")
    build.request(other, 10)
    build.threads["exits"][cpu][Exit.PIO] += 2
    build.threads["exits"][cpu][Exit.HLT] += 1
    build.sync()
    added = read(build, tmp_path / "b.bql").since(before)
    assert [queue.total for queue in added.queues] == [3, 1]
    assert added.queues[0].durations.total == 3
    assert vcpu_exits(added) == {Exit.PIO: 2, Exit.HLT: 1}
