# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope attach` against a monitor in this process, which therefore is the QEMU it measures."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profiler import cli
from profiler.discovery import process_start_time
from profiler.layout import Role
from profiler.qemu.peer import monitors_of
from tests.support.fake_monitor import HANG_UP, SILENCE, FakeMonitor, Refusal
from tests.support.recordings import RecordingBuilder

ME = str(os.getpid())
HEAD = "Type  Object  Call site  Wait Time (s)  Count  Average (us)\r\n" + "-" * 79 + "\r\n"
END = "-" * 79 + "\r\n"
MAIN_LOOP, CONDVAR = "util/main-loop.c:308", "system/cpus.c:463"


class Qemu:
    """Counts one wait of 2 ms a poll at the main loop, and 7 at a condition variable."""

    def __init__(self, on: bool = False) -> None:
        self.on = on
        self.polls = 0
        self.before_poll: Callable[[int], object] = lambda _poll: None

    @property
    def answers(self) -> dict[str, Any]:
        return {"human-monitor-command": self._hmp}

    def _hmp(self, arguments: dict[str, Any]) -> object:
        words = arguments["command-line"].split()
        if words[0] == "sync-profile":
            if len(words) == 1:
                return f"sync-profile is {'on' if self.on else 'off'}\r\n"
            self.on = words[1] == "on"
            return ""
        assert words == ["info", "sync-profile", "1000000"]
        assert self.on
        self.polls += 1
        answer = self.before_poll(self.polls)
        n = self.polls
        return answer or (
            f"{HEAD}condvar  [ 2]  {CONDVAR}  {n * 0.7:.5f}  {7 * n}  100000.00\r\n"
            f"BQL mutex  0x1  {MAIN_LOOP}  {n * 0.002:.5f}  {n}  2000.00\r\n{END}"
        )


def attach(monitor: FakeMonitor, *options: str, status: int = 0) -> None:
    arguments = ["attach", ME, "--qmp", str(monitor.path), *options]
    assert cli.main(arguments) == status


def test_totals_are_of_the_measured_time_and_the_big_lock_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = Qemu()
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        attach(monitor, "--duration", "0.2", "--interval", "0.1")
    out, progress = capsys.readouterr()
    parts = qemu.polls - 1  # the first poll is what the others are compared with
    rows = [line.split() for line in out.splitlines() if ".c:" in line]
    assert rows[0][:3] == ["BQL", "mutex", MAIN_LOOP]
    assert rows[0][5] == str(parts)
    assert rows[1][:2] == ["condvar", CONDVAR]
    assert rows[1][4] == str(7 * parts)
    assert "QEMU does not count: hold times" in out
    assert "bqlscope qemu" in out
    assert max(map(len, out.splitlines())) <= 80
    assert progress.count("BQL waits/s, ") == parts
    assert not qemu.on


def test_the_json_has_every_total_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = Qemu()
    saved = tmp_path / "lines"
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        attach(
            monitor, "--duration", "0.1", "--interval", "0.05", "--json", "-", "--save", str(saved)
        )
    document = json.loads(capsys.readouterr().out)
    parts = qemu.polls - 1
    assert (document["schema"], document["pid"], document["polls"]) == (1, os.getpid(), parts)
    assert (document["qemu_version"], document["ended"]) == ("10.0.2", "duration")
    assert (document["was_on"], document["counters_reset"]) == (False, False)
    assert "hold times" in document["missing"]
    first, second = document["sites"]
    assert (first["type"], first["bql"], first["site"]) == ("BQL mutex", True, MAIN_LOOP)
    assert (first["count"], first["objects"], second["objects"]) == (parts, 1, 2)
    assert first["wait_ns"] == pytest.approx(parts * 2e6)
    assert first["average_ns"] == pytest.approx(2e6)
    assert first["waits_per_second"] == pytest.approx(parts / document["seconds"])
    lines = [json.loads(line) for line in saved.read_text().splitlines()]
    assert len(lines) == parts
    assert all(line["sites"][0]["count"] == 1 for line in lines)
    assert lines[-1]["time_s"] == pytest.approx(document["seconds"])


def test_intervals_can_go_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeMonitor(tmp_path / "q", Qemu().answers) as monitor:
        attach(monitor, "--duration", "0.05", "--interval", "0.05", "--save", "-")
    line, table = capsys.readouterr().out.split("\n", 1)
    assert json.loads(line)["sites"][0]["count"] == 1
    assert MAIN_LOOP in table


def test_statistics_that_were_on_stay_on_and_are_not_reset(tmp_path: Path) -> None:
    qemu = Qemu(on=True)
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        attach(monitor, "--duration", "0.05")
        assert set(monitor.commands) == {"sync-profile", "info sync-profile 1000000"}
    assert qemu.on


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_measurement_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals, status: int
) -> None:
    qemu = Qemu()
    qemu.before_poll = lambda poll: os.kill(os.getpid(), number) if poll == 3 else None
    before = signal.getsignal(number)
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        if status:
            with pytest.raises(SystemExit) as ended:
                attach(monitor, "--interval", "0.05")
            assert ended.value.code == status
        else:
            attach(monitor, "--interval", "0.05")
    assert not qemu.on
    assert MAIN_LOOP in capsys.readouterr().out
    assert signal.getsignal(number) == before


def test_the_end_of_qemu_is_a_normal_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = Qemu()
    qemu.before_poll = lambda poll: HANG_UP if poll == 4 else None
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        attach(monitor, "--interval", "0.05")
    out = capsys.readouterr().out
    assert "QEMU ended" in out
    assert "2 waits for the BQL, 4 ms in all" in out


def test_a_qemu_that_ends_at_once_is_a_normal_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeMonitor(tmp_path / "q", {"human-monitor-command": HANG_UP}) as monitor:
        attach(monitor)
    assert "0 waits for the BQL" in capsys.readouterr().out


