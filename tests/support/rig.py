# SPDX-License-Identifier: GPL-2.0-or-later
"""The VMM's spine without a machine: lock, address spaces, request slot and scripted vCPUs.

A test's own thread is the "main thread": it takes the BQL with ``with rig.bql.held():`` where the
contract of a call asks for it, and never while it waits for an access of a vCPU.
"""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from profiler.reader import Recording
from vmm._native import ffi, lib
from vmm.accel.base import Accelerator
from vmm.accel.qtest import QtestAccelerator
from vmm.bql import Bql, Recorder
from vmm.cpu import X86Cpu
from vmm.devices.python_region import PythonRegion, RegionHandler

PATIENCE_SECONDS = 20.0
REGISTER = 0x1000


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return once ``condition`` holds; for states that only the kernel can show.

    Raises AssertionError naming ``what`` after PATIENCE_SECONDS.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        os.sched_yield()


def somebody_listens(path: Path) -> bool:
    """Whether connections to a Unix socket are taken: its file is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def thread_names() -> list[str]:
    """OS names of this process's threads, sorted."""
    names = []
    for entry in Path("/proc/self/task").iterdir():
        try:
            names.append((entry / "comm").read_text().rstrip("\n"))
        except OSError:  # it ended between the two calls
            continue
    return sorted(names)


