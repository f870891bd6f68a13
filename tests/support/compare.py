# SPDX-License-Identifier: GPL-2.0-or-later
"""Builders of plans, trials and results for the tests of `bqlscope compare`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from profiler.compare.host import Host
from profiler.compare.locks import BlamePair, LockFigures
from profiler.compare.own import OwnVmm
from profiler.compare.placement import Placement
from profiler.compare.plan import Plan, Slot
from profiler.compare.qemu import MACHINES, QemuVmm
from profiler.compare.qemu_program import QemuProgram
from profiler.compare.result import Result, build_result
from profiler.compare.trial import Trial
from profiler.compare.vmm import Vmm
from profiler.compare.workload import Drive, Workload

MAINLOOP = Placement("mainloop")
IOTHREAD = Placement("iothread")
OWN = OwnVmm(version="0")
QEMU_7 = QemuProgram("/opt/qemu-7", "7.2.22")
QEMU_10 = QemuProgram("/opt/qemu-10", "10.0.2", "Debian 1:10.0.2")
MICROVM = QemuVmm(QEMU_10, Path("/guest.elf"))
Q35 = QemuVmm(QEMU_10, Path("/guest.elf"), MACHINES["q35"])
BIG_HOST = Host("6.18.0", "x86_64", cpus=8, kvm=True, nested=False)
SMALL_HOST = Host("6.18.0", "x86_64", cpus=2, kvm=True, nested=True)

BASE_METRICS: Mapping[str, float] = {
    "iops": 251_000.0,
    "blk_lat_p50_us": 118.0,
    "blk_lat_p99_us": 240.0,
    "accesses_per_s": 18_000.0,
    "access_p50_us": 41.0,
    "access_p99_us": 201.0,
    "access_max_us": 900.0,
    "vcpu_bql_wait_share": 0.129,
    "mainloop_bql_hold_share": 0.8,
    "mainloop_hold_p99_us": 97.0,
}
FAST_METRICS: Mapping[str, float] = {
    "iops": 376_000.0,
    "blk_lat_p50_us": 81.0,
    "blk_lat_p99_us": 160.0,
    "accesses_per_s": 31_000.0,
    "access_p50_us": 29.0,
    "access_p99_us": 98.0,
    "access_max_us": 310.0,
    "vcpu_bql_wait_share": 0.001,
    "mainloop_bql_hold_share": 0.004,
    "mainloop_hold_p99_us": 3.0,
}
BLAME = (
    BlamePair("CPU 1", "serial (0x3f8)", "main loop", "virtio-blk queue", 80.6e6),
    BlamePair("CPU 1", "serial (0x3f8)", "handoff", "", 2.4e6),
    BlamePair("CPU 0", "bqlscope-mark", "CPU 1", "serial (0x3f8)", 0.2e6),
)


def make_plan(
    placements: Sequence[Placement] = (MAINLOOP, IOTHREAD),
    trials: int = 5,
    smp: int = 2,
    vmm: Vmm = OWN,
) -> Plan:
    """A plan on a temporary image with O_DIRECT."""
    drive = vmm.drive(Drive(Path("/nowhere/disk.raw"), "none", temporary=True))
    return Plan(vmm, tuple(placements), Workload(smp=smp), drive, trials)


def make_qemu_plan(trials: int = 5, vmm: QemuVmm = MICROVM) -> Plan:
    """Main loop against iothread in QEMU, with its usual interrupt path."""
    return make_plan(vmm.placements(("mainloop", "iothread"), ()), trials, vmm=vmm)


def make_locks(blame: Sequence[BlamePair] = BLAME) -> LockFigures:
    """Lock figures of a marked window of one second."""
    return LockFigures(1e9, "marks", 2, 258e6, 8e8, 97e3, tuple(blame))


def make_trials(
    placement: Placement,
    metrics: Mapping[str, float],
    factors: Sequence[float] = (1.0, 0.98, 1.01, 1.03, 0.99),
    locks: LockFigures | None = None,
    vmm: str = "bqlscope",
) -> list[Trial]:
    """One trial a factor; every metric of trial n is multiplied by factor n."""
    return [
        Trial(
            Slot(index, index, placement, vmm),
            {key: value * factor for key, value in metrics.items()},
            locks,
            {"name": "kvm", "reason": "/dev/kvm opens"},
            {"cpus": 2},
        )
        for index, factor in enumerate(factors)
    ]


def make_result(
    candidate: Mapping[str, float] = FAST_METRICS,
    host: Host = BIG_HOST,
    trials: int = 5,
    plan: Plan | None = None,
) -> Result:
    """Main loop against iothread, the latter with the given metrics."""
    factors = (1.0, 0.98, 1.01, 1.03, 0.99)[:trials]
    plan = plan or make_plan(trials=trials)
    base, other = plan.placements
    return build_result(
        plan,
        host,
        [
            *make_trials(base, BASE_METRICS, factors, make_locks(), plan.key),
            *make_trials(other, candidate, factors, make_locks(()), plan.key),
        ],
    )
