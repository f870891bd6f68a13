# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope record` around whole machines: nothing that the recorder counted is missing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profiler.reader import Recording
from profiler.traces.source import open_source
from tests.support.qemu_vm import NAMED, NULL_DISK, command
from tests.support.qemus import QEMUS, qemu_id

BQLSCOPE = (sys.executable, "-m", "profiler")


def record(output: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Record a command. Returns its exit status and the totals."""
    totals = output.with_suffix(".json")
    options = ("-o", str(output), "--json", str(totals), "--quiet")
    result = subprocess.run(
        [*BQLSCOPE, "record", *options, "--", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert totals.exists(), result.stderr
    return result.returncode, json.loads(totals.read_text())


def check_complete(recording: Path, events: Path, totals: dict[str, Any]) -> None:
    """Every acquisition that the recorder counted is in the file or counted as dropped."""
    with Recording.open(recording) as opened, open_source(events) as source:
        truth, ours = opened.snapshot(), source.snapshot()
    counted = sum(row.total for row in truth.rows)
    assert totals["events"] + totals["dropped"] + totals["lost"] == counted
    assert sum(row.total for row in ours.rows) == totals["events"]
    if totals["events"] == counted:
        rows = {row.who: row for row in truth.rows if row.total}
        assert {row.who: row.wait_hist for row in ours.rows} == {
            who: row.wait_hist for who, row in rows.items()
        }
        assert sum(row.hold_total for row in ours.rows) == sum(row.hold_total for row in truth.rows)


def test_a_vm_of_ours_is_recorded_from_its_first_acquisition_to_its_last(tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    run = ("run", "--kernel", "micro", "--accel", "qtest", "--append", "mode=idle ms=300")
    keep = ("--recording", str(recording), "--keep-recording")
    status, totals = record(tmp_path / "vm.events", *BQLSCOPE, *run, *keep)
    assert status == 0
    assert totals["reason"] in ("ended", "closed")
    check_complete(recording, tmp_path / "vm.events", totals)


@pytest.mark.kvm
@pytest.mark.qemu
@pytest.mark.parametrize("qemu", QEMUS, ids=qemu_id)
def test_an_unmodified_qemu_is_recorded_through_its_launcher(qemu: Path, tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    words = command(qemu, *NAMED, *NULL_DISK, "-serial", "null", words="smp=2 ms=300", cpus=2)
    launcher = ("qemu", "--quiet", "--recording", str(recording), "--", *words)
    _, totals = record(tmp_path / "vm.events", *BQLSCOPE, *launcher)
    check_complete(recording, tmp_path / "vm.events", totals)
    with open_source(tmp_path / "vm.events") as source:
        devices = {source.names.device(index) for index in source.names.sites}
    assert any(device.startswith("virtio-mmio[23] 0x") for device in devices)
