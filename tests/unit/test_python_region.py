# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices in Python: called under the BQL, their exceptions contained, their GIL wait recorded."""

import gc
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from profiler.reader import Recording
from tests.support.rig import REGISTER, Probe, Rig, thread_names, wait_until
from vmm._native import ffi, lib
from vmm.config import MachineConfig
from vmm.cpu import resume_all
from vmm.devices.python_region import PythonRegion
from vmm.errors import CallbackError
from vmm.machine import Machine
from vmm.requests import RequestKind


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


class Broken:
    """A device that raises what it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def read(self, offset: int, size: int) -> int:
        raise self.error

    def write(self, offset: int, value: int, size: int) -> None:
        raise self.error


class Wrong:
    """A device that returns something that is no number."""

    def __init__(self, value: object) -> None:
        self.value = value

    def read(self, offset: int, size: int) -> int:
        return self.value  # type: ignore[return-value]

    def write(self, offset: int, value: int, size: int) -> None:
        """Nothing."""


def take_request(rig: Rig) -> tuple[RequestKind, str] | None:
    raw = ffi.new("VmRequest *")
    if not lib.vm_request_take(rig.requests, raw):
        return None
    return RequestKind(raw.kind), ffi.string(raw.message).decode()


def test_a_vcpus_access_reaches_python_in_its_own_thread_under_the_lock(rig: Rig) -> None:
    probe = rig.probe(REGISTER, 16, answer=0x1_2345_6789)
    cpu = rig.add_cpu()
    with rig.bql.held():
        resume_all([cpu])
    assert rig.access(cpu, REGISTER + 4) == 0x2345_6789
    rig.access(cpu, REGISTER + 8, 2, write=True, value=0xABCDE)
    tid = lib.vmm_thread_tid(cpu.native.thread)
    assert [(c.kind, c.offset, c.value, c.size, c.locked, c.thread) for c in probe.calls] == [
        ("read", 4, 0, 4, True, tid),
        ("write", 8, 0xBCDE, 2, True, tid),
    ]


def test_a_vcpu_thread_keeps_one_python_identity_for_life(rig: Rig) -> None:
    class Identity:
        def __init__(self) -> None:
            self.local = threading.local()
            self.seen: list[int] = []

        def read(self, offset: int, size: int) -> int:
            self.local.count = getattr(self.local, "count", 0) + 1
            return int(self.local.count)

        def write(self, offset: int, value: int, size: int) -> None:
            """Nothing."""

    assert rig.try_add(REGISTER, 4, Identity()) == 0
    cpus = [rig.add_cpu() for _ in range(2)]
    with rig.bql.held():
        resume_all(cpus)
    assert [rig.access(cpus[0], REGISTER) for _ in range(3)] == [1, 2, 3]
    assert rig.access(cpus[1], REGISTER) == 1


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("write", [False, True])
def test_whatever_a_callback_raises_becomes_a_request_and_all_ones(
    rig: Rig, kind: type[BaseException], write: bool
) -> None:
    error = kind("bad news")
    assert rig.try_add(REGISTER, 4, Broken(error), name="toaster") == 0
    cpu = rig.add_cpu()
    with rig.bql.held():
        resume_all([cpu])
    assert rig.access(cpu, REGISTER, write=write) == (0 if write else 0xFFFF_FFFF)
    request = take_request(rig)
    assert request is not None
    assert request[0] is RequestKind.CALLBACK_ERROR
    assert request[1] == f"device 'toaster': {kind.__name__}: bad news"
    assert rig.regions[-1].error is error
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names == (["_io_write", "write"] if write else ["_io_read", "read"])


@pytest.mark.parametrize("value", [None, "7", 1.5])
def test_a_callback_that_returns_no_number_is_an_error_too(rig: Rig, value: object) -> None:
    assert rig.try_add(REGISTER, 4, Wrong(value)) == 0
    assert rig.read(REGISTER, 4) == 0xFFFF_FFFF
    assert isinstance(rig.regions[-1].error, TypeError)


@pytest.mark.parametrize(("value", "read"), [(-1, 0xFFFF), (1 << 70 | 5, 5), (True, 1)])
def test_any_number_a_callback_returns_is_cut_to_size(rig: Rig, value: int, read: int) -> None:
    assert rig.try_add(REGISTER, 4, Wrong(value)) == 0
    assert rig.read(REGISTER, 2) == read


def test_the_first_exception_of_a_device_is_the_one_that_is_kept(rig: Rig) -> None:
    broken = Broken(ValueError("first"))
    assert rig.try_add(REGISTER, 4, broken) == 0
    rig.read(REGISTER, 4)
    broken.error = ValueError("second")
    rig.write(REGISTER, 0, 4)
    assert str(rig.regions[-1].error) == "first"
    assert take_request(rig) is not None
    assert take_request(rig) is None


def test_a_very_long_message_is_cut(rig: Rig) -> None:
    assert rig.try_add(REGISTER, 4, Broken(ValueError("ü" * 5000))) == 0
    rig.read(REGISTER, 4)
    request = take_request(rig)
    assert request is not None
    assert 100 < len(request[1]) < 512


def test_the_lock_is_free_after_an_exception(rig: Rig) -> None:
    assert rig.try_add(REGISTER, 4, Broken(ValueError())) == 0
    cpu = rig.add_cpu()
    with rig.bql.held():
        resume_all([cpu])
    rig.access(cpu, REGISTER)
    assert rig.bql.trylock()
    rig.bql.unlock()


def test_a_region_is_freed_with_its_owner(rig: Rig) -> None:
    region = PythonRegion("gone", Probe(rig.bql), rig.bql.handle, rig.requests)
    reference = weakref.ref(region)
    del region
    gc.collect()
    assert reference() is None


@dataclass(frozen=True)
class Figures:
    """One region's row of a recording; times in seconds."""

    acquisitions: int
    hold: float
    gil: float


