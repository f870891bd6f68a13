# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorder inside unmodified QEMUs: what it counts, and that QEMU does not notice."""

import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from profiler.check import check_snapshot
from profiler.layout import Blocked, Kind, Role
from profiler.model import Snapshot
from profiler.qemu.sync_profile import BQL, LIMIT, parse_sync_profile
from profiler.reader import Recording
from tests.support.qemu_vm import (
    ENDLESS,
    NAMED,
    NULL_DISK,
    PreloadedQemu,
    command,
    environment,
    preloaded,
    recording_in,
)
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rig import wait_until

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.qemu,
    pytest.mark.timeout(180),
    pytest.mark.parametrize("qemu", QEMUS, ids=qemu_id),
]

HAMMERED = "pio 0x3fd"
"""What all CPUs but the first read."""


def taken_by_site(snapshot: Snapshot, *kinds: Kind) -> Counter[str]:
    """Acquisitions of these kinds by `file:line`."""
    sites = {site.index: f"{site.file}:{site.line}" for site in snapshot.sites}
    taken: Counter[str] = Counter()
    for row in snapshot.rows:
        taken[sites[row.site]] += sum(row.acquisitions[kind] for kind in kinds)
    return taken


def regions(snapshot: Snapshot) -> set[str]:
    """What the lock was taken for at the line that all devices share."""
    return {site.region for site in snapshot.sites if site.file.endswith("physmem.c")}


def wait_for_traffic(vm: PreloadedQemu, acquisitions: int = 2000) -> None:
    wait_until(lambda: vm.acquisitions() > acquisitions, "acquisitions")


def test_counts_are_those_of_qemus_own_profiler(qemu: Path, tmp_path: Path) -> None:
    options = (*NAMED, *NULL_DISK, "-enable-sync-profile")
    with preloaded(qemu, tmp_path, *options, words=f"irq=1 {ENDLESS}", cpus=2) as vm:
        wait_for_traffic(vm)
        vm.monitor.execute("stop")
        before = taken_by_site(vm.snapshot(), Kind.LOCK, Kind.TRYLOCK)
        theirs = parse_sync_profile(vm.monitor.hmp(f"info sync-profile -n {LIMIT}"))
        after = taken_by_site(vm.snapshot(), Kind.LOCK, Kind.TRYLOCK)
    compared = {key.site: waits.count for key, waits in theirs.items() if key.kind == BQL}
    assert len(compared) > 4
    assert sum(compared.values()) > 2000
    for site, count in compared.items():  # the main loop and the RCU thread go on meanwhile
        assert 0.99 * before[site] <= count <= 1.01 * after[site], site


def test_the_recording_adds_up_and_names_what_each_exit_was_for(qemu: Path, tmp_path: Path) -> None:
    with preloaded(qemu, tmp_path, *NAMED, *NULL_DISK, words=ENDLESS, cpus=2) as vm:
        wait_until(lambda: HAMMERED in regions(vm.snapshot()), "the other CPU's reads")
        vm.monitor.execute("stop")
        wait_until(lambda: check_snapshot(vm.snapshot()).ok, "a quiet recording")
        snapshot = vm.snapshot()
    names = {thread.name: thread.role for thread in snapshot.threads}
    assert names["CPU 0/KVM"] is names["CPU 1/KVM"] is Role.VCPU
    assert names[snapshot.process.name] is Role.MAIN
    found = regions(snapshot)
    assert any(re.fullmatch("mmio 0xfeb0[0-9a-f]{4}", region) for region in found)
    assert all(re.fullmatch(r"(pio|mmio) 0x[0-9a-f]+", region) for region in found)
    assert any("cpus.c:" in site for site in +taken_by_site(snapshot, Kind.COND))


def test_threads_without_names_get_their_roles_from_their_call_sites(
    qemu: Path, tmp_path: Path
) -> None:
    with preloaded(qemu, tmp_path, *NULL_DISK, words=ENDLESS, cpus=2) as vm:
        wait_for_traffic(vm)
        threads = vm.snapshot().threads
    by_role = Counter(thread.role for thread in threads)
    assert by_role[Role.VCPU] == 2
    assert by_role[Role.MAIN] == 1
    assert by_role[Role.OTHER] == 0
    assert {t.name for t in threads if t.role is Role.VCPU} == {"CPU 0/KVM", "CPU 1/KVM"}


