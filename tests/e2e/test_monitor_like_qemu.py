# SPDX-License-Identifier: GPL-2.0-or-later
"""The same questions and the same mistakes, to our monitor and to a QEMU with the same machine."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.monitors import monitored_vm
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rig import wait_until
from tests.support.shapes import differences, shape
from tests.support.vm import make_image

pytestmark = [pytest.mark.kvm, pytest.mark.qemu]

SIZE = 1 << 20
NEGOTIATE = {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}


class Wire:
    """A QMP connection by hand; parse errors have no id, so a command follows each message."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")
        self._lines.readline()

    def ask(self, message: Any) -> list[Any]:
        """All answers to a message, events left out."""
        return [each for each in self.ask_all(message) if "event" not in each]

    def ask_all(self, message: Any) -> list[Any]:
        """All answers to a message and the events before them, without the time."""
        raw = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        self._socket.sendall(raw + b'{"execute": "nosuch", "id": "end"}\n')
        found: list[Any] = []
        while True:
            answer = json.loads(self._lines.readline())
            if answer.get("id") == "end":
                return found
            answer.pop("timestamp", None)
            found.append(answer)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def answers(path: Path) -> bool:
    """Whether somebody listens: a socket is there before that."""
    try:
        Wire(path).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module", params=QEMUS, ids=qemu_id)