def test_an_error_in_the_middle_switches_off_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = Qemu()
    qemu.before_poll = lambda poll: "nonsense" if poll == 3 else None
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        attach(monitor, "--interval", "0.05", status=2)
    assert not qemu.on
    assert "is not the table" in capsys.readouterr().err


def test_a_first_table_that_makes_no_sense_switches_off_too(tmp_path: Path) -> None:
    qemu = Qemu()
    qemu.before_poll = lambda _poll: "nonsense"
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        attach(monitor, status=2)
    assert not qemu.on


def test_a_qemu_that_is_stuck_for_a_while_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "profiler.qemu.qmp.Qmp.__init__.__kwdefaults__",
        {
            "connect_timeout": 5.0,
            "command_timeout": 0.3,
        },
    )
    qemu = Qemu()

    def before_poll(poll: int) -> object:
        if poll == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return SILENCE if poll == 3 else None

    qemu.before_poll = before_poll
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        attach(monitor, "--interval", "0.05")
    out, progress = capsys.readouterr()
    assert "QEMU does not answer" in progress
    assert f"{qemu.polls - 1} waits for the BQL" in out


def test_what_cannot_be_switched_off_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = Qemu()

    def refusing(arguments: dict[str, Any]) -> object:
        if arguments["command-line"] == "sync-profile off":
            return Refusal("not today")
        return qemu.answers["human-monitor-command"](arguments)

    with FakeMonitor(tmp_path / "q", {"human-monitor-command": refusing}) as monitor:
        attach(monitor, "--duration", "0.05", status=2)
    error = capsys.readouterr().err
    assert "could not switch" in error
    assert "sync-profile off" in error


def test_counters_that_somebody_reset_are_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = Qemu()
    qemu.before_poll = lambda poll: HEAD + END if poll == 2 else None
    with FakeMonitor(tmp_path / "q", qemu.answers) as monitor:
        attach(monitor, "--duration", "0.05", "--interval", "0.05")
    assert "somebody reset the counters" in capsys.readouterr().out


def test_an_old_qemu_without_statistics_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"human-monitor-command": "unknown command: 'sync-profile'\r\n"}
    with FakeMonitor(tmp_path / "q", answers) as monitor:
        attach(monitor, status=2)
    assert "no sync-profile" in capsys.readouterr().err


def test_without_a_monitor_the_way_to_one_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["attach", ME]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "-qmp unix:SOCKET,server=on,wait=off" in error
    assert "bqlscope qemu" in error


def test_monitors_on_the_command_line_of_the_process_are_suggested(tmp_path: Path) -> None:
    words = ["qemu", "-qmp", "unix:/run/vm.qmp,server=on", "-qmp", "stdio", "-monitor", "unix:x"]
    words += ["-qmp-pretty", "tcp:127.0.0.1:4444,server=on"]
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_bytes(b"\0".join(w.encode() for w in words) + b"\0")
    assert monitors_of(7, tmp_path) == ["/run/vm.qmp", "127.0.0.1:4444"]
    assert monitors_of(8, tmp_path) == []


@pytest.fixture(name="stranger")
def _stranger() -> Any:
    """A process that is not the monitor's."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.communicate(b"\n")


def test_the_monitor_of_another_process_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stranger: "subprocess.Popen[bytes]"
) -> None:
    answers = {"query-cpus-fast": [{"thread-id": os.getpid()}]}
    with FakeMonitor(tmp_path / "q", answers) as monitor:
        assert cli.main(["attach", str(stranger.pid), "--qmp", str(monitor.path)]) == 2
    assert f"that of process {ME}, not of {stranger.pid}" in capsys.readouterr().err


def test_a_monitor_that_a_manager_made_is_known_by_the_cpus_threads(
    tmp_path: Path, stranger: "subprocess.Popen[bytes]"
) -> None:
    answers = {**Qemu().answers, "query-cpus-fast": [{"thread-id": stranger.pid}]}
    with FakeMonitor(tmp_path / "q", answers) as monitor:
        arguments = ["attach", str(stranger.pid), "--qmp", str(monitor.path)]
        assert cli.main([*arguments, "--duration", "0.05"]) == 0


def test_a_process_that_is_recorded_is_not_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import mmap  # noqa: PLC0415 (only here)

    build = RecordingBuilder(pid=os.getpid())
    build.header["process_start_time"] = process_start_time(os.getpid())
    build.thread(Role.MAIN, "main")
    path = build.write(tmp_path / "mine.bql")
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert cli.main(["attach", ME, "--qmp", "none"]) == 2
    assert f"bqlscope summary {path}" in capsys.readouterr().err


def test_a_process_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["attach", "4194304", "--qmp", "none"]) == 2
    assert capsys.readouterr().err == "bqlscope: there is no process 4194304\n"


def test_tcp_on_loopback_works_and_is_judged_by_threads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu = Qemu()
    answers = {**qemu.answers, "query-cpus-fast": [{"thread-id": threading.get_native_id()}]}
    with FakeMonitor(tmp_path / "q", answers) as monitor, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        relay = threading.Thread(target=_relay, args=(listener, monitor.path))
        relay.start()
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        assert cli.main(["attach", ME, "--qmp", where, "--duration", "0.05"]) == 0
        relay.join()
    assert MAIN_LOOP in capsys.readouterr().out


def _relay(listener: socket.socket, path: Path) -> None:
    """Pass one TCP connection on to a Unix socket, in both directions, until it ends."""
    client, _ = listener.accept()
    server = socket.socket(socket.AF_UNIX)
    server.connect(str(path))

    def copy(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=copy, args=(server, client))
    back.start()
    copy(client, server)
    back.join()
    client.close()
    server.close()
