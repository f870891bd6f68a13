# SPDX-License-Identifier: GPL-2.0-or-later
"""The watchdog against a recording that the test writes step by step."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler.layout import Blocked, Role
from profiler.model import Who
from profiler.reader import Recording
from profiler.stacks.dump import Frame, StackError, ThreadStack
from profiler.stacks.store import Dump
from profiler.stacks.watchdog import MOST_WAIT_NS, SETTLE_NS, Limits, Watchdog
from tests.support.recordings import RecordingBuilder, written_by_us

MS = 1_000_000
STACK = ThreadStack(901, "MainThread", True, (Frame("flush", "disk.py", 7),))


class Scene:
    """A main loop and a vCPU of a live recording; the watchdog's own clock is `now`."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.build = RecordingBuilder(ticks_per_ns=1.0)
        self.main = self.build.thread(Role.MAIN, "qemu", tid=901)
        self.cpu = self.build.thread(Role.VCPU, "CPU 0/KVM", tid=902)
        self.poll = self.build.site("main-loop.c", 301, "wait")
        self.serial = self.build.site("physmem.c", 2874, "", region="serial")
        self.path, self.limits = path, limits
        self.now = 100
        self.calls: list[int] = []
        self.mapped: mmap.mmap
        self.recording: Recording

    def start(self) -> Iterator["Scene"]:
        with (
            written_by_us(self.build, self.path) as self.mapped,
            Recording.open(self.path) as open_,
        ):
            self.recording = open_
            self.watchdog = Watchdog(open_, self.take, self.limits, clock=lambda: self.now)
            yield self

    def take(self, pid: int) -> tuple[ThreadStack, ...]:
        self.calls.append(pid)
        self.now += 3 * MS  # what a dump takes
        return (STACK,)

    def publish(self) -> None:
        self.mapped[:] = bytes(self.build.data)

    def hold(self, blocked: Blocked = Blocked.NONE) -> int:
        """The main loop takes the lock; returns since when."""
        self.build.hold_now(self.main, self.poll, blocked=blocked, waiters=1)
        self.publish()
        return self.build.now

    def release(self, hold: int, waiter_is_done: bool = True) -> None:
        """It released it after so long; the vCPU asked for it 10 ms after its start."""
        self.build.live["holder"] = 0
        self.build.acquire(self.main, self.poll, hold=hold)
        if waiter_is_done:
            self.waiter_releases(hold)
        self.publish()

    def waiter_releases(self, hold: int) -> None:
        self.build.now -= hold - 10 * MS
        blame = [(self.main, self.poll, hold - 10 * MS)]
        self.build.acquire(self.cpu, self.serial, hold=5, blame=blame, handoff=7)
        self.publish()

    def settle(self) -> Dump:
        assert self.watchdog.look() is None
        self.now += SETTLE_NS
        dump = self.watchdog.look()
        assert dump is not None
        return dump


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    limits = Limits(threshold_ns=10 * MS, every_ns=1000 * MS, most=2)
    yield from Scene(tmp_path / "r.bql", limits).start()


def test_a_long_hold_is_dumped_once_and_joined_with_its_length_and_waiters(scene: Scene) -> None:
    since = scene.hold(Blocked.DRAIN)
    assert scene.watchdog.look() is None
    assert scene.calls == [scene.recording.process.pid]
    assert scene.watchdog.look() is None  # it goes on
    scene.release(hold=40 * MS)
    dump = scene.settle()
    assert len(scene.calls) == 1
    assert (dump.begin_ns, dump.end_ns) == (100, 100 + 3 * MS)
    hold = dump.hold
    assert (hold.by.who, hold.by.tid, hold.by.name) == (Who(scene.main, scene.poll), 901, "qemu")
    assert (hold.since_ticks, hold.hold_ticks, hold.same) == (since, 40 * MS, True)
    assert (hold.sleeps_for, hold.held_ns > 10 * MS) == (Blocked.DRAIN, True)
    (waiter,) = dump.waiters
    assert (waiter.by.name, waiter.by.label, waiter.ticks) == ("CPU 0/KVM", "serial", 30 * MS)
    assert dump.threads == (STACK,)


def test_a_waiter_is_waited_for_until_it_has_released_the_lock_itself(scene: Scene) -> None:
    scene.hold()
    scene.watchdog.look()
    scene.release(hold=40 * MS, waiter_is_done=False)
    scene.watchdog.look()
    for settle in (SETTLE_NS, 2 * SETTLE_NS):
        scene.now += settle
        assert scene.watchdog.look() is None
    scene.waiter_releases(hold=40 * MS)
    scene.now += 4 * SETTLE_NS - 1
    assert scene.watchdog.look() is None
    scene.now += 1
    dump = scene.watchdog.look()
    assert dump is not None
    assert [waiter.ticks for waiter in dump.waiters] == [30 * MS]


