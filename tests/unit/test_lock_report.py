# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording's plain answer to a monitor: who holds the lock, who waits, what it cost."""

import json
import threading
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from profiler.errors import RecordingError
from profiler.lock_report import BLAMED_PAIRS, lock_report
from tests.support.rig import wait_until
from vmm._native import lib
from vmm.bql import Bql, Recorder
from vmm.monitor.errors import MonitorError
from vmm.monitor.lock_reports import GROUP, LockReports


def test_holder_waiter_and_blame_are_named(tmp_path: Path) -> None:
    path = str(tmp_path / "r.bql")
    recorder = Recorder(path)
    bql = Bql(recorder=recorder)
    recorder.enter_thread(lib.BQLREC_ROLE_MAIN, "main")

    def second() -> None:
        recorder.enter_thread(lib.BQLREC_ROLE_VCPU, "CPU 0/KVM")
        bql.lock(site)
        bql.unlock()

    site = bql.site("device.py", 7, "read", "slow-device")
    thread = threading.Thread(target=second)
    with bql.held():
        thread.start()
        wait_until(lambda: lock_report(path)["waiters"] == 1, "the second thread")
        with bql.blocked(lib.BQLREC_BLOCKED_FILE_IO):
            report = lock_report(path)
    thread.join()
    holder = report["holder"]
    assert (holder["thread"], holder["role"], holder["blocked"]) == ("main", "main", "file_io")
    assert holder["held-ns"] >= holder["blocked-ns"] >= 0
    assert "test_holder_waiter" in holder["site"]
    after = lock_report(path)
    assert after["holder"] is None
    assert after["waiters"] == 0
    (row,) = [each for each in after["sites"] if each["region"] == "slow-device"]
    assert (row["file"], row["line"], row["count"], row["contended"]) == ("device.py", 7, 1, 1)
    assert row["wait-ns"] > 0
    (pair,) = after["blame"]
    assert pair["waiter"]["thread"] == "CPU 0/KVM"
    assert pair["waiter"]["site"] == "slow-device"
    assert pair["holder"]["thread"] == "main"
    assert 0 < pair["wait-ns"] <= row["wait-ns"]
    assert len(after["blame"]) <= BLAMED_PAIRS
    json.dumps(after)
    bql.close()
    recorder.close()


def test_the_installed_reader_is_found_by_its_entry_point(tmp_path: Path) -> None:
    assert "profiler.lock_report:lock_report" in {each.value for each in entry_points(group=GROUP)}
    with pytest.raises(MonitorError, match=r"cannot read the recording: .*nothing"):
        LockReports(str(tmp_path / "nothing")).read()
    with pytest.raises(MonitorError, match="not recorded"):
        LockReports(None).read()
    with pytest.raises(RecordingError):
        lock_report(str(tmp_path / "nothing"))