def thread_sleeps(native_id: int) -> bool:
    """Whether the kernel has this thread of ours asleep."""
    stat = Path(f"/proc/self/task/{native_id}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"


@dataclass(frozen=True)
class Call:
    """One call of a Probe's handler. ``locked``: its thread held the BQL."""

    kind: str
    offset: int
    value: int
    size: int
    locked: bool
    thread: int


class Probe:
    """A device that remembers its calls and reads as ``answer``."""

    def __init__(self, bql: Bql, answer: int = 0) -> None:
        self._bql = bql
        self.answer = answer
        self.calls: list[Call] = []

    def _note(self, kind: str, offset: int, value: int, size: int) -> None:
        thread = threading.get_native_id()
        self.calls.append(Call(kind, offset, value, size, self._bql.locked(), thread))

    def read(self, offset: int, size: int) -> int:
        """A RegionHandler's read."""
        self._note("read", offset, 0, size)
        return self.answer

    def write(self, offset: int, value: int, size: int) -> None:
        """A RegionHandler's write."""
        self._note("write", offset, value, size)


class Rig:
    """Lock, address spaces, request slot, vCPUs.

    Args:
        recording: where to record; None records nothing (quicker).
    """

    def __init__(self, recording: Path | None = None) -> None:
        self._undo = ExitStack()
        self.recorder = Recorder(recording) if recording is not None else None
        if self.recorder is not None:
            self._undo.callback(self.recorder.close)
        self.bql = Bql("pthread", self.recorder)
        self._undo.callback(self.bql.close)
        self.iospace: Any = lib.iospace_new(self.bql.handle)
        self._undo.callback(lib.iospace_free, self.iospace)
        self.requests: Any = lib.vm_requests_new()
        self._undo.callback(lib.vm_requests_free, self.requests)
        self._memory = lib.guest_memory_new()
        self._undo.callback(lib.guest_memory_free, self._memory)
        self.vcpu_set: Any = lib.vcpu_set_new(
            self.bql.handle, self.iospace, self._memory, self.requests
        )
        lib.vcpu_set_use_python(self.vcpu_set)
        self._undo.callback(lib.vcpu_set_free, self.vcpu_set)
        self.cpus: list[X86Cpu] = []
        self._undo.callback(self._end_cpus)
        self.regions: list[PythonRegion] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    # Address spaces. The caller does not hold the BQL.

    def try_add(
        self,
        base: int,
        size: int,
        handler: RegionHandler,
        *,
        kind: int = lib.IO_MMIO,
        name: str = "probe",
        lock_free: bool = False,
    ) -> int:
        """iospace_add() of a Python region: 0 or -errno."""
        region = PythonRegion(name, handler, self.bql.handle, self.requests)
        self.regions.append(region)
        with self.bql.held():
            return int(
                lib.iospace_add(
                    self.iospace,
                    kind,
                    base,
                    size,
                    name.encode(),
                    lock_free,
                    PythonRegion.ops(),
                    region.native,
                )
            )

    def probe(self, base: int, size: int, *, answer: int = 0, **options: Any) -> Probe:
        """Add a region with a new Probe behind it; options as for try_add()."""
        probe = Probe(self.bql, answer)
        assert self.try_add(base, size, probe, **options) == 0
        return probe

    def remove(self, base: int, kind: int = lib.IO_MMIO) -> int:
        """iospace_remove(): 0 or -errno."""
        with self.bql.held():
            return int(lib.iospace_remove(self.iospace, kind, base))

    def read(self, addr: int, size: int, kind: int = lib.IO_MMIO) -> int:
        """One read by the calling thread."""
        return int(lib.iospace_read(self.iospace, kind, addr, size))

    def write(self, addr: int, value: int, size: int, kind: int = lib.IO_MMIO) -> None:
        """One write by the calling thread."""
        lib.iospace_write(self.iospace, kind, addr, value, size)

    def acquisitions(self) -> Counter[str]:
        """Recorded acquisitions by region name; those of no region under an empty one."""
        assert self.recorder is not None
        counts: Counter[str] = Counter()
        with Recording.open(Path(self.recorder.path)) as recording:
            snapshot = recording.snapshot()
        regions = {site.index: site.region for site in snapshot.sites}
        for row in snapshot.rows:
            counts[regions.get(row.site, "")] += sum(row.acquisitions)
        return counts

    # vCPUs.

    def add_cpu(self, accelerator: Accelerator | None = None) -> X86Cpu:
        """Realize one more vCPU, by default a scripted one."""
        cpu = X86Cpu(len(self.cpus), accelerator or QtestAccelerator(self.iospace), self.vcpu_set)
        self.cpus.append(cpu)
        with self.bql.held():
            cpu.realize()
        return cpu

    def access(
        self, cpu: X86Cpu, addr: int, size: int = 4, *, write: bool = False, value: int = 0
    ) -> int:
        """Have a scripted vCPU do one MMIO access; without the BQL."""
        return int(lib.qtest_access(cpu.native, lib.IO_MMIO, write, addr, value, size))

    def run_on(self, cpu: X86Cpu, work: Callable[[], None]) -> int:
        """vcpu_run_on() with a Python function; takes the BQL. 0 or -errno."""
        callback = ffi.callback("void(Vcpu *, void *)", lambda _cpu, _opaque: work())
        with self.bql.held():
            return int(lib.vcpu_run_on(cpu.native, callback, ffi.NULL))

    def _end_cpus(self) -> None:
        with self.bql.held():
            for cpu in self.cpus:
                cpu.unrealize()


class Later(threading.Thread):
    """A thread that reads REGISTER through a vCPU and keeps what it read."""

    def __init__(self, rig: Rig, cpu: X86Cpu) -> None:
        super().__init__()
        self._rig, self._cpu = rig, cpu
        self.value: int | None = None
        self.start()

    def run(self) -> None:
        """Body of the thread."""
        self.value = self._rig.access(self._cpu, REGISTER)

    def result(self) -> int | None:
        """What was read; waits for the end."""
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive()
        return self.value

    def wait_asleep(self) -> None:
        """Until the access waits for its vCPU."""
        native_id = self.native_id
        assert native_id is not None
        wait_until(lambda: thread_sleeps(native_id), "the access to wait")


class Gate:
    """A device that stops its caller until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def read(self, offset: int, size: int) -> int:
        """Waits; then 0x55."""
        self.entered.set()
        assert self.released.wait(PATIENCE_SECONDS)
        return 0x55

    def write(self, offset: int, value: int, size: int) -> None:
        """Not for writing."""
        raise AssertionError("never written")
