# SPDX-License-Identifier: GPL-2.0-or-later
"""What is exported of a recording whose content is known to the last tick (a tick is 0.5 ns)."""

from pathlib import Path
from typing import Any

import pytest

from exporters.families import Histograms, Values
from exporters.names import METRICS
from profiler.layout import Blocked, Role
from tests.support.exporting import alive_recording, exporter_of, scraped
from tests.support.recordings import START_REALTIME_NS, RecordingBuilder, example

TICK = 0.5e-9
POLL = "os_host_main_loop_wait main-loop.c:301"


def test_counters_are_what_was_recorded(tmp_path: Path) -> None:
    with exporter_of(example().write(tmp_path / "r.bql")) as exporter:
        found = scraped(exporter)
    # labels in sorted order: kind, role, site, vm
    assert found["bql_acquisitions_total", ("lock", "main", POLL, "guest")] == 23
    assert found["bql_acquisitions_total", ("lock", "vcpu", "ioapic", "guest")] == 5
    assert found["bql_acquisitions_total", ("trylock", "vcpu", "ioapic", "guest")] == 1
    assert found["bql_acquisitions_total", ("cond", "main", "(other)", "guest")] == 1
    assert ("bql_acquisitions_total", ("cond", "main", POLL, "guest")) not in found
    assert found["bql_contentions_total", ("vcpu", "serial", "guest")] == 17
    assert found["bql_contentions_total", ("main", POLL, "guest")] == 0
    assert found["bql_trylock_failures_total", ("vcpu", "ioapic", "guest")] == 3
    assert found["bql_gil_wait_seconds_total", ("main", POLL, "guest")] == 23 * 101 * TICK
    key = ("gil", POLL, "guest")
    assert found["bql_held_while_blocked_seconds_total", key] == 23 * 101 * TICK
    assert found["bql_process_up", ("guest",)] == 0
    assert found["bql_threads", ("vcpu", "guest")] == 2


def test_sums_and_counts_of_histograms_are_exact(tmp_path: Path) -> None:
    with exporter_of(example().write(tmp_path / "r.bql")) as exporter:
        found = scraped(exporter)
    serial = ("vcpu", "serial", "guest")
    waits = sum(5_003 + i + 97 + 13 for i in range(17))
    assert found["bql_wait_seconds_sum", serial] == waits * TICK
    assert found["bql_wait_seconds_count", serial] == 17
    assert found["bql_hold_seconds_sum", serial] == 17 * 301 * TICK
    assert found["bql_wait_seconds_count", ("vcpu", "ioapic", "guest")] == 6
    assert found["bql_wait_seconds_bucket", ("2.5e-07", "vcpu", "ioapic", "guest")] == 1
    assert found["bql_wait_seconds_bucket", ("1e-06", "vcpu", "ioapic", "guest")] == 6
    assert found["bql_wait_seconds_bucket", ("2e-06", "vcpu", "serial", "guest")] == 0
    assert found["bql_wait_seconds_bucket", ("4e-06", "vcpu", "serial", "guest")] == 17
    assert found["bql_wait_seconds_bucket", ("+Inf", "vcpu", "serial", "guest")] == 17


def test_all_holders_of_a_role_add_up_to_its_waits(tmp_path: Path) -> None:
    with exporter_of(example().write(tmp_path / "r.bql")) as exporter:
        found = scraped(exporter)
    # labels in sorted order: holder_role, holder_site, vm, waiter_role
    blamed = {
        key[1]: value for key, value in found.items() if key[0] == "bql_blocked_seconds_total"
    }
    vcpu = {key[:2]: value for key, value in blamed.items() if key[3] == "vcpu"}
    main = sum(5_003 + i for i in range(17)) + sum(1_009 + i for i in range(5))
    assert {holder: round(seconds / TICK, 6) for holder, seconds in vcpu.items()} == {
        ("main", POLL): main,
        ("vcpu", "ioapic"): 17 * 97,
        ("handoff", "handoff"): 17 * 13,
        ("unknown", "unknown"): 15,
    }
    waits = sum(
        value
        for key, value in found.items()
        if key[0] == "bql_wait_seconds_sum" and key[1][0] == "vcpu"
    )
    assert sum(vcpu.values()) == pytest.approx(waits, rel=1e-12)


def test_a_stuck_lock_shows_while_it_is_stuck(tmp_path: Path) -> None:
    build = example()
    build.hold_now(0, 1, blocked=Blocked.DRAIN, waiters=2)
    with (
        alive_recording(build, tmp_path / "r.bql"),
        exporter_of(tmp_path / "r.bql") as exporter,
    ):
        first, second = scraped(exporter), scraped(exporter)
    assert first["bql_process_up", ("guest",)] == 1
    assert first["bql_waiters", ("guest",)] == 2
    # sorted: blocked, role, site, thread, tid, vm
    owner = ("drain", "main", POLL, "qemu-system-x86", "901", "guest")
    assert first["bql_owner_info", owner] == 1
    assert first["bql_owner_held_seconds", ("guest",)] > 0
    assert (
        first["bql_owner_held_seconds", ("guest",)] < second["bql_owner_held_seconds", ("guest",)]
    )


