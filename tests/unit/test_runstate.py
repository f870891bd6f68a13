# SPDX-License-Identifier: GPL-2.0-or-later
"""Run states and what changes them: on machines of the qtest accelerator, and on KVM."""

import asyncio
import json
from pathlib import Path

import pytest

from profiler.check import check_snapshot
from profiler.model import Blocked
from profiler.reader import Recording
from tests.support.machines import (
    ACCELS,
    drive,
    machine_config,
    names,
    progress,
    record_events,
    requests_done,
    until,
)
from vmm.errors import VmmError
from vmm.machine import Machine
from vmm.requests import RequestKind
from vmm.runstate import RunOptions, RunState, ShutdownCause

ENDLESS_IO = "rw=mixed iodepth=32 bs=4096 ms=3600000"
VERIFY = "rw=verify bs=4096 iodepth=16 blocks=512"
NULL_DISK = "driver=null,size=16M,latency-us=200"
QUIT = {"guest": False, "reason": "host-qmp-quit"}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(2 << 20))
    return path


def states(machine: Machine) -> tuple[str, bool]:
    """query-status."""
    return machine.control.state.value, machine.control.running


@pytest.mark.parametrize("accel", ACCELS)
def test_stop_and_cont_tell_and_pause_the_vcpus_and_the_disk(accel: str, image: Path) -> None:
    with Machine(
        machine_config(f"file={image},iothread=io0", guest=ENDLESS_IO, accel=accel)
    ) as machine:
        events = record_events(machine)
        control = machine.control

        async def act() -> None:
            for _ in range(5):
                await progress(machine)
                control.stop()
                assert states(machine) == ("paused", False)
                stopped_at = requests_done(machine)
                await asyncio.sleep(0.01)  # a window to watch: nothing may happen in it
                assert requests_done(machine) == stopped_at
                control.cont()
                assert states(machine) == ("running", True)
            control.quit()

        request = drive(machine, act)
    assert request.kind is RequestKind.SHUTDOWN
    assert names(events) == ["RESUME", *["STOP", "RESUME"] * 5, "SHUTDOWN"]
    assert events[-1].data == QUIT


def test_stop_and_cont_tell_once_and_do_nothing_the_second_time(image: Path) -> None:
    with Machine(machine_config(f"file={image}")) as machine:
        events = record_events(machine)

        async def act() -> None:
            machine.control.stop()
            machine.control.stop()
            machine.control.cont()
            machine.control.cont()
            machine.control.quit()

        drive(machine, act)
    assert names(events) == ["RESUME", "STOP", "RESUME", "SHUTDOWN"]


@pytest.mark.parametrize("accel", ACCELS)
def test_a_paused_start_waits_in_prelaunch_for_cont(accel: str, image: Path) -> None:
    wanted = machine_config(
        f"file={image},iothread=io0", guest=VERIFY, accel=accel, run=RunOptions(paused=True)
    )
    with Machine(wanted) as machine:
        events = record_events(machine)

        async def act() -> None:
            assert machine.control.state is RunState.PRELAUNCH
            machine.control.stop()  # nothing to stop
            assert machine.control.state is RunState.PRELAUNCH
            await asyncio.sleep(0.01)
            assert requests_done(machine) == 0
            machine.control.cont()

        request = drive(machine, act)
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 0)
    assert names(events) == ["RESUME", "SHUTDOWN"]
    assert events[-1].data == {"guest": True, "reason": "guest-shutdown"}


