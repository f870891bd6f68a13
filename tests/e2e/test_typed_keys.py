# SPDX-License-Identifier: GPL-2.0-or-later
"""What is typed and pointed at arrives in a guest that reads an i8042."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profiler.qemu.qmp import Qmp
from tests.support.micro_guest import ELF
from tests.support.qemus import QEMUS, qemu_id
from vmm.config import MachineConfig
from vmm.guest.image import micro_guest_path
from vmm.input.events import send_events
from vmm.input.router import InputRouter, Leds
from vmm.machine import Machine
from vmm.requests import RequestKind

POLL_SECONDS = 0.002
EVENTS: list[dict[str, Any]] = [
    {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": qcode}}}
    for qcode in ("a", "shift", "down", "f7")
    for down in (True, False)
] + [
    {"type": "rel", "data": {"axis": "x", "value": 300}},
    {"type": "rel", "data": {"axis": "y", "value": -7}},
    {"type": "btn", "data": {"button": "right", "down": True}},
]
BYTES = 10 + 12
"""Keys: three of 2 bytes, one of 4; the motion is three packets of 4."""
ACCELERATORS = [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"]


@pytest.fixture(params=ACCELERATORS)
def accel(request: pytest.FixtureRequest) -> str:
    accelerator: str = request.param
    return accelerator


def type_into_guest(
    accel: str, byte_count: int, act: Callable[[InputRouter], None], *words: str
) -> dict[str, Any]:
    """Let ``act`` use the router once the guest listens; the guest's result after so many bytes."""
    guest = f"mode=keys keys={byte_count} ms=60000 marks=1 {' '.join(words)}"
    config = MachineConfig(
        kernel=micro_guest_path(),
        micro_guest=True,
        command_line=guest,
        memory_bytes=64 << 20,
        accel=accel,
        serial="null",
        record=False,
    )
    with Machine(config) as machine:
        loop = machine.main_loop.asyncio

        def look() -> None:
            if machine.window_mark.marks_ns:
                act(machine.input)
            else:
                loop.call_later(POLL_SECONDS, look)

        loop.call_soon(look)
        request = machine.run()
        line = machine.serial.result_line
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 0), request
    assert line is not None
    result: dict[str, Any] = json.loads(line)
    assert result["elapsed_ns"] < 60e9
    return result


def test_keys_arrive_in_order_as_scan_codes_of_set_1(accel: str) -> None:
    def act(router: InputRouter) -> None:
        for qcode, down in (("shift", True), ("a", True), ("a", False), ("shift", False)):
            router.key(qcode, down)
        router.key("up", True)
        router.key("up", False)

    result = type_into_guest(accel, 8, act)
    assert bytes(result["keys"]).hex(" ") == "2a 1e 9e aa e0 48 e0 c8"
    assert result["mouse"] == []


def test_send_key_presses_in_order_and_releases_in_reverse_after_a_while(accel: str) -> None:
    result = type_into_guest(
        accel, 10, lambda router: router.send_key(["ctrl", "alt", "delete", 0x1E], 5)
    )
    assert bytes(result["keys"]).hex(" ") == "1d 38 e0 53 1e 9e e0 d3 b8 9d"


def test_motion_buttons_and_wheel_arrive_as_packets_of_four_bytes(accel: str) -> None:
    def act(router: InputRouter) -> None:
        router.pointer_abs(500, 300, 1024, 768)  # only says where the pointer is
        router.pointer_abs(510, 293, 1024, 768)
        router.sync()
        router.button("left", True)
        router.sync()
        router.button("wheel-up", True)
        router.button("wheel-up", False)
        router.sync()
        router.button("left", False)
        router.sync()

    result = type_into_guest(accel, 16, act)
    packets = bytes(result["mouse"])
    assert packets.hex(" ", 4) == "080a0700 09000000 090000ff 08000000"
    assert result["mouse_id"] == 3
    assert result["keys"] == []


def test_more_motion_than_the_mouse_can_queue_arrives_all_the_same(accel: str) -> None:
    def act(router: InputRouter) -> None:
        for _ in range(37):
            router.pointer_rel(31, -17)
            router.sync()

    # Four packets fit at once; the rest is added up and told in packets of at most 127.
    result = type_into_guest(accel, 4 * (4 + 9), act)
    packets = [result["mouse"][i : i + 4] for i in range(0, len(result["mouse"]), 4)]
    right = sum(packet[1] - 256 * (packet[0] >> 4 & 1) for packet in packets)
    up = sum(packet[2] - 256 * (packet[0] >> 5 & 1) for packet in packets)
    assert (right, up) == (37 * 31, 37 * 17)


@pytest.mark.parametrize("leds", [1, 2, 4, 7])
def test_the_leds_that_the_guest_sets_are_told(accel: str, leds: int) -> None:
    told: list[Leds] = []

    def act(router: InputRouter) -> None:
        told.append(router.leds)
        router.key("a", True)

    result = type_into_guest(accel, 1, act, f"leds={leds}")
    assert told == [Leds(scroll=bool(leds & 1), num=bool(leds & 2), caps=bool(leds & 4))]
    assert (result["leds"], result["keys"]) == (leds, [0x1E])


@pytest.mark.kvm
@pytest.mark.qemu
@pytest.mark.parametrize("qemu", QEMUS, ids=qemu_id)
def test_the_same_input_arrives_in_the_same_guest_under_qemu(qemu: Path, tmp_path: Path) -> None:
    """Same binary, same monitor commands: what differs would be our devices."""
    monitor = tmp_path / "qmp"
    words = f"mode=keys keys={BYTES} ms=60000 leds=2"
    machine = "-M q35 -bios qboot.rom -accel kvm -cpu qemu64 -m 64 -nodefaults -no-user-config"
    screen = "-vga none -display none -serial stdio -no-reboot"
    options = f"{machine} {screen} -device isa-debug-exit,iobase=0xf4,iosize=4"
    guest = ["-kernel", str(ELF), "-append", words, "-qmp", f"unix:{monitor},server=on,wait=off"]
    with subprocess.Popen(
        [str(qemu), *options.split(), *guest],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "keys: ready\n"
            with Qmp(str(monitor)) as connection:
                connection.execute("input-send-event", {"events": EVENTS})
            theirs = json.loads(process.stdout.readline())
        finally:
            process.kill()
    ours = type_into_guest("kvm", BYTES, lambda router: send_events(router, EVENTS), "leds=2")
    fields = ("keys", "mouse", "mouse_id", "leds")
    assert [theirs[field] for field in fields] == [ours[field] for field in fields]
    assert len(ours["keys"] + ours["mouse"]) == BYTES
