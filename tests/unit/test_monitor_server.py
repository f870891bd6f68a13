# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets, threads and limits of the monitors, around a machine that is only a stub."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.rig import thread_names, wait_until
from vmm.bql import Bql
from vmm.errors import VmmError
from vmm.events import EventBus
from vmm.monitor import connection
from vmm.monitor.dispatcher import Dispatcher
from vmm.monitor.hmp.connection import MAX_LINE, LineSession
from vmm.monitor.json_stream import MAX_NESTING
from vmm.monitor.options import MonitorOptions
from vmm.monitor.server import MAX_CLIENTS, Monitors
from vmm.trace import Trace

NEGOTIATE = b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}'


class State(Enum):
    RUNNING = "running"


class Stub:
    """What the monitors need of a machine. ``gate`` closed: its main loop does nothing."""

    def __init__(self) -> None:
        self.recorder = None
        self.bql = Bql()
        self.main_loop = SimpleNamespace(asyncio=asyncio.new_event_loop())
        self.events = EventBus()
        self.trace = Trace()
        self.control = SimpleNamespace(state=State.RUNNING)
        self.config = SimpleNamespace(kernel=Path("stub"))
        self.cpus: list[Any] = []
        self.accel_choice = SimpleNamespace(name="qtest")


class Rig:
    """Monitors whose main loop runs in a thread of the test."""

    def __init__(self, *options: MonitorOptions) -> None:
        self.stub = Stub()
        self.loop: asyncio.AbstractEventLoop = self.stub.main_loop.asyncio
        self._thread = threading.Thread(target=self._run)
        with self.stub.bql.held():
            try:
                self.monitors = Monitors(cast(Any, self.stub), options)
            except VmmError:
                self.loop.close()
                raise

    def _run(self) -> None:
        with self.stub.bql.held():
            self.loop.run_forever()

    def start(self) -> None:
        self._thread.start()

    def in_main(self, fn: Any, *args: Any) -> None:
        self.loop.call_soon_threadsafe(fn, *args)

    def close(self) -> None:
        if self._thread.is_alive():
            self.in_main(self.loop.stop)
            self._thread.join()
        with self.stub.bql.held():
            self.monitors.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        self.stub.bql.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(
        MonitorOptions("--qmp", tmp_path / "qmp"), MonitorOptions("--monitor", tmp_path / "hmp")
    )
    yield found
    found.close()