def figures(rig: Rig, region: str) -> Figures:
    assert rig.recorder is not None
    with Recording.open(Path(rig.recorder.path)) as recording:
        snapshot = recording.snapshot()
    (site,) = [site.index for site in snapshot.sites if site.region == region]
    rows = [row for row in snapshot.rows if row.site == site]
    seconds = snapshot.clock.seconds
    return Figures(
        sum(sum(row.acquisitions) for row in rows),
        seconds(sum(row.hold_total for row in rows)),
        seconds(sum(row.gil_ticks for row in rows)),
    )


@pytest.fixture
def gil_hog() -> Iterator[None]:
    """A thread that computes in pure Python, so it gives the GIL up only when asked for 10 ms."""
    interval = sys.getswitchinterval()
    stop = threading.Event()

    def hog() -> None:
        number = 1
        while not stop.is_set():
            for _ in range(1000):
                number = number * 3 & 0xFFFF_FFFF

    thread = threading.Thread(target=hog)
    sys.setswitchinterval(0.01)
    thread.start()
    yield
    stop.set()
    thread.join()
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("gil_hog")
def test_the_wait_for_the_gil_is_recorded_in_a_column_of_its_own(tmp_path: Path) -> None:
    with Rig(tmp_path / "gil.bql") as rig:
        probe = rig.probe(REGISTER, 4, name="slow-device")
        cpu = rig.add_cpu()
        with rig.bql.held():
            resume_all([cpu])

        def waited_enough() -> bool:  # now and then an access finds the GIL free
            rig.access(cpu, REGISTER)
            return figures(rig, "slow-device").gil > 0.03

        wait_until(waited_enough, "accesses that wait for the GIL")
        seen = figures(rig, "slow-device")
    assert seen.acquisitions == len(probe.calls)
    assert seen.gil <= seen.hold
    assert seen.gil > 0.5 * seen.hold  # the handler itself does next to nothing


class Bomb:
    """Raises at the first access."""

    def read(self, offset: int, size: int) -> int:
        raise LookupError("tick")

    def write(self, offset: int, value: int, size: int) -> None:
        raise LookupError("tick")


def test_a_machine_raises_what_its_device_raised_and_closes_cleanly() -> None:
    config = MachineConfig(
        kernel=Path("micro"),
        micro_guest=True,
        accel="qtest",
        command_line="mode=pio hammer=pio:0x700:1 reads=5",
        serial="null",
        record=False,
    )
    with Machine(config) as machine:
        machine.add_python_region(lib.IO_PIO, 0x700, 1, "bomb", Bomb())
        with pytest.raises(CallbackError, match="device 'bomb': LookupError: tick") as caught:
            machine.run()
    assert isinstance(caught.value.__cause__, LookupError)
    machine.close()  # once more does no harm
    assert not [name for name in thread_names() if name.startswith(("CPU ", "IO ", "worker"))]