@pytest.mark.parametrize("accel", ACCELS)
@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("placed", ["iothread=io0", "", "ioeventfd=off"])
def test_a_reset_guest_starts_anew_and_does_all_of_its_work(
    accel: str, paused: bool, placed: str, image: Path
) -> None:
    wanted = machine_config(f"file={image},{placed}".rstrip(","), guest=VERIFY, accel=accel)
    with Machine(wanted) as machine:
        events = record_events(machine)
        control = machine.control

        async def act() -> None:
            for _ in range(3):
                await progress(machine, 5)
                if paused:
                    control.stop()
                control.reset()
                if paused:
                    assert control.state is RunState.PRELAUNCH
                    control.cont()

        request = drive(machine, act)
        line = machine.serial.result_line
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 0)
    assert line is not None
    assert json.loads(line)["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    told = ["STOP", "RESET", "RESUME"] if paused else ["RESET"]
    assert names(events) == ["RESUME", *told * 3, "SHUTDOWN"]
    reset = next(event for event in events if event.name == "RESET")
    assert reset.data == {"guest": False, "reason": "host-qmp-system-reset"}


@pytest.mark.parametrize("no_reboot", [False, True])
def test_a_guest_that_asks_for_a_reset_gets_one_and_without_reboot_the_end(
    no_reboot: bool, image: Path
) -> None:
    wanted = machine_config(f"file={image}", run=RunOptions(no_reboot=no_reboot))
    with Machine(wanted) as machine:
        events = record_events(machine)

        async def act() -> None:
            machine.requests.file(RequestKind.RESET, 0, "guest wants it")
            await until(lambda: names(events)[-1] == "RESET")
            machine.control.quit()

        request = drive(machine, act)
    told = ["RESUME", "SHUTDOWN"] if no_reboot else ["RESUME", "RESET", "SHUTDOWN"]
    assert names(events) == told
    assert events[1].data == {"guest": True, "reason": "guest-reset"}
    assert request.kind is (RequestKind.RESET if no_reboot else RequestKind.SHUTDOWN)


def test_without_shutdown_a_guests_end_stops_it_for_good_until_a_reset(image: Path) -> None:
    wanted = machine_config(f"file={image}", guest=VERIFY, run=RunOptions(no_shutdown=True))
    with Machine(wanted) as machine:
        events = record_events(machine)
        control = machine.control

        async def act() -> None:
            await until(lambda: control.state is RunState.SHUTDOWN)
            with pytest.raises(VmmError, match=r"^Resetting the Virtual Machine is required$"):
                control.cont()
            control.reset()
            assert control.state is RunState.PRELAUNCH
            control.cont()
            await until(lambda: control.state is RunState.SHUTDOWN)
            control.quit(ShutdownCause.HOST_SIGNAL, code=15)

        request = drive(machine, act)
    assert request.code == 15
    once = ["RESUME", "SHUTDOWN", "STOP"]
    assert names(events) == [*once, "RESET", *once, "SHUTDOWN"]
    assert events[-1].data == {"guest": False, "reason": "host-signal"}


@pytest.mark.parametrize("kind", [RequestKind.GUEST_CRASH, RequestKind.INTERNAL_ERROR])
@pytest.mark.parametrize("no_shutdown", [False, True])
def test_a_guest_that_cannot_go_on_is_stopped_and_told_of(
    kind: RequestKind, no_shutdown: bool, image: Path
) -> None:
    wanted = machine_config(f"file={image}", run=RunOptions(no_shutdown=no_shutdown))
    panic = kind is RequestKind.GUEST_CRASH
    state = RunState.GUEST_PANICKED if panic else RunState.INTERNAL_ERROR
    with Machine(wanted) as machine:
        events = record_events(machine)

        async def act() -> None:
            machine.requests.file(kind, 0, "broken")
            await until(lambda: machine.control.state is state)
            machine.control.quit()

        request = drive(machine, act)
    assert request.kind is (RequestKind.SHUTDOWN if no_shutdown else kind)
    told = ["GUEST_PANICKED", "STOP"] if panic else ["STOP"]
    assert names(events) == ["RESUME", *told, "SHUTDOWN"]
    if panic:
        assert events[1].data == {"action": "pause" if no_shutdown else "poweroff"}
    if not no_shutdown:
        reason = "guest-panic" if panic else "host-error"
        assert events[-1].data == {"guest": panic, "reason": reason}


def test_a_power_button_is_told_of_and_pressed(image: Path) -> None:
    with Machine(machine_config(f"file={image}")) as machine:
        events = record_events(machine)
        pressed = []
        machine.control.on_powerdown(lambda: pressed.append(True))

        async def act() -> None:
            machine.control.powerdown()
            machine.control.quit()

        drive(machine, act)
    assert names(events) == ["RESUME", "POWERDOWN", "SHUTDOWN"]
    assert pressed == [True]


def test_a_reset_gives_way_to_whatever_ends_the_machine(image: Path) -> None:
    with Machine(machine_config(f"file={image}")) as machine:

        async def act() -> None:
            machine.requests.file(RequestKind.RESET, 0, "first")
            machine.requests.file(RequestKind.DEBUG_EXIT, 7, "second")
            machine.requests.file(RequestKind.RESET, 0, "third")

        request = drive(machine, act)
    assert (request.kind, request.code) == (RequestKind.DEBUG_EXIT, 7)


def test_a_stop_that_waits_for_requests_in_flight_is_marked_as_a_drain(tmp_path: Path) -> None:
    recording = tmp_path / "vm.bql"
    disk = "driver=null,size=16M,latency-us=20000,iothread=io0"
    wanted = machine_config(disk, guest=ENDLESS_IO, recording=recording, keep_recording=True)
    with Machine(wanted) as machine:

        async def act() -> None:
            await progress(machine)
            machine.control.stop()
            machine.control.quit()

        drive(machine, act)
    with Recording.open(str(recording)) as opened:
        snapshot = opened.snapshot()
    assert check_snapshot(snapshot).ok
    assert sum(row.blocked_count[Blocked.DRAIN] for row in snapshot.rows if row.thread == 0) > 0
    assert [queue.inflight for queue in snapshot.queues] == [0]
