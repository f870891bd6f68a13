# SPDX-License-Identifier: GPL-2.0-or-later
"""Acquisitions that a dump disturbed, and the figures without them."""

from pathlib import Path

import pytest

from profiler.layout import Role
from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.stacks.windows import MARGIN_NS, Window, disturbed, undisturbed, windows
from tests.support.dumps import make_dump
from tests.support.recordings import START_MONOTONIC_NS, START_TICKS, RecordingBuilder

SECOND = 1_000_000_000


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """One acquisition: requested at 1 s, acquired at 2 s, released at 3 s."""
    build = RecordingBuilder(ticks_per_ns=2.0)
    main, cpu = build.thread(Role.MAIN, "qemu"), build.thread(Role.VCPU, "CPU 0/KVM")
    site = build.site("a.c", 1, "f")
    build.now += 2 * SECOND
    build.acquire(cpu, site, hold=2 * SECOND, blame=[(main, site, 2 * SECOND)])
    build.sync()
    with Recording.open(build.write(tmp_path / "r.bql")) as recording:
        return recording.snapshot(events=True)


@pytest.mark.parametrize(
    ("begin", "end", "hit"),
    [
        (0.2, 0.9, False),
        (0.2, 1.1, True),  # reaches into the wait
        (1.2, 1.3, True),
        (2.4, 2.6, True),  # inside the hold
        (0.5, 9.0, True),
        (2.9, 4.0, True),
        (3.1, 4.0, False),
    ],
)
def test_an_acquisition_overlaps_from_its_request_to_its_release(
    snapshot: Snapshot, begin: float, end: float, hit: bool
) -> None:
    window = Window(*(START_MONOTONIC_NS + round(at * SECOND) for at in (begin, end)))
    (log,) = (log for log in snapshot.events.values() if len(log.records))
    assert disturbed(log.records, snapshot.clock, [window]).tolist() == [hit]
    assert disturbed(log.records, snapshot.clock, []).tolist() == [False]


def test_windows_are_a_little_wider_than_the_dump(snapshot: Snapshot) -> None:
    (log,) = (log for log in snapshot.events.values() if len(log.records))
    (event,) = log.records
    released = snapshot.clock.monotonic_ns(int(event["acquired"] + event["hold"]))
    near, far = released + MARGIN_NS - 100, released + MARGIN_NS + 100
    hits = [disturbed(log.records, snapshot.clock, [Window(at, at + 5)])[0] for at in (near, far)]
    assert hits == [True, False]


def test_disturbed_events_are_left_out_and_counted_and_none_is_called_dropped(
    snapshot: Snapshot,
) -> None:
    middle = START_MONOTONIC_NS + 2 * SECOND
    kept = undisturbed(snapshot, [Window(middle, middle + 5)])
    assert kept.excluded == 1
    assert all(len(log.records) == 0 == log.dropped for log in kept.snapshot.events.values())
    assert kept.snapshot.rows == snapshot.rows
    untouched = undisturbed(snapshot, [])
    assert untouched.excluded == 0
    assert [len(log.records) for log in untouched.snapshot.events.values()] == [0, 1]


def test_events_before_the_clocks_first_tick_do_not_wrap_around(tmp_path: Path) -> None:
    build = RecordingBuilder(ticks_per_ns=1.0)
    cpu, site = build.thread(Role.VCPU, "CPU 0/KVM"), build.site("a.c", 1, "f")
    build.now = START_TICKS
    build.acquire(cpu, site, hold=5, handoff=2 * START_TICKS)
    build.sync()
    with Recording.open(build.write(tmp_path / "r.bql")) as recording:
        events = recording.snapshot(events=True).events[cpu].records.copy()
    events["acquired"] = 10  # less than its wait
    with Recording.open(tmp_path / "r.bql") as recording:
        clock = recording.live().clock
    early = clock.monotonic_ns(0)
    assert disturbed(events, clock, [Window(early, early)])[0]


def test_the_windows_are_those_of_the_dumps_in_order() -> None:
    dumps = [make_dump(begin_ns=7, end_ns=9), make_dump(begin_ns=5, end_ns=6)]
    assert windows(dumps) == [Window(5, 6), Window(7, 9)]
