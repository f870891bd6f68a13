# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording against what is known from elsewhere.

Three witnesses count the same accesses independently: the guest, the vCPU's exit loop and the
lock's recording. What is not in the guest's hands (which thread, how long) has bounds that follow
from the machine's design.
"""

from collections import Counter
from pathlib import Path

import pytest

from profiler.check import Verdict, check_snapshot
from profiler.model import Blocked, Role, Row, Snapshot
from profiler.reader import Recording
from tests.support.vm import VmResult, run_vm

ACCELERATORS = [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"]
READS = 10_007
SCRATCH, PYTHON_SCRATCH = "scratch", "python-scratch"
HAMMER = "hammer=pio:0x5f8:4,pio:0x5e8:4"
# Exits of CPU 0 that take no lock: the port of marks is lock-free, and where the guest looks for 32
# PCI devices, a write of the address and a read of the data each, this machine has no device.
MARK_WRITES, PCI_PROBES = 2, 2 * 32


class Truth:
    """A finished machine: what it reported, and its recording."""

    def __init__(self, accel: str, guest: str, folder: Path, *options: str) -> None:
        self.path = folder / "vm.bql"
        self.result: VmResult = run_vm(
            *("--kernel", "micro", "--accel", accel, "--append", guest, *options),
            *("--recording", str(self.path), "--keep-recording", "--window-recording"),
            report=folder / "report.json",
        )
        assert self.result.status == 0, self.result.stderr
        self.whole = self._snapshot("")

    def _snapshot(self, mark: str) -> Snapshot:
        with Recording.open(Path(f"{self.path}{mark}")) as recording:
            return recording.snapshot(events=True)

    def marks(self) -> tuple[Snapshot, Snapshot]:
        """The copies at the begin and the end of the guest's window."""
        return self._snapshot(".begin"), self._snapshot(".end")

    def window(self) -> Snapshot:
        """What was recorded between the guest's two marks."""
        begin, end = self.marks()
        return end.since(begin)


def device_rows(snapshot: Snapshot) -> list[tuple[str, str, Row]]:
    """Rows of accesses to a device: thread's name without the accelerator, region, row."""
    regions = {site.index: site.region for site in snapshot.sites}
    return [
        (snapshot.thread_label(row.who).partition("/")[0], regions[row.site], row)
        for row in snapshot.rows
        if regions[row.site] and row.total
    ]


def device_acquisitions(snapshot: Snapshot) -> Counter[tuple[str, str]]:
    """Acquisitions by thread and device."""
    counts: Counter[tuple[str, str]] = Counter()
    for thread, region, row in device_rows(snapshot):
        counts[thread, region] += row.total
    return counts


def assert_every_law(snapshot: Snapshot) -> None:
    report = check_snapshot(snapshot)
    assert [check for check in report.checks if check.verdict is not Verdict.HOLDS] == []


@pytest.mark.parametrize("accel", ACCELERATORS)
@pytest.mark.parametrize(
    ("register", "device"),
    [("pio:0x5f8:4", SCRATCH), ("pio:0x64:1", "i8042"), ("pio:0x60:1", "i8042")],
)
def test_n_port_reads_are_n_acquisitions_for_that_device_by_that_vcpu(
    accel: str, register: str, device: str, tmp_path: Path
) -> None:
    truth = Truth(accel, f"mode=pio reads={READS} hammer={register} marks=1", tmp_path)
    assert truth.result.guest["pio"]["reads"] == READS
    assert device_acquisitions(truth.window()) == {("CPU 0", device): READS}
    assert_every_law(truth.whole)


@pytest.mark.parametrize("accel", ACCELERATORS)
def test_every_byte_of_serial_output_is_an_acquisition_too(accel: str, tmp_path: Path) -> None:
    truth = Truth(accel, f"mode=pio reads={READS} hammer=pio:0x3fd:1", tmp_path)
    written = len(truth.result.stdout.encode())
    assert device_acquisitions(truth.whole) == {
        ("CPU 0", "serial"): READS + written,
        ("CPU 0", "debug-exit"): 1,
    }


