# SPDX-License-Identifier: GPL-2.0-or-later
"""A Python device that holds the lock, seen by the real py-spy from outside."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from profiler.errors import RecordingError
from profiler.model import Role
from profiler.reader import Recording
from profiler.stacks.store import read_dumps, stacks_path
from profiler.stacks.windows import undisturbed, windows
from tests.support.rig import wait_until
from tests.support.slow_device import REGION
from tests.support.vm import ROOT, environment

HOLD_SECONDS = 0.5
PROFILER = (sys.executable, "-m", "profiler")
ACCELERATORS = [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"]


@contextmanager
def slow_machine(recording: Path, accel: str) -> Iterator[int]:
    """A machine whose device has been entered; its process id."""
    script = ROOT / "tests" / "support" / "slow_device.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(recording), accel, str(HOLD_SECONDS)],
        env=environment(None),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )

    def is_held() -> bool:
        assert process.poll() is None, "the machine ended by itself"
        with suppress(RecordingError), Recording.open(recording) as opened:
            snapshot = opened.snapshot()
            holder = snapshot.holder
            return holder is not None and snapshot.site_label(holder.who.site) == REGION
        return False

    try:
        wait_until(is_held, "the device to hold the lock")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def run(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*PROFILER, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == status, done.stderr
    return done


def watch(pid: int, *options: str) -> dict[str, Any]:
    limits = ("--threshold", "100ms", "--every", "0.1s", "--most", "2")
    done = run("stacks", str(pid), "--watch", *limits, "--json", "-", *options)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def functions(dump: dict[str, Any], tid: int) -> list[str]:
    stacks = [thread["frames"] for thread in dump["threads"] if thread["tid"] == tid]
    return [frame[0] for frames in stacks for frame in frames]


@pytest.mark.parametrize("accel", ACCELERATORS)
def test_the_function_that_holds_the_lock_is_found_from_outside(accel: str, tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    with slow_machine(recording, accel) as pid:
        document = watch(pid)
    assert stat.S_IMODE(stacks_path(recording).stat().st_mode) == 0o600
    assert len(document["dumps"]) == 2
    for dump in document["dumps"]:
        holder = dump["holder"]
        assert (holder["label"], holder["role"]) == (REGION, "vcpu")
        assert holder["held_ns"] >= 0.1e9
        if holder["same"]:
            assert "SlowDevice.think_about_it" in functions(dump, holder["tid"])
    assert any(dump["holder"]["same"] for dump in document["dumps"])
    waiters = [waiter for dump in document["dumps"] for waiter in dump["waiters"]]
    # A vCPU that has just been told to run may wait on its way out of the pause, once.
    assert REGION in {waiter["label"] for waiter in waiters}
    assert {waiter["role"] for waiter in waiters} == {"vcpu"}
    told = run("stacks", str(recording)).stdout
    assert "SlowDevice.think_about_it" in told
    assert "made wait: CPU " in told
    flame = run("flame", str(recording), "-o", "-").stdout
    (line, *_) = (line for line in flame.splitlines() if "think_about_it" in line)
    waiting, holding = line.split(";[blocked by];")
    assert REGION in waiting
    assert REGION in holding
    assert "SlowDevice.read" in holding


def test_acquisitions_that_the_dumps_disturbed_can_be_left_out(tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    with slow_machine(recording, "qtest") as pid:
        watch(pid)
    with Recording.open(recording) as opened:
        snapshot = opened.snapshot(events=True)
        dumps = read_dumps(opened.process).dumps
    vcpus = [t.index for t in snapshot.threads if t.role is Role.VCPU]
    before = sum(len(snapshot.events[index].records) for index in vcpus)
    kept = undisturbed(snapshot, windows(dumps))
    after = sum(len(kept.snapshot.events[index].records) for index in vcpus)
    assert kept.excluded >= 2  # each dump lay in a hold of one and in a wait of the other
    assert 0 < after < before


def test_native_frames_come_on_request(tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    with slow_machine(recording, "qtest") as pid:
        document = watch(pid, "--native", "--most", "1")
    (dump,) = document["dumps"]
    assert dump["native"]
    names = {frame[0] for thread in dump["threads"] for frame in thread["frames"]}
    assert "SlowDevice.think_about_it" in names
    assert any(name.startswith(("iospace_", "vcpu_", "pthread_")) for name in names), names


def test_watching_ends_after_its_time_and_with_its_process(tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    with slow_machine(recording, "qtest") as pid:
        done = run("stacks", str(pid), "--watch", "--threshold", "1h", "--duration", "0.2s")
        assert "0 dumps taken" in done.stderr
        command = [*PROFILER, "stacks", str(recording), "--watch", "--threshold", "1h"]
        watcher = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert watcher.stderr is not None
        assert watcher.stderr.readline().startswith("watching process")
    rest = watcher.communicate(timeout=60)[1]
    assert watcher.returncode == 0
    assert "0 dumps taken" in rest