def test_a_waiter_that_never_comes_is_given_up(scene: Scene) -> None:
    scene.hold()
    scene.watchdog.look()
    scene.release(hold=40 * MS, waiter_is_done=False)
    scene.watchdog.look()
    scene.now += MOST_WAIT_NS
    dump = scene.watchdog.look()
    assert dump is not None
    assert (dump.hold.hold_ticks, dump.waiters) == (40 * MS, ())


def test_a_free_lock_and_a_short_hold_are_left_alone(scene: Scene) -> None:
    assert scene.watchdog.look() is None
    limits = Limits(threshold_ns=1 << 60)
    scene.hold()
    Watchdog(scene.recording, scene.take, limits).look()
    assert scene.calls == []


def test_a_hold_that_was_over_before_the_dump_says_so(scene: Scene) -> None:
    scene.hold()

    def take(pid: int) -> tuple[ThreadStack, ...]:
        scene.release(hold=40 * MS)
        return scene.take(pid)

    scene.watchdog._take = take
    assert scene.watchdog.look() is None
    assert scene.settle().hold.same is False


def test_dumps_are_rare_and_bounded_and_the_rest_is_counted(scene: Scene) -> None:
    for expected in (1, 1, 2, 2):  # the second comes too soon, the fourth is one too many
        scene.hold()
        scene.watchdog.look()
        assert len(scene.calls) == expected
        scene.release(hold=40 * MS)
        if scene.watchdog._pending is not None:
            scene.settle()
            scene.now += 300 * MS
        else:
            scene.now += 1000 * MS
    assert (scene.watchdog.taken, scene.watchdog.passed_over) == (2, 2)
    assert scene.watchdog.exhausted


def test_a_hold_that_does_not_end_is_written_down_as_it_is(scene: Scene) -> None:
    scene.hold()
    scene.watchdog.look()
    scene.now += MOST_WAIT_NS
    dump = scene.watchdog.look()
    assert dump is not None
    assert (dump.hold.hold_ticks, dump.waiters) == (0, ())
    assert scene.watchdog.look() is None  # and is not dumped again
    assert len(scene.calls) == 1


def test_what_is_pending_at_the_end_is_not_lost(scene: Scene) -> None:
    assert scene.watchdog.finish() is None
    scene.hold()
    scene.watchdog.look()
    assert scene.watchdog.finish() is not None
    assert scene.watchdog.finish() is None


def test_a_process_that_dies_inside_a_hold_is_written_down_at_once(scene: Scene) -> None:
    scene.hold()
    scene.watchdog.look()
    scene.build.header["process_start_time"] = 1  # somebody else has its number now
    scene.recording._process = Recording.open(scene.path).process
    scene.recording._mapped = False
    dump = scene.watchdog.look()
    assert dump is not None
    assert not scene.watchdog.alive


def test_a_dump_that_fails_is_the_callers_business_and_is_tried_again(scene: Scene) -> None:
    def take(pid: int) -> tuple[ThreadStack, ...]:
        raise StackError("no permission")

    scene.watchdog._take = take
    scene.hold()
    with pytest.raises(StackError, match="no permission"):
        scene.watchdog.look()
    assert scene.watchdog.finish() is None
    scene.watchdog._take = scene.take
    scene.watchdog.look()
    assert scene.calls == []  # not before its time
    scene.now += 1000 * MS
    scene.watchdog.look()
    assert len(scene.calls) == 1


def test_a_hold_that_was_too_soon_is_dumped_if_it_goes_on(scene: Scene) -> None:
    scene.hold()
    scene.watchdog.look()
    scene.release(hold=40 * MS)
    scene.settle()
    scene.hold()
    scene.watchdog.look()
    scene.watchdog.look()
    assert (len(scene.calls), scene.watchdog.passed_over) == (1, 1)
    scene.now += 1000 * MS
    scene.watchdog.look()
    assert (len(scene.calls), scene.watchdog.passed_over) == (2, 0)


def test_looks_are_at_most_half_a_threshold_apart_and_not_too_many() -> None:
    assert Limits(threshold_ns=10 * MS).look_seconds == 0.005
    assert Limits(threshold_ns=MS // 10).look_seconds == 0.001
    assert Limits(threshold_ns=10_000 * MS).look_seconds == 0.05