@pytest.mark.kvm
def test_every_exit_to_a_locked_region_is_one_acquisition(tmp_path: Path) -> None:
    guest = f"rw=read iodepth=8 ms=100 warmup_ms=1 irq=1 marks=1 {HAMMER}"
    truth = Truth("kvm", guest, tmp_path, "--smp", "2", "--drive", "driver=null,size=64M")
    found = device_acquisitions(truth.whole)
    first, second = truth.result.report["cpus"]
    (disk,) = {region for _, region in found if region.startswith("virtio-mmio")}
    assert found["CPU 0", disk] == first["mmio"] > 0
    locked = found["CPU 0", "serial"] + found["CPU 0", "debug-exit"]
    assert locked == first["pio"] - MARK_WRITES - PCI_PROBES
    assert found["CPU 1", SCRATCH] + found["CPU 1", PYTHON_SCRATCH] == second["pio"]
    assert second["mmio"] == 0
    assert {thread for thread, _ in found} == {"CPU 0", "CPU 1"}


@pytest.mark.parametrize("accel", ACCELERATORS)
def test_the_window_holds_the_guests_accesses_and_no_others(accel: str, tmp_path: Path) -> None:
    """At the end mark, each other vCPU may have a read under way that is not recorded yet."""
    guest = f"rw=read iodepth=8 ms=100 warmup_ms=50 marks=1 {HAMMER}"
    truth = Truth(accel, guest, tmp_path, "--smp", "3", "--drive", "driver=null,size=64M")
    found = device_acquisitions(truth.window())
    counted = {entry["reg"]: entry["reads"] for entry in truth.result.guest["access"]["registers"]}
    recorded = {
        "pio:0x5f8:4": found["CPU 1", SCRATCH] + found["CPU 2", SCRATCH],
        "pio:0x5e8:4": found["CPU 1", PYTHON_SCRATCH] + found["CPU 2", PYTHON_SCRATCH],
    }
    under_way = sum(counted.values()) - sum(recorded.values())
    assert min(counted.values()) > 0
    assert 0 <= under_way <= 2
    assert all(recorded[register] <= counted[register] for register in counted)
    assert found["CPU 0", SCRATCH] == found["CPU 0", PYTHON_SCRATCH] == 0
    assert not any(region == "serial" for _, region in found)  # the result comes after the window
    # A thread may have been between its rows and its other tables when they were copied.
    assert [check_snapshot(copy).ok for copy in truth.marks()] == [True, True]


@pytest.mark.parametrize("accel", ACCELERATORS)
def test_only_a_python_device_waits_for_the_gil(accel: str, tmp_path: Path) -> None:
    guest = f"mode=idle ms=50 {HAMMER}"
    truth = Truth(accel, guest, tmp_path, "--smp", "2")
    waited = {region: row for thread, region, row in device_rows(truth.whole) if thread == "CPU 1"}
    assert waited[SCRATCH].gil_ticks == 0
    assert waited[SCRATCH].blocked_count[Blocked.GIL] == 0
    assert 0 < waited[PYTHON_SCRATCH].gil_ticks < waited[PYTHON_SCRATCH].hold_total
    assert waited[PYTHON_SCRATCH].blocked_count[Blocked.GIL] == waited[PYTHON_SCRATCH].total


@pytest.mark.parametrize("accel", ACCELERATORS)
def test_an_iothread_has_no_row_and_the_main_loop_holds_no_longer_than_the_run(
    accel: str, tmp_path: Path
) -> None:
    guest = "rw=read iodepth=8 ms=100 warmup_ms=1 irq=1 marks=1"
    options = ("--object", "iothread,id=io0", "--drive", "driver=null,size=64M,iothread=io0")
    truth = Truth(accel, guest, tmp_path, "--smp", "2", *options)
    assert truth.result.guest["blk"]["ops"] > 0
    by_role: Counter[Role] = Counter()
    held = 0
    for row in truth.whole.rows:
        by_role[truth.whole.role_of(row.who)] += row.total
        held += row.hold_total if truth.whole.role_of(row.who) is Role.MAIN else 0
    assert by_role[Role.IOTHREAD] == 0
    assert set(by_role) <= {Role.MAIN, Role.VCPU, Role.IOTHREAD}
    assert 0 < held <= truth.whole.elapsed
    assert_every_law(truth.whole)
