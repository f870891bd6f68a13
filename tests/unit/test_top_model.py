# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of `bqlscope top` from recordings whose content is known to the last tick."""

from pathlib import Path

import pytest

from profiler.blame import HANDOFF, UNKNOWN
from profiler.layout import Blocked, Role
from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.top.model import Holder, Line, Pair, Picture, Sort, ordered, ordered_pairs, picture
from tests.support.recordings import RecordingBuilder


class Machine:
    """A main loop and two vCPUs, one tick a nanosecond; `mark` begins the interval."""

    def __init__(self, tmp_path: Path, vcpus: int = 2) -> None:
        self.path = tmp_path / "r.bql"
        self.build = RecordingBuilder(ticks_per_ns=1.0)
        self.main = self.build.thread(Role.MAIN, "qemu", tid=901)
        self.cpus = [
            self.build.thread(Role.VCPU, f"CPU {number}/KVM", tid=910 + number)
            for number in range(vcpus)
        ]
        self.poll = self.build.site("util/main-loop.c", 301, "wait")
        self.serial = self.build.site("physmem.c", 2874, "", region="serial")
        self.earlier: Snapshot | None = None
        self.began = 0

    def snapshot(self) -> Snapshot:
        self.build.write(self.path)
        with Recording.open(self.path) as recording:
            return recording.snapshot()

    def mark(self) -> None:
        self.build.sync(after=0)
        self.earlier, self.began = self.snapshot(), self.build.now

    def picture(self, lasts: int) -> Picture:
        """The interval from the mark, `lasts` ticks long."""
        self.build.sync(after=self.began + lasts - self.build.now)
        assert self.earlier is not None
        return picture(self.earlier, self.snapshot())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_only_what_happened_in_the_interval_is_in_it(machine: Machine) -> None:
    build = machine.build
    build.acquire(machine.main, machine.poll, hold=77_777)
    build.acquire(machine.cpus[0], machine.serial, hold=5, blame=[(0, 1, 99_999)])
    machine.mark()
    for _ in range(3):
        build.acquire(machine.main, machine.poll, hold=1_000)
    blame = [(machine.main, machine.poll, 400)]
    build.acquire(machine.cpus[0], machine.serial, hold=30, blame=blame, handoff=70, unknown=30)
    build.acquire(machine.cpus[1], machine.serial, hold=20)
    seen = machine.picture(lasts=10_000)
    assert seen.interval_ns == 10_000
    assert (seen.held_ratio, seen.wait_ratio) == (0.305, 500 / 20_000)
    assert (seen.holder, seen.waiters, seen.vcpus) == (None, 0, 2)
    main, vcpu = seen.roles
    assert (main.role, main.acquisitions, main.hold_ns, main.wait_ns) == (Role.MAIN, 3, 3_000, 0)
    assert (vcpu.role, vcpu.threads, vcpu.acquisitions, vcpu.contended) == (Role.VCPU, 2, 2, 1)
    assert (vcpu.wait_ns, vcpu.hold_ns) == (500, 50)
    assert [(line.name, line.hold_ns) for line in seen.sites] == [
        ("wait main-loop.c:301", 3_000),
        ("serial", 50),
    ]
    assert [(line.name, line.tid, line.wait_ns) for line in seen.threads] == [
        ("qemu", 901, 0),
        ("CPU 0/KVM", 910, 500),
        ("CPU 1/KVM", 911, 0),
    ]
    assert seen.pairs == (
        Pair(Role.VCPU, "serial", Role.MAIN, "wait main-loop.c:301", 400, 1, 400, 0.8),
        Pair(Role.VCPU, "", None, HANDOFF, 70, 0, 0.0, 0.14),
        Pair(Role.VCPU, "", None, UNKNOWN, 30, 0, 0.0, 0.06),
    )


def test_a_hold_that_began_before_the_interval_counts_from_its_start_on(machine: Machine) -> None:
    build = machine.build
    build.hold_now(machine.main, machine.poll)
    began = build.now
    build.now += 500
    machine.mark()
    build.now = began
    build.live["holder"] = 0
    build.acquire(machine.main, machine.poll, hold=700)  # 500 of it before the mark
    seen = machine.picture(lasts=1_000)
    assert seen.held_ratio == 0.2
    (main,) = seen.sites
    assert (main.hold_ns, main.acquisitions, main.longest_hold_ns) == (200, 1, 700)