def test_a_free_lock_has_no_owner(tmp_path: Path) -> None:
    with (
        alive_recording(example(), tmp_path / "r.bql"),
        exporter_of(tmp_path / "r.bql") as exporter,
    ):
        found = scraped(exporter)
    assert found["bql_owner_held_seconds", ("guest",)] == 0
    assert not [key for key in found if key[0] == "bql_owner_info"]


def test_the_held_ratio_is_of_the_time_since_the_last_scrape(tmp_path: Path) -> None:
    build = RecordingBuilder()
    main = build.thread(Role.MAIN, "main")
    poll = build.site("a.c", 1, "poll")
    build.acquire(main, poll, hold=1_000_000)
    build.sync(after=3_000_000)
    path = build.write(tmp_path / "r.bql")
    with exporter_of(path) as exporter:
        assert scraped(exporter)["bql_process_up", ("guest",)] == 0
        (sample,) = exporter.samples()
        assert sample.held_ratio == pytest.approx(1_000_000 / (1_000_000 + 3_000_000 + 1_000_000))
        build.acquire(main, poll, hold=3_000_000_000)
        build.sync(after=1_000_000_000)
        build.threads["seq"][main] += 2
        path.write_bytes(build.data)
        (sample,) = exporter.samples()
        assert sample.held_ratio == pytest.approx(3 / 4)
        build.sync(after=1_000_000_000)  # half a second: still against the scrape before
        path.write_bytes(build.data)
        (sample,) = exporter.samples()
        assert sample.held_ratio == pytest.approx(3 / 5)
        build.sync(after=3_000_000_000)
        path.write_bytes(build.data)
        (sample,) = exporter.samples()
    assert sample.held_ratio == 0.0


def test_exemplars_name_the_thread_of_the_slowest_wait(tmp_path: Path) -> None:
    with exporter_of(example().write(tmp_path / "r.bql")) as exporter:
        families = {family.name: family for family in exporter.registry.collect()}
    waits = families["bql_wait_seconds"]
    assert isinstance(waits, Histograms)
    (block,) = waits.blocks
    line = [labels[1:] for labels in block.labels].index(("vcpu", "serial"))
    slowest = block.slowest[line]
    assert slowest is not None
    assert slowest.tid == 903
    assert slowest.seconds == pytest.approx((5_003 + 16 + 97 + 13) * TICK, rel=1e-5)
    assert slowest.at == pytest.approx(START_REALTIME_NS / 1e9, abs=1)


def test_single_threads_are_told_apart_only_when_asked_for(tmp_path: Path) -> None:
    path = example().write(tmp_path / "r.bql")
    with exporter_of(path, per_thread=True) as exporter:
        found = scraped(exporter)
    # sorted: kind, role, site, thread, tid, vm
    key = ("lock", "vcpu", "serial", "CPU 1/KVM", "903", "guest")
    assert found["bql_acquisitions_total", key] == 17
    with exporter_of(path) as exporter:
        names = {label for key in scraped(exporter) for label in key[1]}
    assert "903" not in names


def test_exits_and_disk_requests_are_what_was_counted(tmp_path: Path) -> None:
    with exporter_of(example().write(tmp_path / "r.bql")) as exporter:
        found = scraped(exporter)
    assert found["bql_vcpu_exits_total", ("pio", "guest")] == 19
    assert ("bql_vcpu_exits_total", ("hlt", "guest")) not in found
    queue = ("disk0", "iothread", "0")  # sorted: device, placement, queue, …
    assert found["bql_virtio_blk_requests_total", (*queue, "read", "guest")] == 8
    assert found["bql_virtio_blk_requests_total", (*queue, "write", "guest")] == 3
    assert ("bql_virtio_blk_requests_total", (*queue, "flush", "guest")) not in found
    assert found["bql_virtio_blk_bytes_total", ("disk0", "read", "iothread", "0", "guest")] == 32768
    assert found["bql_virtio_blk_request_errors_total", (*queue, "guest")] == 0
    durations = "bql_virtio_blk_request_duration_seconds"
    assert found[f"{durations}_count", (*queue, "guest")] == 11
    total = sum(range(20_011, 20_022)) * TICK
    assert found[f"{durations}_sum", (*queue, "guest")] == pytest.approx(total)
    # A process that ended has no queue any more, as it has no holder.
    assert ("bql_virtio_blk_queue_depth", (*queue, "guest")) not in found


def test_every_metric_of_the_table_is_exported_and_no_other(tmp_path: Path) -> None:
    build = example()
    build.row(2, 2)["contended"] += 0
    build.hold_now(0, 1)
    with (
        alive_recording(build, tmp_path / "r.bql"),
        exporter_of(tmp_path / "r.bql") as exporter,
    ):
        families: list[Any] = list(exporter.registry.collect())
    assert {family.entry for family in families} == set(METRICS)
    for family in families:
        assert isinstance(family, Values | Histograms)
        assert family.samples, family.name


def test_nothing_is_known_of_a_process_before_its_first_acquisition(tmp_path: Path) -> None:
    with exporter_of(RecordingBuilder().write(tmp_path / "r.bql")) as exporter:
        found = scraped(exporter)
    assert found["bql_process_up", ("guest",)] == 0
    assert not [key for key in found if key[0].startswith("bql_wait")]
