# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of a recording whose numbers can be added up by hand (tests/support/reports.py):

main loop   10 holds of 3 ms, 1 ms of each asleep in file I/O
CPU 0       11 holds of 1 µs at the serial port, one wait: 250 µs for CPU 1, 10 µs not on record
CPU 1       10 holds of 2 µs at the disk, 10 waits: 4 ms for the main loop, 0.5 ms waking up
"""

from pathlib import Path

import pytest

from profiler.layout import Role
from profiler.reader import Recording
from profiler.reports.devices import device_sections, queues_table
from profiler.reports.figures import (
    curve,
    distribution_figures,
    heatmap,
    heatmap_figure,
    pairs_table,
    sites_table,
    sleeps_table,
)
from profiler.reports.judge import hints, verdict
from profiler.reports.model import Figure, Table
from profiler.reports.sample import Sample
from tests.support.recordings import RecordingBuilder, example
from tests.support.reports import MS, busy


def sample(tmp_path: Path, *builds: RecordingBuilder) -> Sample:
    snapshots = []
    for index, build in enumerate(builds or (busy(),)):
        with Recording.open(build.write(tmp_path / f"{index}.bql")) as opened:
            snapshots.append(opened.snapshot(events=True))
    return Sample(tuple(snapshots))


def test_totals_of_roles_are_exact(tmp_path: Path) -> None:
    found = {group.role: group for group in sample(tmp_path).roles}
    assert found[Role.MAIN].hold.total == pytest.approx(30 * MS)
    assert found[Role.VCPU].wait.total == pytest.approx(45 * MS + 260_000)
    assert found[Role.VCPU].acquisitions == 21
    assert found[Role.VCPU].contended == 11
    assert found[Role.VCPU].threads == 2


def test_the_heatmap_has_a_row_for_each_waiter_and_all_waiting(tmp_path: Path) -> None:
    plot = heatmap(sample(tmp_path))
    assert plot is not None
    assert plot.waiters == ("CPU 0", "CPU 1")
    assert plot.holders == ("main loop", "CPU 1", "waking up", "not on record")
    assert plot.cells[0] == pytest.approx((0, 250_000, 0, 10_000))
    assert plot.cells[1] == pytest.approx((40 * MS, 0, 5 * MS, 0))
    assert plot.unnamed == 2
    assert plot.total == pytest.approx(45 * MS + 260_000)


def test_columns_for_what_did_not_happen_are_left_out(tmp_path: Path) -> None:
    build = RecordingBuilder(ticks_per_ns=1.0)
    main, cpu = build.thread(Role.MAIN, "qemu"), build.thread(Role.VCPU, "CPU 0/KVM")
    poll = build.site("main-loop.c", 1, "poll")
    build.acquire(cpu, poll, hold=5, blame=[(main, poll, 100)])
    build.sync()
    plot = heatmap(sample(tmp_path, build))
    assert plot is not None
    assert plot.holders == ("main loop",)
    assert plot.unnamed == 0


def test_nobody_waiting_means_no_heatmap_and_no_pairs(tmp_path: Path) -> None:
    build = RecordingBuilder()
    main = build.thread(Role.MAIN, "qemu")
    build.acquire(main, build.site("a.c", 1, "f"), hold=5)
    build.sync()
    quiet = sample(tmp_path, build)
    assert heatmap_figure(quiet) is None
    assert pairs_table(quiet) is None
    assert sleeps_table(quiet) is None


def test_pairs_say_who_where_how_long_and_how_often(tmp_path: Path) -> None:
    table = pairs_table(sample(tmp_path))
    assert table is not None
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows[0] == [
        "CPU 1",
        "main loop",
        "40.0 ms",
        "88.4 %",
        "virtio-blk",
        "os_host_main_loop_wait main-loop.c:301",
        "10",
        "4.00 ms",
        "4.00 ms",
    ]
    assert rows[1][:4] == ["CPU 1", "waking up", "5.00 ms", "11.0 %"]
    assert rows[1][-3:] == ["-", "-", "-"]
    assert table.rows[0][2].bar == pytest.approx(40 / 45.26)


def test_call_sites_name_devices_and_put_the_longest_waits_first(tmp_path: Path) -> None:
    rows = [[cell.text for cell in row] for row in sites_table(sample(tmp_path)).rows]
    assert [row[0] for row in rows] == [
        "virtio-blk",
        "serial",
        "os_host_main_loop_wait main-loop.c:301",
    ]
    assert rows[0][1] == "45.0 ms"
    assert rows[2][4] == "30.0 ms"
    assert [row[-1] for row in rows] == ["vCPU", "vCPU", "main loop"]


def test_sites_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    table = sites_table(sample(tmp_path), most=1)
    assert len(table.rows) == 1
    assert "Not shown: 2 more call sites" in table.note


def test_sleeps_are_parts_of_their_hold(tmp_path: Path) -> None:
    table = sleeps_table(sample(tmp_path))
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["os_host_main_loop_wait main-loop.c:301", "file I/O", "10.0 ms", "33.3 %"]
    ]


def test_a_curve_rises_to_all_and_ends_at_the_longest(tmp_path: Path) -> None:
    group = next(g for g in sample(tmp_path).roles if g.role is Role.VCPU)
    points = curve("vCPU", "vcpu", group.wait).points
    assert points[0] == pytest.approx((0.0, 10 / 21))  # at once
    assert points[-1] == pytest.approx((4.5 * MS, 1.0))
    assert sorted(points) == list(points)


def test_the_alternative_text_has_the_quantiles(tmp_path: Path) -> None:
    waits, _ = distribution_figures(sample(tmp_path))
    assert "vCPU waited at most" in waits.alternative
    assert "4.50 ms at worst" in waits.alternative


def test_trials_are_added_up(tmp_path: Path) -> None:
    one, three = sample(tmp_path), sample(tmp_path, busy(), busy(), busy())
    assert three.waited == pytest.approx(3 * one.waited)
    assert three.elapsed == pytest.approx(3 * one.elapsed)
    assert three.vcpu_wait_share == pytest.approx(one.vcpu_wait_share)
    assert [group.threads for group in three.roles] == [group.threads for group in one.roles]


def test_many_vcpus_share_a_row(tmp_path: Path) -> None:
    build = RecordingBuilder(threads=12, rows=40)
    main = build.thread(Role.MAIN, "qemu")
    poll = build.site("main-loop.c", 1, "poll")
    for number in range(9):
        cpu = build.thread(Role.VCPU, f"CPU {number}/KVM")
        build.acquire(cpu, poll, hold=5, blame=[(main, poll, 100)])
    build.sync()
    plot = heatmap(sample(tmp_path, build))
    assert plot is not None
    assert plot.waiters == ("vCPUs",)


def test_the_verdict_names_the_share_and_the_holder(tmp_path: Path) -> None:
    busy_one = sample(tmp_path)
    share = (45 * MS + 260_000) / (2 * busy_one.elapsed)
    assert verdict(busy_one) == (
        f"The big lock is a serious bottleneck of this VM: its virtual CPUs spent "
        f"{100 * share:.0f} % of their time waiting for it, 88 % of it while the main loop held it."
    )
    assert hints(busy_one)[0] == (
        "Look first at os_host_main_loop_wait main-loop.c:301 of the main loop: 88 % of all "
        "waiting is for it."
    )


def machine(tmp_path: Path, *, blame: int, handoff: int, idle: int) -> Sample:
    build = RecordingBuilder(ticks_per_ns=1.0)
    main, cpu = build.thread(Role.MAIN, "qemu"), build.thread(Role.VCPU, "CPU 0/KVM")
    poll = build.site("main-loop.c", 1, "poll")
    parts = [(main, poll, blame)] if blame else []
    build.acquire(cpu, poll, hold=5, blame=parts, handoff=handoff)
    build.sync(after=idle)
    return sample(tmp_path, build)


@pytest.mark.parametrize(
    ("parts", "begin"),
    [
        ({"blame": 0, "handoff": 0, "idle": 10_000}, "The big lock costs this VM nothing"),
        ({"blame": MS // 2, "handoff": 0, "idle": 100 * MS}, "The big lock costs this VM hardly"),
        ({"blame": 5 * MS, "handoff": 0, "idle": 100 * MS}, "The big lock slows this VM"),
        ({"blame": 5 * MS, "handoff": 6 * MS, "idle": 99 * MS}, "The big lock is not the main"),
    ],
)
def test_the_verdict_grows_with_the_share_and_blames_the_scheduler_where_it_is_due(
    tmp_path: Path, parts: dict[str, int], begin: str
) -> None:
    assert verdict(machine(tmp_path, **parts)).startswith(begin)


def test_a_holder_that_hardly_matters_is_not_the_place_to_begin(tmp_path: Path) -> None:
    found = hints(machine(tmp_path, blame=MS, handoff=50 * MS, idle=100 * MS))
    assert not any("Look first" in hint for hint in found)
    assert found[-1].startswith("For 98 % of all waiting the lock was free")


def test_an_empty_recording_gets_a_sentence_too(tmp_path: Path) -> None:
    build = RecordingBuilder()
    assert verdict(sample(tmp_path, build)).startswith("Nothing can be said")
    build.acquire(build.thread(Role.RCU, "call_rcu"), 0, hold=5)
    build.sync()
    assert verdict(sample(tmp_path, build)).startswith("No virtual CPU was recorded")


def test_disk_queues_and_exits_have_a_section_where_they_were_recorded(tmp_path: Path) -> None:
    (section,) = device_sections(sample(tmp_path, example()))
    figure, queues, exits = section.blocks
    assert isinstance(figure, Figure)
    assert isinstance(queues, Table)
    assert isinstance(exits, Table)
    assert "disk0 queue 0 (iothread): 11 requests, at most 10.0 µs" in figure.alternative
    cells = [cell.text for cell in queues.rows[0]]
    assert cells[:2] == ["disk0 queue 0 (iothread)", "11"]
    assert cells[3:6] == ["8", "3", "0"]
    assert cells[8:] == ["10.0 µs", "1"]
    assert [cell.text for cell in exits.rows[0]][:2] == ["port access", "19"]


def test_requests_of_trials_are_added_up(tmp_path: Path) -> None:
    table = queues_table(sample(tmp_path, example(), example()))
    assert table is not None
    assert table.rows[0][1].text == "22"


def test_recordings_without_queues_have_no_such_section(tmp_path: Path) -> None:
    assert device_sections(sample(tmp_path)) == []
    assert queues_table(sample(tmp_path)) is None
