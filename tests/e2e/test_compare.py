# SPDX-License-Identifier: GPL-2.0-or-later
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profiler.reader import Recording
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rig import wait_until

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


@pytest.mark.kvm
def test_placements_of_the_screen_are_watched_by_viewers_and_differ_in_who_encodes(
    tmp_path: Path,
) -> None:
    saved = tmp_path / "saved"
    document = compare(
        *("kvm", "--placements", "vnc-worker,vnc-mainloop", "--vnc-clients", "2"),
        *("--vnc-encoding", "zrle", "--save", str(saved)),
    )
    assert document["workload"]["vnc_clients"] == 2
    for placement in document["placements"].values():
        assert placement["iops"]["median"] > 0
        assert placement["accesses_per_s"]["median"] > 0
        assert placement["vnc_updates_per_s"]["median"] > 0
        assert placement["vnc_bytes_per_s"]["median"] > 0
    for kind, has_worker in (("worker", True), ("mainloop", False)):
        with Recording.open(str(saved / f"vnc-{kind}-trial1-recording.bql")) as opened:
            names = [thread.name for thread in opened.snapshot().threads]
        assert ("vnc_worker" in names) == has_worker


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


# ---- an unmodified QEMU -------------------------------------------------------------------------

IN_QEMU = (pytest.mark.kvm, pytest.mark.qemu, pytest.mark.timeout(240))


def in_qemu(*arguments: str, trials: int = 1, status: int = 0) -> dict[str, Any]:
    options = ("--trials", str(trials), "--duration", "0.2", "--warmup", "0.05", "--json", "-")
    done = bqlscope("compare", *options, *arguments, status=status)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def with_marks(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test with every QEMU that is there, under the marks of such tests."""
    for mark in (*IN_QEMU, pytest.mark.parametrize("qemu", QEMUS, ids=qemu_id)):
        test = mark(test)
    return test


@with_marks
def test_an_iothread_in_qemu_is_measured_and_its_lock_recorded(qemu: Path) -> None:
    # The map of devices is asked for before the window, which takes a loaded machine its time.
    document = in_qemu("--vmm", "qemu", "--qemu", str(qemu), "--warmup", "1")
    assert document["vmm"]["machine"] == "microvm"
    assert document["window"] == "marks"
    for placement in document["placements"].values():
        assert placement["config"]["irq"] == "mainloop"
        assert placement["iops"]["median"] > 0
        assert placement["access_p50_us"]["median"] > 0
        assert 0 <= placement["vcpu_bql_wait_share"]["median"] <= 1
    holds = {n: p["mainloop_bql_hold_share"] for n, p in document["placements"].items()}
    assert holds["mainloop"]["median"] > 0
    sites = {pair["waiter_site"] for pair in document["blame"]["mainloop"]}
    assert not [site for site in sites if site.startswith(("pio ", "mmio "))], "devices have names"


@with_marks
def test_on_pci_an_iothread_leaves_the_lock_alone(qemu: Path) -> None:
    document = in_qemu("--vmm", "qemu", "--qemu", str(qemu), "--machine", "q35")
    shares = {n: p["mainloop_bql_hold_share"] for n, p in document["placements"].items()}
    assert document["vmm"]["transport"] == "virtio-pci"
    assert document["placements"]["iothread"]["config"]["irq"] == "irqfd"
    assert 10 * shares["iothread"]["median"] < shares["mainloop"]["median"]


@with_marks
def test_every_placement_that_a_qemu_has_runs(qemu: Path) -> None:
    kinds = "mainloop,vcpu,iothread,iothread-vq-mapping"
    options = ("--vmm", "qemu", "--qemu", str(qemu), "--placements")
    if qemu_id(qemu) == "7":
        refused = bqlscope("compare", *options, kinds, status=2)
        assert "needs QEMU 9.0 or newer" in refused.stderr
        kinds = "mainloop,vcpu,iothread"
    document = in_qemu(*options, kinds, "--qemu-aio", "threads", "--irq", "none")
    assert list(document["placements"]) == kinds.split(",")
    assert all(placement["iops"]["median"] > 0 for placement in document["placements"].values())


@with_marks
def test_both_vmms_are_compared_in_one_run(qemu: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    options = ("--vmm", "bqlscope,qemu", "--qemu", str(qemu), "--save", str(saved))
    document = in_qemu(*options, "--fail-if", "iothread.iops>0", status=3)
    assert list(document["vmms"]) == ["bqlscope", "qemu"]
    for key, own in document["vmms"].items():
        assert own["vmm"]["name"] == key
        assert own["placements"]["iothread"]["vcpu_bql_wait_share"]["median"] is not None
        assert [check["failed"] for check in own["checks"]] == [True]
    for recording in saved.glob("qemu-*.bql"):
        assert json.loads(bqlscope("check", str(recording), "--json", "-").stdout)["ok"]
    assert len(list(saved.glob("*-trial1-recording.bql"))) == 4


def descendants(pid: int) -> set[int]:
    """Processes below this one; those that end meanwhile may be left out."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found |= {int(child), *descendants(int(child))}
    return found


@pytest.mark.kvm
@pytest.mark.qemu
@pytest.mark.skipif(not QEMUS, reason="no QEMU is installed")
def test_ctrl_c_ends_qemu_too(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [*BQLSCOPE, "compare", "--vmm", "qemu", "--qemu", str(QEMUS[-1]), "--duration", "30"]
    below: set[int] = set()

    def recorded() -> bool:
        below.update(descendants(process.pid))
        return any(path.stat().st_size for path in tmp_path.rglob("recording.bql"))

    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(recorded, "QEMU's recording")
            below |= descendants(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(below) > 1
    wait_until(lambda: not [p for p in below if Path(f"/proc/{p}").exists()], "QEMU's end")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_qemu_that_is_not_there_ends_with_3() -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("without /dev/kvm no QEMU is looked for")
    done = bqlscope("compare", "--vmm", "qemu", "--qemu", "/nonexistent/qemu", status=3)
    assert "apt install qemu-system-x86" in done.stderr
    assert done.stderr.count("\n") == 1