def test_a_drain_under_the_lock_is_a_sleep_in_a_poll(qemu: Path, tmp_path: Path) -> None:
    slow = (
        "-drive", "if=none,id=d0,driver=null-co,size=64M,latency-ns=20000000",
        "-device", "virtio-blk-device,drive=d0",
    )  # fmt: skip
    with preloaded(qemu, tmp_path, *NAMED, *slow, words=ENDLESS) as vm:
        wait_for_traffic(vm, 200)
        vm.monitor.execute("stop")  # drains the disk: requests are always in flight
        snapshot = vm.snapshot()
    main = [row for row in snapshot.rows if snapshot.role_of(row.who) is Role.MAIN]
    slept = sum(row.blocked_ticks[Blocked.POLL] for row in main)
    assert snapshot.clock.ns(slept) > 1e6


def test_a_daemon_in_a_sandbox_is_recorded_under_its_own_pid(qemu: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    options = ("-daemonize", "-pidfile", str(pid_file), "-sandbox", "on", "-serial", "null")
    subprocess.run(
        command(qemu, *NAMED, *NULL_DISK, *options, words=ENDLESS, cpus=2),
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    pid = int(pid_file.read_text())
    try:
        path = recording_in(tmp_path)
        assert path.name == f"{pid}.bql"
        with Recording.open(path) as recording:
            wait_until(
                lambda: sum(row.total for row in recording.snapshot().rows) > 1000, "traffic"
            )
            assert recording.process.alive
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_qemu_that_dies_leaves_a_recording_that_adds_up(
    qemu: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with preloaded(qemu, tmp_path, *NAMED, *NULL_DISK, words=ENDLESS, cpus=2) as vm:
        wait_for_traffic(vm)
        vm.process.send_signal(number)
        assert vm.process.wait(60) == -number
        snapshot = vm.snapshot()
    assert not snapshot.process.alive
    assert not snapshot.closed
    assert check_snapshot(snapshot).ok


def test_the_window_is_copied_at_the_guests_marks(qemu: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(
            qemu, *NAMED, *NULL_DISK, "-serial", "stdio",
            words="ms=200 warmup_ms=50 marks=1", cpus=2,
        ),
        env=environment(tmp_path, BQLSCOPE_RECORDING=str(tmp_path / "vm.bql"), BQLSCOPE_WINDOW="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith(b'{"bqlscope_guest"')  # and nothing before it
    with Recording.open(tmp_path / "vm.bql") as recording:
        assert recording.snapshot().closed
    snapshots = []
    for mark in ("begin", "end"):
        with Recording.open(tmp_path / f"vm.bql.{mark}") as recording:
            snapshots.append(recording.snapshot())
    window = snapshots[1].since(snapshots[0])
    assert 0.2 < window.elapsed_seconds < 2
    assert sum(row.total for row in window.rows) > 100


def test_a_qemu_that_only_tells_its_version_leaves_nothing_behind(
    qemu: Path, tmp_path: Path
) -> None:
    plain = subprocess.run([qemu, "--version"], capture_output=True, check=True)
    recorded = subprocess.run(
        [qemu, "--version"], capture_output=True, check=True, env=environment(tmp_path)
    )
    assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr)
    assert list(tmp_path.glob("**/*.bql")) == []


def test_a_helper_of_qemus_does_not_inherit_the_recorder(qemu: Path, tmp_path: Path) -> None:
    script, found = tmp_path / "helper", tmp_path / "environment"
    script.write_text(f'#!/bin/sh\nenv >"{found}"\nexit 1\n')
    script.chmod(0o755)
    done = subprocess.run(
        command(qemu, *NAMED, "-netdev", f"tap,id=n0,helper={script}", words="mode=idle"),
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "PATH=" in found.read_text()
    assert "LD_PRELOAD" not in found.read_text()


def test_a_place_that_cannot_be_written_is_one_line_and_qemu_goes_on(
    qemu: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        command(qemu, *NAMED, "-serial", "stdio", words="mode=idle ms=10"),
        env=environment(tmp_path, BQLSCOPE_RECORDING=str(tmp_path / "no" / "such" / "place.bql")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1  # the guest's own exit status 0, as isa-debug-exit gives it
    assert done.stdout.startswith('{"bqlscope_guest"')
    said = [line for line in done.stderr.splitlines() if line.startswith("bqlscope:")]
    assert len(said) == 1
    assert said[0].endswith("No such file or directory; nothing is recorded")
