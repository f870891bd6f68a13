# SPDX-License-Identifier: GPL-2.0-or-later
"""The monitor's client against a monitor that behaves as badly as it likes."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from profiler.qemu.qmp import Qmp, QmpClosedError, QmpError, QmpTimeoutError
from tests.support.fake_monitor import HANG_UP, SILENCE, FakeMonitor, Refusal


def connect(path: Path, **limits: float) -> Qmp:
    return Qmp(str(path), **limits)


def test_a_command_is_answered_and_the_greeting_tells_the_version(tmp_path: Path) -> None:
    with FakeMonitor(tmp_path / "q", {"query-name": {"name": "vm"}}) as monitor:
        with connect(monitor.path) as qmp:
            assert qmp.execute("query-name", {"a": 1}) == {"name": "vm"}
            assert qmp.version == "10.0.2"
            assert qmp.peer_pid == os.getpid()
        assert monitor.seen == [("query-name", {"a": 1})]


def test_a_closed_connection_leaves_no_event_loop_behind(
    tmp_path: Path,
) -> None:
    made: list[asyncio.AbstractEventLoop] = []

    class Counting(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            made.append(super().new_event_loop())
            return made[-1]

    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(Counting())
    try:
        with FakeMonitor(tmp_path / "q", {}) as monitor:
            connect(monitor.path).close()
    finally:
        asyncio.set_event_loop_policy(before)
    open_ones = [loop for loop in made if not loop.is_closed()]
    for loop in open_ones:
        loop.close()
    assert made
    assert open_ones == []


def test_text_of_the_human_monitor_has_plain_line_ends(tmp_path: Path) -> None:
    answers = {"human-monitor-command": lambda arguments: f"{arguments['command-line']}\r\nb\r\n"}
    with FakeMonitor(tmp_path / "q", answers) as monitor, connect(monitor.path) as qmp:
        assert qmp.hmp("info x") == "info x\nb\n"


def test_a_refused_command_says_what_qemu_says_and_the_next_one_works(tmp_path: Path) -> None:
    answers = {"stop": Refusal("not now"), "cont": {}}
    with FakeMonitor(tmp_path / "q", answers) as monitor, connect(monitor.path) as qmp:
        with pytest.raises(QmpError, match="refuses the command stop: not now"):
            qmp.execute("stop")
        assert qmp.execute("cont") == {}


def test_a_qemu_that_ends_in_the_middle_is_told_from_one_that_refuses(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with FakeMonitor(tmp_path / "q", {"stop": HANG_UP}) as monitor:
        qmp = connect(monitor.path)
        for _ in range(2):
            with pytest.raises(QmpClosedError, match="ended or closed"):
                qmp.execute("stop")
        qmp.close()
        with pytest.raises(QmpClosedError, match="is closed"):
            qmp.execute("stop")
    assert capfd.readouterr() == ("", "")


def test_a_qemu_that_ended_unnoticed_is_found_at_the_next_command(tmp_path: Path) -> None:
    with FakeMonitor(tmp_path / "q", {"query-name": {}}) as monitor:
        qmp = connect(monitor.path)
        qmp.execute("query-name")
    with qmp, pytest.raises(QmpClosedError):
        qmp.execute("query-name")


def test_a_qemu_that_ends_while_we_connect_is_nothing_worse(tmp_path: Path) -> None:
    with FakeMonitor(tmp_path / "q", {"qmp_capabilities": {}}) as monitor:
        for _ in range(20):
            with pytest.raises(QmpClosedError), connect(monitor.path) as qmp:
                qmp.execute("query-name")


def test_an_assertion_of_the_library_is_a_closed_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect_to_one_that_goes(self: QMPClient, sock: socket.socket) -> None:
        raise AssertionError

    monkeypatch.setattr(QMPClient, "connect", connect_to_one_that_goes)
    with FakeMonitor(tmp_path / "q", {}) as monitor, pytest.raises(QmpClosedError):
        connect(monitor.path)


def test_an_answer_that_does_not_come_costs_the_time_limit(tmp_path: Path) -> None:
    answers = {"stop": SILENCE, "cont": {}}
    with FakeMonitor(tmp_path / "q", answers) as monitor:
        with connect(monitor.path, command_timeout=0.3) as qmp:
            with pytest.raises(QmpTimeoutError, match=r"did not answer stop in 0\.3 s"):
                qmp.execute("stop")
            assert qmp.execute("cont") == {}


@pytest.mark.parametrize("greeting", [b"QEMU 10.0.2 monitor - type 'help'", b"{}", b"[]", b"\xff"])
def test_something_else_than_qmp_is_named(tmp_path: Path, greeting: bytes) -> None:
    with FakeMonitor(tmp_path / "q", {}, greeting) as monitor:
        with pytest.raises(QmpError, match="does not speak QMP"):
            connect(monitor.path)


def test_a_monitor_in_use_says_nothing(tmp_path: Path) -> None:
    with FakeMonitor(tmp_path / "q", {}) as monitor, connect(monitor.path):
        with pytest.raises(QmpError, match="another client uses it"):
            connect(monitor.path, connect_timeout=0.05)


def test_a_full_queue_of_connections_does_not_hang(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "q"))
        listener.listen(0)
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(str(tmp_path / "q"))
        with waiting, pytest.raises(QmpError, match=r"in use by another|nobody answers"):
            connect(tmp_path / "q", connect_timeout=0.05)


def test_a_missing_socket_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(QmpError, match=f"-qmp unix:{tmp_path}/q,server=on,wait=off"):
        connect(tmp_path / "q")


def test_a_socket_that_nobody_serves_is_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "q"))
    with pytest.raises(QmpError, match="nothing listens"):
        connect(tmp_path / "q")


@pytest.mark.parametrize("address", ["", "a\0b", "x" * 200])
def test_an_impossible_path_is_an_error_for_people(address: str) -> None:
    with pytest.raises(QmpError, match="cannot connect"):
        Qmp(address)


def test_only_this_machine_is_talked_to() -> None:
    with pytest.raises(QmpError, match="not on this machine"):
        Qmp("192.0.2.1:4444")


def test_a_port_out_of_range_is_an_error_for_people() -> None:
    with pytest.raises(QmpError, match="cannot connect"):
        Qmp("127.0.0.1:99999999")


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    with FakeMonitor(tmp_path / "q", {}) as monitor:
        before = threading.active_count()
        with connect(monitor.path):
            assert threading.active_count() == before


@pytest.mark.parametrize("answer", [{}, [{}], [{"thread-id": "x"}], 7, None])
def test_thread_ids_that_make_no_sense_are_an_error(tmp_path: Path, answer: object) -> None:
    answers = {"query-cpus-fast": answer}
    with FakeMonitor(tmp_path / "q", answers) as monitor, connect(monitor.path) as qmp:
        if answer == {}:
            assert qmp.thread_ids() == frozenset()
        else:
            with pytest.raises(QmpError, match="makes no sense"):
                qmp.thread_ids()
