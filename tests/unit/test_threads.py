# SPDX-License-Identifier: GPL-2.0-or-later
import os
import signal
import threading
from pathlib import Path

import pytest

from profiler.reader import Recording
from vmm._native import lib
from vmm.bql import Recorder
from vmm.threads import spawn


def test_a_thread_has_its_name_and_hears_no_signal(tmp_path: Path) -> None:
    seen: dict[str, object] = {}

    def body() -> None:
        seen["name"] = Path("/proc/thread-self/comm").read_text().rstrip("\n")
        seen["tid"] = threading.get_native_id()
        seen["blocked"] = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    thread = spawn("a name of more than fifteen", int(lib.BQLREC_ROLE_OTHER), None, body)
    assert thread.join(20)
    assert seen["name"] == "a name of more "
    assert seen["tid"] == thread.tid
    blocked = seen["blocked"]
    assert isinstance(blocked, set)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1} <= blocked
    assert signal.SIGSEGV not in blocked
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_the_recorder_knows_role_and_name_before_the_start_returns(tmp_path: Path) -> None:
    path = tmp_path / "r.bql"
    with Recorder(path) as recorder:
        end = threading.Event()

        def body() -> None:
            end.wait()

        thread = spawn("vnc_worker", int(lib.BQLREC_ROLE_VNC), recorder, body)
        with Recording.open(path) as recording:
            threads = {each.name: each for each in recording.snapshot().threads}
        end.set()
        assert thread.join(20)
    assert threads["vnc_worker"].role.name.lower() == "vnc"
    assert threads["vnc_worker"].tid == thread.tid


def test_what_a_body_raises_ends_the_thread_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def body() -> None:
        raise ZeroDivisionError("nine by nothing")

    assert spawn("x", int(lib.BQLREC_ROLE_OTHER), None, body).join(20)
    assert "thread x ended" in caplog.text
    assert "nine by nothing" in caplog.text


def test_a_cpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        spawn("x", int(lib.BQLREC_ROLE_OTHER), None, lambda: None, cpu=1000)


def test_a_thread_runs_where_it_is_told_to() -> None:
    seen: list[set[int]] = []
    cpu = max(os.sched_getaffinity(0))
    body = lambda: seen.append(os.sched_getaffinity(0))  # noqa: E731
    assert spawn("x", int(lib.BQLREC_ROLE_OTHER), None, body, cpu=cpu).join(20)
    assert seen == [{cpu}]