@contextmanager
def client(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as found:
        found.settimeout(20)
        found.connect(str(path))
        yield found


def read(found: socket.socket, lines: int = 1) -> list[Any]:
    data = b""
    while data.count(b"\r\n") < lines:
        more = found.recv(65536)
        assert more, data
        data += more
    return [json.loads(line) for line in data.split(b"\r\n")[:-1]]


def test_a_client_is_greeted_while_the_main_loop_stands_still(rig: Rig, tmp_path: Path) -> None:
    assert "IO mon_iothread" in thread_names()
    with client(tmp_path / "qmp") as found:
        assert "QMP" in read(found)[0]
        found.sendall(NEGOTIATE)
        rig.start()
        assert read(found) == [{"return": {}}]


def test_a_client_negotiates_while_the_main_loop_stands_still(rig: Rig, tmp_path: Path) -> None:
    """Else nobody who comes late could ask who holds the lock."""
    with client(tmp_path / "qmp") as found:
        read(found)
        found.sendall(b'{"execute": "stop", "id": 1}' + NEGOTIATE)
        found.sendall(b'{"exec-oob": "x-query-bql"}{"execute": "query-name"}')
        refused, negotiated, answer = read(found, 3)
        assert (refused["error"]["class"], refused["id"]) == ("CommandNotFound", 1)
        assert negotiated == {"return": {}}
        assert "is not recorded" in answer["error"]["desc"]  # by this stub
        rig.start()


class Asker:
    """Keeps the answers it gets in a list of all."""

    def __init__(self, name: str, answers: list[str]) -> None:
        self.name, self._answers = name, answers

    def answer(self, reply: bytes) -> None:
        self._answers.append(self.name + reply.decode())


def test_clients_take_turns_and_what_a_lost_one_wants_is_dropped() -> None:
    answers: list[str] = []

    async def job(text: bytes) -> bytes:
        await asyncio.sleep(0)
        return text

    async def scenario() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        busy, other, lost = (Asker(name, answers) for name in "abc")
        for number in (b"1", b"2", b"3"):
            dispatcher.submit(busy, partial(job, number))
        dispatcher.submit(lost, partial(job, b"1"))
        dispatcher.submit(other, partial(job, b"1"))
        dispatcher.forget(lost)
        while len(answers) < 4:
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert answers == ["a1", "b1", "a2", "a3"]


def test_requests_beyond_the_queue_wait_in_the_socket(rig: Rig, tmp_path: Path) -> None:
    rig.start()
    with client(tmp_path / "qmp") as found:
        read(found)
        found.sendall(NEGOTIATE)
        read(found)
        for number in range(200):
            found.sendall(json.dumps({"execute": "query-status", "id": number}).encode())
        assert [each["id"] for each in read(found, 200)] == list(range(200))


@pytest.mark.parametrize(
    "request_around",
    [
        b'{"execute": "query-version", "id": %s}',
        b'{"exec-oob": "x-query-bql", "id": %s}',
        b'{"execute": "qom-set", "arguments": {"path": "x", "property": "y", "value": %s}}',
        b'{"execute": "nonsense", "arguments": %s}',
        b'{"execute": "blockdev-add", "arguments": {"driver": "raw", "file": %s}}',
    ],
)
@pytest.mark.parametrize("shape", [(b"[", b"1", b"]"), (b'{"driver":"raw","file":', b'"x"', b"}")])
def test_any_depth_is_answered_or_refused(
    rig: Rig,
    tmp_path: Path,
    request_around: bytes,
    shape: tuple[bytes, bytes, bytes],
) -> None:
    """A value that can be read but not written would leave the client without an answer."""
    rig.stub.trace.switch("*", True)
    rig.start()
    opened, inside, closed = shape
    with client(tmp_path / "qmp") as found, found.makefile("rb") as lines:
        found.sendall(NEGOTIATE)
        assert "QMP" in json.loads(lines.readline())
        assert json.loads(lines.readline()) == {"return": {}}
        for depth in (MAX_NESTING - 3, MAX_NESTING, 990):
            found.sendall(request_around % (opened * depth + inside + closed * depth) + b"\xff")
            found.sendall(b'{"execute": "query-version", "id": "last"}')
            while (answer := json.loads(lines.readline())).get("id") != "last":
                assert "RecursionError" not in str(answer)


def test_a_client_that_does_not_read_is_not_read_either_and_then_dropped(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_UNSENT", 100_000)
    rig.start()
    with client(tmp_path / "qmp") as found:
        read(found)
        found.sendall(NEGOTIATE)
        read(found)
        for _ in range(20_000):
            rig.in_main(rig.stub.events.emit, "STOP")
        wait_until(lambda: not rig.monitors._clients, "the end of the slow client")
        got = b""
        with suppress(ConnectionResetError):
            while more := found.recv(65536):
                got += more
        assert 0 < got.count(b"STOP") < 20_000


def test_one_client_too_many_is_hung_up_on(rig: Rig, tmp_path: Path) -> None:
    rig.start()
    others = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS)]
    for each in others:
        each.settimeout(20)
        each.connect(str(tmp_path / "qmp"))
        read(each)
    with client(tmp_path / "qmp") as late:
        assert late.recv(1) == b""
    others[0].close()
    with client(tmp_path / "hmp") as human:
        assert human.recv(1) == b"Q"
        wait_until(lambda: len(rig.monitors._clients) <= MAX_CLIENTS, "room")
    with client(tmp_path / "qmp") as late:
        assert "QMP" in read(late)[0]
    for each in others:
        each.close()


def test_the_end_hangs_up_and_takes_the_sockets_away(tmp_path: Path) -> None:
    rig = Rig(MonitorOptions("--qmp", tmp_path / "qmp"))
    with client(tmp_path / "qmp") as found:
        rig.close()
        data = b""
        while more := found.recv(65536):
            data += more
        assert data.count(b"\r\n") == 1
    assert not (tmp_path / "qmp").exists()
    wait_until(lambda: "IO mon_iothread" not in thread_names(), "the thread's end")


def test_a_port_that_the_host_chose_is_told(tmp_path: Path) -> None:
    tcp = MonitorOptions("--qmp", host="127.0.0.1", port=0)
    rig = Rig(tcp, MonitorOptions("--qmp", tmp_path / "qmp"))
    (note,) = rig.monitors.notes()
    where, _, port = note.rpartition(":")
    assert where == "--qmp: 127.0.0.1"
    with socket.create_connection(("127.0.0.1", int(port)), 20) as found:
        assert "QMP" in read(found)[0]
    rig.close()


def test_a_monitor_that_cannot_listen_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(VmmError, match="No such file"):
        Rig(
            MonitorOptions("--qmp", tmp_path / "qmp"),
            MonitorOptions("--monitor", tmp_path / "no" / "hmp"),
        )
    assert not (tmp_path / "qmp").exists()
    wait_until(lambda: "IO mon_iothread" not in thread_names(), "the thread's end")


def test_lines_of_the_human_monitor_come_one_by_one_and_overlong_ones_not_at_all() -> None:
    lines = LineSession()
    lines.feed(b"one\r\ntw")
    assert lines.next() == "one"
    lines.feed(b"o\n")
    assert lines.next() is None
    assert not lines.wants_bytes
    lines.done()
    assert lines.next() == "two"
    lines.done()
    assert lines.next() is None
    for _ in range(10):
        lines.feed(b"x" * MAX_LINE)
        assert lines.next() is None
        assert len(lines._bytes) <= 2 * MAX_LINE
    lines.feed(b"\nthree\n")
    assert lines.next() == ""
    lines.done()
    assert lines.next() == "three"
