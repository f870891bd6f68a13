# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a summary against what was put into the recording."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from profiler.model import Blocked, Role, Snapshot
from profiler.reader import Recording
from profiler.summary import hold_ticks, summarise, vcpu_threads
from tests.support.recordings import RecordingBuilder, example

CPU_WAITS = sum(5_003 + i + 110 for i in range(17)) + sum(1_009 + i + 3 for i in range(5))
MAIN_HOLD = sum(7_001 + i for i in range(23)) + 1


def snap(build: RecordingBuilder, folder: Path) -> Snapshot:
    with Recording.open(build.write(folder / "r.bql")) as recording:
        return recording.snapshot()


def test_roles_and_sites_add_up(tmp_path: Path) -> None:
    snapshot = snap(example(), tmp_path)
    summary = summarise(snapshot)
    main, vcpu = summary.roles
    assert (main.role, main.acquisitions, main.contended, main.threads) == (Role.MAIN, 24, 1, 1)
    assert (vcpu.role, vcpu.acquisitions, vcpu.contended, vcpu.threads) == (Role.VCPU, 23, 22, 2)
    assert vcpu.trylock_failed == 3
    assert vcpu.wait.total == pytest.approx(snapshot.clock.ns(CPU_WAITS))
    assert vcpu.wait.max == pytest.approx(snapshot.clock.ns(5_003 + 16 + 110))
    assert vcpu.wait.p50 == pytest.approx(vcpu.wait.max, rel=0.125)
    assert main.gil_ns == pytest.approx(snapshot.clock.ns(23 * 101))
    assert set(main.blocked_ns) == {Blocked.GIL}
    assert [line.site for line in summary.sites[:2]] == ["serial", "ioapic"]
    assert sum(line.acquisitions for line in summary.sites) == 47


def test_the_two_shares_are_of_the_recorded_time(tmp_path: Path) -> None:
    snapshot = snap(example(), tmp_path)
    summary = summarise(snapshot)
    assert summary.vcpu_threads == 2
    assert summary.vcpu_bql_wait_share == CPU_WAITS / (2 * snapshot.elapsed)
    assert summary.mainloop_bql_hold_share == MAIN_HOLD / snapshot.elapsed


def test_a_hold_in_progress_counts_up_to_now(tmp_path: Path) -> None:
    build = example()
    build.hold_now(0, 1)
    build.sync(after=30_011)
    assert hold_ticks(snap(build, tmp_path), Role.MAIN) == MAIN_HOLD + 30_011


def test_a_hold_that_spans_the_start_counts_only_inside_the_interval(tmp_path: Path) -> None:
    build = example()
    build.hold_now(0, 1)
    build.sync(after=1_001)
    earlier = snap(build, tmp_path)
    still = build.now
    build.sync(after=2_003)
    assert hold_ticks(snap(build, tmp_path).since(earlier), Role.MAIN) == build.now - still
    build.live["holder"] = 0  # it ends after 5005 ticks, 1001 of them before the interval
    build.now = int(build.live["since"][0])
    build.acquire(0, 1, hold=5_005)
    build.sync(after=10_007)
    assert hold_ticks(snap(build, tmp_path).since(earlier), Role.MAIN) == 5_005 - 1_001


def test_vcpus_that_ended_before_the_interval_do_not_dilute_its_share(tmp_path: Path) -> None:
    build = example()
    build.threads["state"][1] = 2
    build.threads["last_exit"][1] = build.now
    build.sync()
    earlier = snap(build, tmp_path)
    assert vcpu_threads(earlier) == 2
    build.sync()
    assert vcpu_threads(snap(build, tmp_path).since(earlier)) == 1


def test_a_wait_longer_than_the_interval_is_a_share_of_one(tmp_path: Path) -> None:
    build = example()
    earlier = snap(build, tmp_path)
    cpu = next(thread.index for thread in earlier.threads if thread.role is Role.VCPU)
    build.acquire(cpu, 1, hold=1, handoff=1_000_000)
    build.sync()
    whole = snap(build, tmp_path).since(earlier)
    assert 0 < summarise(whole).vcpu_bql_wait_share < 1.0
    interval = replace(whole, start=whole.taken - 1_000)
    assert summarise(interval).vcpu_bql_wait_share == 1.0


def test_an_empty_recording_has_no_shares(tmp_path: Path) -> None:
    summary = summarise(snap(RecordingBuilder(), tmp_path))
    assert (summary.vcpu_bql_wait_share, summary.mainloop_bql_hold_share) == (0.0, 0.0)
    assert summary.roles == summary.sites == ()


def test_the_summary_is_json(tmp_path: Path) -> None:
    written = json.loads(json.dumps(summarise(snap(example(), tmp_path)).to_json()))
    assert written["roles"][1]["role"] == "vcpu"
    assert written["roles"][0]["blocked_ns"].keys() == {"gil"}
    assert written["sites"][0]["wait"].keys() == {"p50_ns", "p99_ns", "max_ns", "total_ns"}
