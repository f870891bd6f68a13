# SPDX-License-Identifier: GPL-2.0-or-later
"""The same port accesses and the same input, on our controller and on QEMU's: the same answers.

QEMU's machine executes nothing: its firmware is one HLT. Ports are read and written by its monitor.
Known differences are left out of the transcripts: QEMU's status bits 2 and 3 are not the mode's and
the last write's, it resends nothing, and a queue that is full keeps the first bytes of a key.
"""

import subprocess
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from profiler.qemu.qmp import Qmp
from tests.support.ps2 import RAW, TRANSLATED, Pc
from tests.support.qemu_vm import listens
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rig import wait_until
from vmm.input.events import send_events
from vmm.input.qcodes import NUMBERS

pytestmark = pytest.mark.qemu

DATA, COMMAND = 0x60, 0x64
FIRMWARE = bytes(0xFFF0) + bytes([0xFA, 0xF4, 0xEB, 0xFD]) + bytes(12)  # cli; hlt; jmp -3
NOT_IN_QEMU_SET_2 = {"menu", "again", "props", "undo", "front", "copy", "open", "paste", "find"} | {
    "cut", "lf", "help", "lang1", "lang2",
} | {f"f{n}" for n in range(13, 25)}  # fmt: skip


class Controller(Protocol):
    """What a transcript is played on."""

    def inb(self, port: int) -> int: ...
    def outb(self, port: int, value: int) -> None: ...
    def send(self, events: list[dict[str, Any]]) -> None: ...


class Qemu:
    """A QEMU whose keyboard controller is accessed by hand."""

    def __init__(self, monitor: Qmp) -> None:
        self._monitor = monitor

    def _human(self, line: str) -> str:
        return str(self._monitor.execute("human-monitor-command", {"command-line": line}))

    def inb(self, port: int) -> int:
        return int(self._human(f"i /b {port:#x}").split("=")[1], 16)

    def outb(self, port: int, value: int) -> None:
        self._human(f"o /b {port:#x} {value:#x}")

    def send(self, events: list[dict[str, Any]]) -> None:
        self._monitor.execute("input-send-event", {"events": events})


class Ours:
    """The same of ours."""

    def __init__(self) -> None:
        self._pc = Pc(RAW)

    def inb(self, port: int) -> int:
        return self._pc.inb() if port == DATA else self._pc.status()

    def outb(self, port: int, value: int) -> None:
        if port == DATA:
            self._pc.controller.write_data(value)
        else:
            self._pc.controller.write_command(value)

    def send(self, events: list[dict[str, Any]]) -> None:
        send_events(self._pc.router, events)


def read(machine: Controller) -> list[tuple[int, int]]:
    """All there is to read: (output full and mouse bits, byte)."""
    found = []
    while (status := machine.inb(COMMAND) & 0x21) & 1:
        found.append((status, machine.inb(DATA)))
        assert len(found) < 200
    return found


def send_byte(machine: Controller, mouse: bool, value: int) -> list[tuple[int, int]]:
    """A byte to a device, and what comes of it."""
    if mouse:
        machine.outb(COMMAND, 0xD4)
    machine.outb(DATA, value)
    return read(machine)


def start_anew(machine: Controller, mode: int) -> None:
    machine.outb(COMMAND, 0x60)
    machine.outb(DATA, mode)
    for mouse, value in ((True, 0xEC), (True, 0xFF), (False, 0xFF), (True, 0xF4)):
        send_byte(machine, mouse, value)