def test_a_lock_that_is_stuck_shows_as_held_and_waited_for_all_the_time(machine: Machine) -> None:
    build = machine.build
    build.hold_now(machine.main, machine.poll, blocked=Blocked.DRAIN, waiters=1)
    build.now += 3_000
    machine.mark()
    seen = machine.picture(lasts=1_000)
    assert (seen.held_ratio, seen.wait_ratio, seen.waiters) == (1.0, 0.5, 1)
    assert seen.holder == Holder(
        Role.MAIN, "qemu", 901, "wait main-loop.c:301", 4_000, Blocked.DRAIN, 4_000
    )
    (line,) = seen.sites  # though it has no finished hold there yet
    assert (line.name, line.hold_ns, line.longest_hold_ns) == ("wait main-loop.c:301", 1_000, 4_000)
    assert [line.hold_ns for line in seen.roles] == [1_000]


def test_waits_longer_than_the_interval_are_no_more_than_all_of_it(machine: Machine) -> None:
    machine.mark()
    machine.build.now -= 9_000
    machine.build.acquire(machine.cpus[0], machine.serial, hold=1, blame=[(0, 1, 9_000)])
    assert machine.picture(lasts=1_000).wait_ratio == 1.0


def test_without_vcpus_the_waits_are_of_all_threads(tmp_path: Path) -> None:
    machine = Machine(tmp_path, vcpus=0)
    machine.mark()
    machine.build.acquire(machine.main, machine.poll, hold=1, handoff=250)
    assert machine.picture(lasts=1_000).wait_ratio == 0.25


def test_idle_threads_are_shown_and_idle_sites_are_not(machine: Machine) -> None:
    machine.build.acquire(machine.main, machine.poll, hold=77)
    machine.mark()
    seen = machine.picture(lasts=1_000)
    assert (seen.sites, seen.roles, seen.pairs, seen.held_ratio) == ((), (), (), 0.0)
    assert [line.idle for line in seen.threads] == [True, True, True]


def line(name: str, wait: float, hold: float, count: int, contended: int) -> Line:
    return Line(Role.VCPU, name, 0, 1, count, contended, wait, 0, 0, hold, 0, 0)


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (Sort.WAIT, "abc"),
        (Sort.HOLD, "cab"),
        (Sort.COUNT, "bac"),
        (Sort.CONTENTION, "cab"),
    ],
)
def test_lines_are_sorted_by_what_is_asked_for_then_by_wait(sort: Sort, names: str) -> None:
    lines = [line("c", 1, 9, 1, 5), line("b", 2, 3, 9, 0), line("a", 3, 8, 8, 1)]
    assert "".join(found.name for found in ordered(lines, sort)) == names


def test_pairs_are_sorted_by_time_or_by_number() -> None:
    few = Pair(Role.VCPU, "few", Role.MAIN, "x", 9.0, 1, 9.0, 0.9)
    many = Pair(Role.VCPU, "many", Role.MAIN, "x", 1.0, 7, 1.0, 0.1)
    assert ordered_pairs([many, few], Sort.HOLD) == [few, many]
    assert ordered_pairs([few, many], Sort.COUNT) == [many, few]


def test_the_json_holds_every_figure_with_its_unit(machine: Machine) -> None:
    machine.mark()
    machine.build.acquire(machine.cpus[1], machine.serial, hold=20, handoff=5)
    document = machine.picture(lasts=1_000).to_json()
    assert (document["schema"], document["interval_ns"], document["held_ratio"]) == (1, 1000, 0.02)
    assert document["holder"] is None
    (site,) = document["sites"]
    assert (site["role"], site["name"], site["wait_ns"], site["hold_ns"]) == (
        "vcpu",
        "serial",
        5,
        20,
    )
    assert document["blame"][0]["holder_site"] == HANDOFF
