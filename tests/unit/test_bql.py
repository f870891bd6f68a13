# SPDX-License-Identifier: GPL-2.0-or-later
"""The Python face of the big lock and its recorder."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler.check import check_snapshot
from profiler.model import Snapshot
from profiler.reader import Recording
from vmm._native import lib
from vmm.bql import POLICIES, Bql, Recorder


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "test.bql", vm_name="unit")
    yield recorder
    recorder.close(unlink=True)


@pytest.fixture(params=POLICIES)
def bql(request: pytest.FixtureRequest, recorder: Recorder) -> Iterator[Bql]:
    with Bql(request.param, recorder) as bql:
        yield bql


def snapshot(recorder: Recorder) -> Snapshot:
    with Recording.open(Path(recorder.path)) as recording:
        return recording.snapshot()


def test_a_hold_is_recorded_at_its_callers_line(bql: Bql, recorder: Recorder) -> None:
    for _ in range(23):
        with bql.held():
            bql.assert_held()
    taken = snapshot(recorder)
    assert check_snapshot(taken).ok
    assert [row.total for row in taken.rows if row.total] == [23]
    (row,) = (row for row in taken.rows if row.total)
    assert taken.sites[row.site].file.endswith("test_bql.py")


def test_locking_twice_raises_and_keeps_the_lock(bql: Bql) -> None:
    with bql.held():
        with pytest.raises(RuntimeError, match="not recursive"):
            bql.lock()
        with pytest.raises(RuntimeError, match="not recursive"):
            bql.trylock()
        assert bql.locked()
    assert not bql.locked()


def test_unlocking_unheld_raises(bql: Bql) -> None:
    with pytest.raises(RuntimeError, match="must be held"):
        bql.unlock()
    with pytest.raises(RuntimeError, match="must be held"):
        bql.condition().wait(0)


def test_a_waiting_thread_lets_the_holder_run(bql: Bql) -> None:
    taken = threading.Event()

    def wait_for_it() -> None:
        with bql.held():
            taken.set()

    with bql.held():
        waiter = threading.Thread(target=wait_for_it)
        waiter.start()
        assert sum(range(1000)) == 499500  # needs the GIL while the other waits
        assert not taken.is_set()
    waiter.join()
    assert taken.is_set()


def test_trylock_fails_while_another_thread_holds(bql: Bql) -> None:
    results: list[bool] = []
    with bql.held():
        other = threading.Thread(target=lambda: results.append(bql.trylock()))
        other.start()
        other.join()
    assert results == [False]
    assert bql.trylock()
    bql.unlock()


def test_a_condition_hands_turns_over(bql: Bql) -> None:
    condition = bql.condition()
    turns: list[str] = []

    def other() -> None:
        with bql.held():
            for _ in range(23):
                while len(turns) % 2 == 0:
                    condition.wait()
                turns.append("other")
                condition.notify()

    thread = threading.Thread(target=other)
    thread.start()
    with bql.held():
        for _ in range(23):
            turns.append("main")
            condition.notify_all()
            while len(turns) % 2 == 1:
                condition.wait()
    thread.join()
    assert turns == ["main", "other"] * 23


def test_a_condition_wait_times_out(bql: Bql) -> None:
    with bql.held():
        assert not bql.condition().wait(timeout=0)
        assert bql.locked()


def test_time_held_while_blocked_has_its_reason(bql: Bql, recorder: Recorder) -> None:
    with bql.held(), bql.blocked(lib.BQLREC_BLOCKED_FILE_IO):
        pass
    (row,) = (row for row in snapshot(recorder).rows if row.total)
    assert row.blocked_count[lib.BQLREC_BLOCKED_FILE_IO] == 1


def test_switching_the_recorder_off_stops_counting(bql: Bql, recorder: Recorder) -> None:
    recorder.enabled = False
    assert not recorder.enabled
    with bql.held():
        pass
    recorder.enabled = True
    with bql.held():
        pass
    assert sum(row.total for row in snapshot(recorder).rows) == 1


def test_a_recorder_serves_one_lock_and_outlives_it(recorder: Recorder) -> None:
    with Bql(recorder=recorder):
        with pytest.raises(OSError, match="cannot make the lock") as caught:
            Bql(recorder=recorder)
        assert caught.value.errno == errno.EBUSY
        with pytest.raises(RuntimeError, match="close the lock"):
            recorder.close()
    Bql(recorder=recorder).close()


def test_closed_objects_raise(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "closed.bql")
    bql = Bql(recorder=recorder)
    with bql.held(), pytest.raises(RuntimeError, match="while it is held"):
        bql.close()
    bql.close()
    bql.close()
    recorder.close()
    with pytest.raises(RuntimeError, match="closed"):
        bql.lock()
    with pytest.raises(RuntimeError, match="closed"):
        recorder.sync_clock()
    assert Path(recorder.path).exists()


def test_a_recording_is_private_and_never_follows_a_link(tmp_path: Path) -> None:
    with Recorder(tmp_path / "private.bql") as recorder:
        assert os.stat(recorder.path).st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="not a regular file"):
        Recorder(tmp_path / "link")


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown lock policy"):
        Bql("spin")
