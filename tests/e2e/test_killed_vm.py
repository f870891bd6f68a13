# SPDX-License-Identifier: GPL-2.0-or-later
import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from profiler.errors import RecordingError
from profiler.reader import Recording

ENDLESS = "rw=read iodepth=16 bs=4096 ms=600000 warmup_ms=1 marks=1"


def wait_for_acquisitions(recording: Path, process: subprocess.Popen[str], count: int) -> None:
    """Until the VM has recorded that many; it does so for as long as it lives."""
    while process.poll() is None:
        with suppress(RecordingError), Recording.open(str(recording)) as opened:
            rows = opened.snapshot().rows
            if sum(sum(row.acquisitions) for row in rows) >= count:
                return
    pytest.fail(f"the VM ended by itself: {process.communicate()[1]}")


@pytest.mark.parametrize("accel", [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"])
@pytest.mark.parametrize("placement", ["", ",iothread=io0"])
def test_a_recording_survives_the_kill_of_its_vm(
    accel: str, placement: str, tmp_path: Path
) -> None:
    recording = tmp_path / "vm.bql"
    command = [sys.executable, "-m", "vmm", "run", "--kernel", "micro", "--smp", "2"]
    command += ["--accel", accel, "--append", ENDLESS, "--recording", str(recording)]
    command += ["--object", "iothread,id=io0", "--drive", f"driver=null,size=64M{placement}"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for_acquisitions(recording, process, 1009)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    check = [sys.executable, "-m", "profiler", "check", str(recording), "--json", "-"]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"]