@pytest.fixture(name="qemu", scope="module", params=QEMUS, ids=qemu_id)
def _qemu(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Qemu]:
    directory = tmp_path_factory.mktemp("q")
    (directory / "firmware").write_bytes(FIRMWARE)
    monitor = directory / "qmp"
    options = f"-M pc -accel tcg -nodefaults -display none -qmp unix:{monitor},server=on,wait=off"
    process = subprocess.Popen(
        [str(request.param), *options.split(), "-bios", str(directory / "firmware")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: listens(monitor) or process.poll() is not None, "a monitor")
        with Qmp(str(monitor)) as connection:
            yield Qemu(connection)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(name="ours")
def _ours() -> Ours:
    return Ours()


@pytest.mark.parametrize("mode", [RAW, TRANSLATED])
def test_every_key_gives_the_same_bytes(qemu: Qemu, ours: Ours, mode: int) -> None:
    machines: tuple[Controller, ...] = (qemu, ours)
    seen: dict[str, list[Any]] = {}
    keys = [qcode for qcode in NUMBERS if qcode not in NOT_IN_QEMU_SET_2]
    for machine in machines:
        start_anew(machine, mode)
        for qcode in keys:
            for down in (True, False):
                key = {"type": "qcode", "data": qcode}
                machine.send([{"type": "key", "data": {"down": down, "key": key}}])
                seen.setdefault(f"{qcode} {down}", []).append(read(machine))
    assert {key: both for key, both in seen.items() if both[0] != both[1]} == {}


KEYBOARD = (
    "ff ee f2 ed 07 ed 00 f3 20 f0 00 f0 01 f0 00 f0 03 f0 00 f0 04 f0 02 f5 f4 f6 f0 00 ef f1 ee"
)
MOUSE = (
    "ff f2 e9 e8 03 e7 e9 e6 e9 f3 28 e9 f3 c8 f3 64 f3 50 f2 e9 f6 f2 f3 c8 f3 c8 f3 50 f2"
    " ee 12 f4 ec f5 e9 f4 e9 ff f2"
)


@pytest.mark.parametrize("mode", [RAW, TRANSLATED])
@pytest.mark.parametrize(("mouse", "transcript"), [(False, KEYBOARD), (True, MOUSE)])
def test_a_device_gives_the_same_answers(
    qemu: Qemu, ours: Ours, mode: int, mouse: bool, transcript: str
) -> None:
    machines: tuple[Controller, ...] = (qemu, ours)
    answers = []
    for machine in machines:
        start_anew(machine, mode)
        answers.append([send_byte(machine, mouse, byte) for byte in bytes.fromhex(transcript)])
    assert answers[0] == answers[1]


def test_the_controller_gives_the_same_answers(qemu: Qemu, ours: Ours) -> None:
    commands = [(0x60, 0x47), (0x20,), (0xAA,), (0xAB,), (0xA9,), (0xC0,), (0xA7,), (0x20,)]
    commands += [(0xAD,), (0x20,), (0xA8,), (0xAE,), (0x20,), (0xD2, 0x55), (0xD3, 0x66)]
    commands += [(0xD0,), (0xD1, 0xCF), (0xD0,), (0x60, 0x07), (0x20,)]
    answers: list[list[Any]] = []
    machines: tuple[Controller, ...] = (qemu, ours)
    for machine in machines:
        answers.append(found := [])
        start_anew(machine, RAW)
        for command, *data in commands:
            machine.outb(COMMAND, command)
            for byte in data:
                machine.outb(DATA, byte)
            found.append(read(machine))
    assert answers[0] == answers[1]


def motion(dx: int, dy: int) -> list[dict[str, Any]]:
    return [
        {"type": "rel", "data": {"axis": axis, "value": value}}
        for axis, value in (("x", dx), ("y", dy))
    ]


def button(name: str, down: bool) -> list[dict[str, Any]]:
    return [{"type": "btn", "data": {"button": name, "down": down}}]


@pytest.mark.parametrize("knock", ["", "f3 c8 f3 64 f3 50", "f3 c8 f3 c8 f3 50"])
def test_pointing_gives_the_same_packets(qemu: Qemu, ours: Ours, knock: str) -> None:
    """But for packets that say nothing, which QEMU sends when a wheel comes to rest."""
    steps = [motion(3, 4), motion(-3, -4), motion(127, -127), motion(300, 0), motion(-5, 200)]
    for name in ("left", "right", "middle"):
        steps += [button(name, True), motion(1, 1), button(name, False)]
    if knock:
        steps += [button("wheel-up", True), button("wheel-down", True)]
    if knock.count("c8") == 2:
        steps += [button("side", True), button("extra", True), button("side", False)]
    packets: list[list[Any]] = []
    machines: tuple[Controller, ...] = (qemu, ours)
    for machine in machines:
        packets.append(found := [])
        start_anew(machine, RAW)
        for byte in bytes.fromhex(knock):
            send_byte(machine, True, byte)
        for step in steps:
            machine.send(step)
            found.append(read(machine))
        for name in ("extra", "side", "left", "right", "middle"):
            machine.send(button(name, False))
    assert packets[0] == packets[1]
