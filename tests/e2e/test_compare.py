# SPDX-License-Identifier: GPL-2.0-or-later
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profiler.reader import Recording

QUICK = ("--trials", "2", "--duration", "0.15", "--warmup", "0.05")
BQLSCOPE = (sys.executable, "-m", "profiler")
ACCELERATORS = (pytest.param("kvm", marks=pytest.mark.kvm), "qtest")


def bqlscope(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*BQLSCOPE, *arguments], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == status, done.stderr
    return done


def compare(accel: str, *arguments: str, status: int = 0) -> dict[str, Any]:
    done = bqlscope("compare", "--accel", accel, *QUICK, "--json", "-", *arguments, status=status)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("accel", ACCELERATORS)
def test_a_comparison_measures_both_placements_of_a_real_machine(accel: str) -> None:
    document = compare(accel)
    assert set(document["placements"]) == {"mainloop", "iothread"}
    for placement in document["placements"].values():
        assert placement["iops"]["median"] > 0
        assert placement["access_p50_us"]["median"] > 0
        assert len(placement["iops"]["trials"]) == 2
    holds = {n: p["mainloop_bql_hold_share"] for n, p in document["placements"].items()}
    assert holds["mainloop"]["median"] > 0


@pytest.mark.parametrize("accel", ACCELERATORS)
def test_an_iothread_takes_the_lock_for_no_request(accel: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    compare(accel, "--save", str(saved))
    recordings = sorted(saved.glob("iothread-*.bql"))
    assert recordings
    for recording in recordings:
        done = bqlscope("check", str(recording), "--json", "-")
        assert json.loads(done.stdout)["ok"]
    with Recording.open(str(recordings[0])) as opened:
        snapshot = opened.snapshot()
    iothreads = [t.index for t in snapshot.threads if t.name.startswith("IO ")]
    assert iothreads
    assert not [r for r in snapshot.rows if r.thread in iothreads and any(r.acquisitions)]


@pytest.mark.kvm
def test_all_four_placements_and_both_interrupt_paths_compare_in_one_run() -> None:
    document = compare(
        "kvm",
        "--placements",
        "mainloop,vcpu,iothread,iothread-vq-mapping",
        "--irq",
        "irqfd,mainloop",
        "--trials",
        "1",
    )
    assert set(document["placements"]) == {
        "mainloop",
        "vcpu",
        "iothread",
        "iothread/irq=mainloop",
        "iothread-vq-mapping",
        "iothread-vq-mapping/irq=mainloop",
    }
    assert document["verdict"]["decided"] is False  # one trial decides nothing


def test_a_limit_that_is_passed_ends_with_status_3() -> None:
    document = compare("qtest", "--fail-if", "iothread.iops>0", status=3)
    assert document["checks"][0]["failed"] is True


def test_a_limit_that_is_kept_ends_with_status_0() -> None:
    document = compare("qtest", "--fail-if", "iothread.iops<0")
    assert document["checks"][0]["failed"] is False


def test_ctrl_c_ends_the_comparison_and_leaves_no_process_or_image(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [*BQLSCOPE, "compare", "--accel", "qtest", "--duration", "30"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    child = ""
    while not child and process.poll() is None:  # the first trial's VMM
        child = children.read_text().strip()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not Path(f"/proc/{child}").exists()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
