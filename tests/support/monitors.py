# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines with a monitor, and a judge of answers that knows nothing but the published schema.

with monitored_vm(tmp_path) as vm, vm.qmp() as qmp:
    qmp.execute("stop")
"""

import json
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from profiler.qemu.qmp import Qmp
from tests.support.rig import somebody_listens, wait_until
from tests.support.vm import ENDLESS, Vm, make_image

DISK_BYTES = 1 << 20


@dataclass
class MonitoredVm:
    """A VM in a process of its own, and its QMP socket."""

    vm: Vm
    socket: Path

    def qmp(self) -> Qmp:
        """A new connection."""
        return Qmp(str(self.socket))


@contextmanager
def monitored_vm(tmp_path: Path, *options: str, append: str = ENDLESS) -> Iterator[MonitoredVm]:
    """A micro-guest that runs until somebody ends it, and that may be reset."""
    socket = tmp_path / "qmp"
    arguments = ("--kernel", "micro", "--append", append, "--serial", "null")
    monitor = ("--qmp", f"unix:{socket},server=on,wait=off")
    command = [sys.executable, "-m", "vmm", "run", *arguments, *monitor, *options]
    vm = Vm(command, tmp_path / "run", None)
    try:
        ready = partial(somebody_listens, socket)
        wait_until(lambda: ready() or vm.process.poll() is not None, "the monitor")
        assert vm.process.poll() is None, vm.finish().stderr
        yield MonitoredVm(vm, socket)
    finally:
        vm.process.kill()
        vm.process.wait()
        for pipe in (vm.process.stdout, vm.process.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def everything(folder: Path) -> Iterator[MonitoredVm]:
    """A machine with everything that a command could be about."""
    image = make_image(folder / "disk.img", DISK_BYTES)
    with monitored_vm(
        folder,
        "--smp", "2",
        "--object", "iothread,id=io0",
        "--drive", f"file={image},id=d0,iothread=io0",
        "--framebuffer", "640x480",
        "--vnc", "127.0.0.1:0,to=99,password=on",
    ) as vm:  # fmt: skip
        yield vm


class Wire:
    """A connection by hand: sees the order of events and replies."""

    def __init__(self, path: Path, oob: bool = False) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self._lines = self.socket.makefile("rb")
        self.greeting = self.read()
        arguments = {"enable": ["oob"]} if oob else {}
        self.send({"execute": "qmp_capabilities", "arguments": arguments})
        assert self.read() == {"return": {}}

    def send(self, message: dict[str, Any]) -> None:
        """A message."""
        self.socket.sendall(json.dumps(message).encode())

    def read(self) -> dict[str, Any]:
        """The next answer or event."""
        line = self._lines.readline()
        assert line.endswith(b"\r\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def until_reply(self, message: dict[str, Any]) -> list[Any]:
        """Names of events, then the reply."""
        self.send(message)
        found: list[Any] = []
        while True:
            answer = self.read()
            if "event" not in answer:
                return [*found, answer]
            found.append(answer["event"])

    def events_so_far(self) -> list[dict[str, Any]]:
        """Events that came before the answer to a question."""
        self.send({"execute": "query-status"})
        found = []
        while "event" in (answer := self.read()):
            found.append(answer)
        return found

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self.socket.close()


class Schema:
    """The answer to query-qmp-schema, as a client sees it."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.by_name = {str(row["name"]): row for row in rows}
        assert len(self.by_name) == len(rows), "names are unique"

    def names(self, meta_type: str) -> set[str]:
        """Names of all commands, events, ..."""
        return {name for name, row in self.by_name.items() if row["meta-type"] == meta_type}

    def check_reply(self, command: str, value: Any) -> None:
        """Raise AssertionError if a command may not answer this."""
        self.check(self.by_name[command]["ret-type"], value, command)

    def check_event(self, event: Mapping[str, Any]) -> None:
        """Raise AssertionError if this is no event of the schema."""
        row = self.by_name[str(event["event"])]
        assert row["meta-type"] == "event"
        self.check(row["arg-type"], event.get("data", {}), str(event["event"]))

    def check(self, type_name: str, value: Any, where: str) -> None:
        """Raise AssertionError if ``value`` is not of a type."""
        problem = self.problem(type_name, value, where)
        assert problem is None, problem

    def problem(self, type_name: str, value: Any, where: str) -> str | None:
        """Why ``value`` is not of a type, or None."""
        row = self.by_name[type_name]
        kind = row["meta-type"]
        if kind == "builtin":
            return None if _is_json(row["json-type"], value) else f"{where}: {value!r}"
        if kind == "enum":
            return None if value in row["values"] else f"{where}: {value!r} is no {row['values']}"
        if kind == "array":
            return self._array(row, value, where)
        if kind == "alternate":
            members = [self.problem(each["type"], value, where) for each in row["members"]]
            return None if None in members else f"{where}: {value!r} is none of {row['members']}"
        return self._object(row, value, where)

    def _array(self, row: Mapping[str, Any], value: Any, where: str) -> str | None:
        if not isinstance(value, list):
            return f"{where}: {value!r} is no list"
        found = (self.problem(row["element-type"], v, f"{where}[{i}]") for i, v in enumerate(value))
        return next((each for each in found if each), None)

    def _object(self, row: Mapping[str, Any], value: Any, where: str) -> str | None:
        if not isinstance(value, dict):
            return f"{where}: {value!r} is no object"
        members = {each["name"]: each for each in row["members"]}
        for variant in row.get("variants", ()):
            if value.get(row["tag"]) == variant["case"]:
                inner = self.by_name[variant["type"]]["members"]
                members |= {each["name"]: each for each in inner}
        for name in value.keys() - members.keys():
            return f"{where}.{name} is not in the schema"
        for name, member in members.items():
            if name not in value:
                if "default" not in member:
                    return f"{where}.{name} is missing"
                continue
            problem = self.problem(member["type"], value[name], f"{where}.{name}")
            if problem:
                return problem
        return None


def _is_json(json_type: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "string": isinstance(value, str),
        "int": number and isinstance(value, int),
        "number": number,
        "boolean": isinstance(value, bool),
        "null": value is None,
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "value": True,
    }[json_type]
