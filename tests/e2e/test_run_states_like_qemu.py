# SPDX-License-Identifier: GPL-2.0-or-later
"""The same commands to our machine and to a QEMU's: the same states, events and refusals.

And to the block graph and to objects, as far as both have them: the words of what is refused.
"""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.monitors import monitored_vm
from tests.support.qemu_vm import listens
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rig import wait_until
from tests.support.vm import make_image

pytestmark = [pytest.mark.kvm, pytest.mark.qemu]

SIZE = 1 << 20
LATE = ("RESET", "POWERDOWN")
"""Events of QEMU's that follow the command's reply."""


class Client:
    """A QMP client that keeps every event in order."""

    def __init__(self, path: Path) -> None:
        wait_until(lambda: listens(path), "the monitor")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self.events: list[tuple[str, Any]] = []
        self.call("qmp_capabilities")

    def next(self) -> Any:
        """The next line but for usual events; None at the end."""
        with suppress(ConnectionError):  # a process that ended in the middle of a line
            for line in self._lines:
                answer = json.loads(line)
                if "event" in answer:
                    self.events.append((answer["event"], answer.get("data", {})))
                if "event" not in answer or answer["event"] in LATE:
                    return answer
        return None

    def call(self, command: str, **arguments: Any) -> Any:
        """What a command returns, or its error."""
        message = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        answer = self.next()
        while answer is not None and "event" in answer:
            answer = self.next()
        return answer

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


@contextmanager
def qemu_machine(program: Path, folder: Path, *options: str) -> Iterator[Path]:
    """A QEMU with a machine like ours; gives its socket."""
    path = folder / "qemu"
    command = [
        str(program), "-M", "microvm", "-accel", "kvm", "-nodefaults", "-no-user-config",
        "-display", "none", "-m", "64", "-qmp", f"unix:{path},server=on,wait=off", *options,
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield path
    finally:
        process.kill()
        process.wait()


SCRIPT = (
    "stop", "cont", "cont", "stop", "stop", "system_reset", "cont", "system_reset",
    "system_powerdown", "stop", "system_reset", "quit",
)  # fmt: skip


def play(path: Path) -> tuple[list[Any], list[tuple[str, Any]]]:
    """The states after each command, and all events."""
    client = Client(path)
    states = [client.call("query-status")["return"]]
    for command in SCRIPT:
        before = len(client.events)
        client.call(command)
        late = {"system_reset": "RESET", "system_powerdown": "POWERDOWN"}.get(command)
        while late is not None and late not in [name for name, _ in client.events[before:]]:
            client.next()
        if command != "quit":
            status = client.call("query-status")["return"]
            states.append({name: status[name] for name in ("running", "status")})
    while client.next() is not None:
        pass
    client.close()
    states[0] = {name: states[0][name] for name in ("running", "status")}
    return states, client.events


@pytest.mark.parametrize("program", QEMUS, ids=qemu_id)
def test_states_and_events_are_qemus(program: Path, tmp_path: Path) -> None:
    with qemu_machine(program, tmp_path, "-S") as theirs:
        expected = play(theirs)
    with monitored_vm(tmp_path, "-S", "--accel", "qtest") as vm:
        found = play(vm.socket)
    assert found == expected


@pytest.mark.parametrize("program", QEMUS, ids=qemu_id)
def test_without_reboot_a_monitors_reset_ends_both(program: Path, tmp_path: Path) -> None:
    ends = []
    with (
        qemu_machine(program, tmp_path, "-no-reboot") as theirs,
        monitored_vm(tmp_path, "--no-reboot", "--accel", "qtest") as vm,
    ):
        for path in (theirs, vm.socket):
            client = Client(path)
            client.call("system_reset")
            while client.next() is not None:
                pass
            client.close()
            ends.append(client.events)
    assert ends[0] == ends[1] != []


MISTAKES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("device_del", {"id": "nobody"}),
    ("device_add", {"driver": "nothing-known", "id": "x0"}),
    ("object-del", {"id": "nobody"}),
    ("object-add", {"qom-type": "iothread", "id": "io0"}),
    ("blockdev-del", {"node-name": "nobody"}),
    ("blockdev-del", {"node-name": "used"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "used"}),
    ("blockdev-add", {"driver": "null-co"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "7"}),
    ("blockdev-add", {"driver": "raw", "node-name": "r0", "file": "nobody"}),
    ("blockdev-add", {"driver": "file", "node-name": "f0", "filename": "/nonexistent"}),
    ("x-blockdev-set-iothread", {"node-name": "nobody", "iothread": None}),
    ("x-blockdev-set-iothread", {"node-name": "used", "iothread": "nobody", "force": True}),
)


@pytest.mark.parametrize("program", QEMUS, ids=qemu_id)
def test_what_is_refused_is_refused_in_qemus_words(program: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.img", SIZE)
    device = ("-device", "virtio-blk-device,drive=used,id=disk0")
    theirs_options = ("-object", "iothread,id=io0", "-blockdev", f"file,node-name=used,"
                      f"filename={image},locking=off", *device)  # fmt: skip
    answers = []
    with (
        qemu_machine(program, tmp_path, "-S", *theirs_options) as theirs,
        monitored_vm(tmp_path, "-S", "--accel", "qtest", "--object", "iothread,id=io0") as vm,
    ):
        ours = Client(vm.socket)
        node = {"driver": "file", "node-name": "used", "filename": str(image), "locking": "off"}
        assert "error" not in ours.call("blockdev-add", **node)
        plugged = ours.call("device_add", driver="virtio-blk-device", id="disk0", drive="used")
        assert "error" not in plugged
        for client in (Client(theirs), ours):
            answers.append([client.call(name, **given)["error"] for name, given in MISTAKES])
            client.close()
    for theirs_said, ours_said in zip(*answers, strict=True):
        assert ours_said["class"] == theirs_said["class"]
        assert ours_said["desc"].startswith(theirs_said["desc"])  # and may name the way out