def qemu(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The socket of a QEMU whose machine is like ours."""
    folder = tmp_path_factory.mktemp("qemu")
    image, path = make_image(folder / "disk.img", SIZE), folder / "qmp"
    command = [
        str(request.param), "-M", "microvm", "-accel", "kvm", "-nodefaults", "-no-user-config",
        "-display", "none", "-S", "-m", "64", "-name", "microguest",
        "-qmp", f"unix:{path},server=on,wait=off",
        "-object", "iothread,id=io0",
        "-drive", f"file={image},if=none,id=d0,format=raw,node-name=n0",
        "-device", "virtio-blk-device,drive=d0,id=disk0",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: answers(path) or process.poll() is not None, "QEMU's monitor")
        yield path
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ours")
    image = make_image(folder / "disk.img", SIZE)
    options = ("-S", "--object", "iothread,id=io0", "--drive", f"file={image},id=d0")
    with monitored_vm(folder, *options) as vm:
        yield vm.socket


QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("query-version", {}),
    ("query-status", {}),
    ("query-name", {}),
    ("query-uuid", {}),
    ("query-kvm", {}),
    ("query-cpus-fast", {}),
    ("query-iothreads", {}),
    ("query-block", {}),
    ("query-blockstats", {}),
    ("query-vnc", {}),
    ("query-vnc-servers", {}),
    ("query-stats", {"target": "vm"}),
    ("query-stats", {"target": "vcpu"}),
    ("query-stats-schemas", {}),
    ("qom-get", {"path": "/objects/io0", "property": "poll-max-ns"}),
    ("qom-list", {"path": "/objects"}),
    ("qom-list-types", {"implements": "iothread"}),
    ("stop", {}),
    ("cont", {}),
    ("system_reset", {}),
    ("system_powerdown", {}),
    ("block-latency-histogram-set", {"id": "disk0", "boundaries": [10, 20]}),
    ("query-blockstats", {}),
    ("block-latency-histogram-set", {"id": "disk0"}),
    ("human-monitor-command", {"command-line": "info status"}),
    ("query-commands", {}),
    ("query-qmp-schema", {}),
)
NEWER = {
    "qom-type",  # of query-cpus-fast
    "qom-path",  # of query-stats
    "active",  # of query-block
    "children",
    "bucket-size",
    "description",
}
"""What later QEMUs tell, too, or a machine where there is something to tell."""

OLDER_OR_NOT_HERE = {
    "singlestep",
    "io-status",
    "dirty-flag",
    "parent",  # of blockstats: the node below
    "driver-specific",
    "features",
    "active",
    "children",
    "format-specific",
    "node-id", "die-id", "cluster-id", "module-id",
    "abstract",
    "zap_latency_histogram", "zone_append_latency_histogram",
    "zone_append_bytes", "zone_append_operations", "zone_append_total_time_ns",
    "zone_append_merged", "failed_zone_append_operations", "invalid_zone_append_operations",
    "description",
    "limits",
    "bucket-size",
    "allow-oob",
}  # fmt: skip
"""What some QEMU tells and we do not: of things that are not here."""


def test_answers_have_the_keys_and_types_of_qemus(
    qemu: Path, ours: Path, request: pytest.FixtureRequest
) -> None:
    theirs_wire, our_wire = Wire(qemu), Wire(ours)
    assert theirs_wire.ask(NEGOTIATE) == our_wire.ask(NEGOTIATE) == [{"return": {}}]
    found = []
    (program,) = (value for name, value in request.node.callspec.params.items() if name == "qemu")
    for command, arguments in QUESTIONS:
        if command == "qom-list-types" and qemu_id(program) != "7":
            continue  # loads all modules: those of another QEMU that is installed end this one
        message = {"execute": command, "arguments": arguments}
        (theirs,), (mine,) = theirs_wire.ask(message), our_wire.ask(message)
        found += differences(shape(mine), shape(theirs), command, NEWER, OLDER_OR_NOT_HERE)
    theirs_wire.close()
    our_wire.close()
    assert not found, "\n".join(map(str, found))


def test_statistics_of_the_kernel_have_the_names_that_qemu_tells(qemu: Path, ours: Path) -> None:
    names = []
    for path in (qemu, ours):
        wire = Wire(path)
        wire.ask(NEGOTIATE)
        for target in ("vm", "vcpu"):
            message = {"execute": "query-stats", "arguments": {"target": target}}
            (answer,) = wire.ask(message)
            names.append(
                {each["name"]: type(each["value"]) for each in answer["return"][0]["stats"]}
            )
        wire.close()
    assert names[:2] == names[2:]


EARLY_MISTAKES: tuple[Any, ...] = (
    {"execute": "query-status", "id": 1},
    {"execute": "nosuch"},
    {"execute": "qmp_capabilities", "arguments": {"enable": ["foo"]}},
    {"execute": "qmp_capabilities", "arguments": {"enable": "oob"}},
    {"execute": "qmp_capabilities", "arguments": {"enable": [1]}},
)
MISTAKES: tuple[Any, ...] = (
    NEGOTIATE,
    {"execute": "nosuch"},
    {"execute": 1},
    {"foo": 1},
    {},
    {"execute": "query-status", "bar": 1},
    {"execute": "query-status", "arguments": 1},
    {"execute": "query-status", "arguments": {"x": 1}},
    {"execute": "query-status", "exec-oob": "x"},
    {"exec-oob": "query-status", "id": 3},
    {"exec-oob": "nosuch"},
    b"[1]\n",
    b'"x"\n',
    b"1\n",
    b"null\n",
    b'{"execute":}\n',
    b'{"execute" 1}\n',
    b"}\n",
    b"{]\n",
    b'{"a":1,"a":2}\n',
    b'{"execute":"\xff"}\n',
    b"nosuchtoken\n",
    b'{"execute":"query-status",}\n',
    b"{1:2}\n",
    b"[1,]\n",
    b"[1 2]\n",
    b'{"a":1 "b":2}\n',
    b'{"a":"b\nc"}\n',
    b'\x01{"execute":"query-kvm"}\n',
    b"{'execute':'query-kvm', 'id':{'a':[1,2.5,true,null]}}\n",
    b'{"execute":"query-kvm","id":"\\u00e9\xc3\xa9"}\n',
    {"execute": "qom-get"},
    {"execute": "qom-get", "arguments": {"path": "/nosuch", "property": "x"}},
    {"execute": "qom-get", "arguments": {"path": "/objects/io0", "property": "x"}},
    *(
        {
            "execute": "qom-set",
            "arguments": {"path": "/objects/io0", "property": "poll-max-ns", "value": value},
        }
        for value in ("x", True, 1.5, -1)
    ),
    {"execute": "qom-set", "arguments": {"path": "/objects/io0", "property": "poll-max-ns"}},
    {"execute": "qom-list", "arguments": {"path": "/nosuch"}},
    {"execute": "qom-list-types", "arguments": {"abstract": "x"}},
    {"execute": "object-add", "arguments": {"qom-type": "iothread", "id": "io0"}},
    {"execute": "object-add", "arguments": {"qom-type": "nosuch", "id": "io0"}},
    {"execute": "object-add", "arguments": {"qom-type": "iothread", "id": "io 9"}},
    {"execute": "object-add", "arguments": {"qom-type": "iothread"}},
    {"execute": "object-add", "arguments": {"qom-type": "iothread", "id": "a", "x": 1}},
    {"execute": "object-del", "arguments": {"id": "nosuch"}},
    {"execute": "device_add", "arguments": {}},
    {"execute": "device_add", "arguments": {"driver": "nosuch"}},
    {"execute": "device_del", "arguments": {"id": "nosuch"}},
    {"execute": "blockdev-add", "arguments": {"driver": "nosuch", "node-name": "x"}},
    {"execute": "blockdev-add", "arguments": {"driver": "file"}},
    {"execute": "blockdev-del", "arguments": {"node-name": "nosuch"}},
    {
        "execute": "x-blockdev-set-iothread",
        "arguments": {"node-name": "nosuch", "iothread": "io0"},
    },
    {"execute": "x-blockdev-set-iothread", "arguments": {"node-name": "d0"}},
    {"execute": "x-blockdev-set-iothread", "arguments": {"node-name": "d0", "iothread": 1}},
    {"execute": "human-monitor-command", "arguments": {"command-line": "", "cpu-index": 5}},
    {"execute": "trace-event-get-state", "arguments": {"name": "nosuch"}},
    {"execute": "trace-event-get-state", "arguments": {"name": "nosuch*"}},
    {"execute": "trace-event-set-state", "arguments": {"name": "nosuch", "enable": True}},
    {"execute": "query-stats", "arguments": {"target": "bogus"}},
    {"execute": "query-stats", "arguments": {"target": "vm", "vcpus": ["x"]}},
    {"execute": "query-stats", "arguments": {"target": "vcpu", "vcpus": ["/nosuch"]}},
    {"execute": "block-latency-histogram-set", "arguments": {"id": "nosuch"}},
    {"execute": "block-latency-histogram-set", "arguments": {"id": "disk0", "boundaries": [2, 1]}},
    {"execute": "block-latency-histogram-set", "arguments": {"id": "disk0", "boundaries": [0, 1]}},
    {"execute": "set_password", "arguments": {"protocol": "vnc", "password": "x"}},
    {"execute": "set_password", "arguments": {"protocol": "bogus", "password": "x"}},
    {"execute": "set_password", "arguments": {"protocol": "vnc"}},
    {"execute": "expire_password", "arguments": {"protocol": "vnc", "time": "never"}},
    {"execute": "change-vnc-password", "arguments": {"password": "x"}},
    {"execute": "screendump"},
    {"execute": "screendump", "arguments": {"filename": 1}},
    {"execute": "screendump", "arguments": {"filename": "x", "head": 0}},
    {"execute": "screendump", "arguments": {"filename": "x"}},
    *(
        {"execute": "send-key", "arguments": {"keys": [key]}}
        for key in (
            {"type": "qcode", "data": "bogus"},
            {"type": "bogus", "data": "a"},
            {"type": "qcode"},
            {"type": "number", "data": "x"},
            {"type": "qcode", "data": "a", "x": 1},
        )
    ),
    {"execute": "input-send-event", "arguments": {"device": "nosuch", "events": []}},
)


def test_mistakes_are_told_in_the_words_of_qemu(qemu: Path, ours: Path) -> None:
    theirs, mine = Wire(qemu), Wire(ours)
    found = []
    for message in (*EARLY_MISTAKES, NEGOTIATE, *MISTAKES):
        expected, answer = theirs.ask(message), mine.ask(message)
        if answer != expected:
            found.append((message, answer, expected))
    theirs.close()
    mine.close()
    assert not found, "\n".join(map(str, found))


HUMAN = (
    "",
    "nosuch",
    "info nosuch",
    "info status",
    "info name",
    "info uuid",
    "info kvm",
    "stop x",
    "sync-profile on x",
    "info sync-profile x",
    "info sync-profile -x",
    "info sync-profile -mn 2",
    "info sync-profile -5",
    "info sync-profile 1 2",
    "info sync-profile 99999999999999999999",
    "sendkey",
    "sendkey bogus",
    "screendump",
    "help stop",
    "help nosuch",
)


def test_the_human_monitor_speaks_like_qemus(qemu: Path, ours: Path) -> None:
    texts = []
    for path in (qemu, ours):
        wire = Wire(path)
        wire.ask(NEGOTIATE)
        texts.append([
            wire.ask({"execute": "human-monitor-command", "arguments": {"command-line": line}})
            for line in HUMAN
        ])  # fmt: skip
        wire.close()
    assert texts[1] == texts[0]


LIFE = (
    *("cont", "cont", "query-status", "stop", "stop", "query-status", "system_reset"),
    *("query-status", "cont", "system_reset", "system_powerdown", "query-status"),
)


def test_events_and_run_states_follow_commands_as_in_qemu(qemu: Path, ours: Path) -> None:
    told = []
    for path in (qemu, ours):
        wire = Wire(path)
        wire.ask(NEGOTIATE)
        told.append([(each, wire.ask_all({"execute": each})) for each in LIFE])
        wire.close()
    for answers in told[0]:  # a member of QEMU 7.2
        for answer in answers[1]:
            answer.get("return", {}).pop("singlestep", None)
    assert told[1] == told[0]
