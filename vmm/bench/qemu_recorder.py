# SPDX-License-Identifier: GPL-2.0-or-later
"""What recording costs an unmodified QEMU, beside its own ``sync-profile``.

The same QEMU, guest and image three times: as it is, started by ``bqlscope qemu``, and with
``-enable-sync-profile``. Two rates are measured, each by a guest of one vCPU: disk reads with the
queue in the main loop, where every batch takes the lock a few times, and reads of a serial port's
register, where every single one does.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vmm.bench.contestant import MEMORY_MB, QUEUE_SIZE, Disk, Job
from vmm.bench.exits import EXPECTED_READ_S, SERIAL_LSR
from vmm.bench.image import supports_direct
from vmm.bench.process import BenchError, Run, guest_result
from vmm.bench.qemu import Qemu
from vmm.bench.rounds import Progress, interleave
from vmm.bench.statistics import Estimate, estimate

VARIANTS = ("plain", "recorded", "sync-profile")
RATES = ("iops", "accesses_per_s")
WARM_UP_MS = 200
RECORD = (sys.executable, "-m", "profiler", "qemu", "--quiet", "--no-monitor", "--recording")


@dataclass(frozen=True)
class QemuRecorderPlan:
    """What to measure: rounds, ``seconds`` of disk reads and ``reads`` of the register in each."""

    image: Path
    trials: int = 15
    seconds: float = 1.0
    reads: int = 20_000
    depth: int = 32
    aio: str = "native"


@dataclass(frozen=True)
class QemuRecorderResult:
    """Rates by kind and variant, in rounds."""

    plan: QemuRecorderPlan
    qemu: Qemu
    rates: Mapping[str, Mapping[str, list[float]]]
    load_average: float

    def slowdown(self, rate: str, variant: str) -> Estimate:
        """How much slower than plain, as a fraction: 0.02 is 2 %; below 0 it was faster."""
        plain, other = self.rates[rate]["plain"], self.rates[rate][variant]
        return estimate([before / after - 1 for before, after in zip(plain, other, strict=True)])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rates": {
                rate: {name: estimate(own).as_dict(trials=True) for name, own in rates.items()}
                for rate, rates in self.rates.items()
            },
            "slowdown": {
                rate: {name: self.slowdown(rate, name).as_dict() for name in VARIANTS[1:]}
                for rate in RATES
            },
            "qemu_version": self.qemu.version,
            "config": {
                **asdict(self.plan),
                "image": str(self.plan.image),
                "direct": supports_direct(self.plan.image),
                "port": SERIAL_LSR,
                "placement": "mainloop",
                "queue_size": QUEUE_SIZE,
                "warm_up_ms": WARM_UP_MS,
                "memory_mb": MEMORY_MB,
                "cpus": 1,
                "qemu_package": self.qemu.package,
                "load_average_before": self.load_average,
            },
        }


def command(variant: str, qemu: Qemu, job: Job, aio: str, recording: Path) -> list[str]:
    """Command line of a job in a variant; ``recording`` is where the recorded one may write."""
    plain = qemu.command(job, aio)
    if variant == "recorded":
        return [*RECORD, str(recording), "--", *plain]
    return [*plain, "-enable-sync-profile"] if variant == "sync-profile" else plain


def _jobs(plan: QemuRecorderPlan) -> dict[str, Job]:
    disk = Disk(plan.image, supports_direct(plan.image), iothread=False)
    milliseconds = round(plan.seconds * 1000)
    words = f"ms={milliseconds} warmup_ms={WARM_UP_MS} hammer=none iodepth={plan.depth}"
    access = f"mode=pio reads={plan.reads} hammer=pio:{SERIAL_LSR:#x}:1"
    return {
        "iops": Job(words, plan.seconds, disk),
        "accesses_per_s": Job(access, plan.reads * EXPECTED_READ_S),
    }


def _rate(kind: str, guest: Mapping[str, Any]) -> float:
    value = guest["blk"]["iops"] if kind == "iops" else 1e9 / max(1, guest["pio"]["mean_ns"])
    if value <= 0:
        raise BenchError("the guest did nothing")
    return float(value)


def measure(plan: QemuRecorderPlan, qemu: Qemu, run: Run, tell: Progress) -> QemuRecorderResult:
    """Run the plan.

    Raises:
        BenchError: a contestant failed.
    """
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bqlscope-bench-", dir=_memory_backed()) as directory:
        recording = Path(directory) / "qemu.bql"

        def once(kind: str, variant: str, job: Job) -> float:
            done = run(command(variant, qemu, job, plan.aio, recording), job.timeout_s)
            return _rate(kind, guest_result(f"QEMU ({variant})", done))

        contestants: dict[str, Callable[[], float]] = {
            f"{kind} {variant}": partial(once, kind, variant, job)
            for kind, job in _jobs(plan).items()
            for variant in VARIANTS
        }
        found = interleave(contestants, plan.trials, tell)
    rates = {kind: {name: found[f"{kind} {name}"] for name in VARIANTS} for kind in RATES}
    return QemuRecorderResult(plan, qemu, rates, load_average)


def _memory_backed() -> str | None:
    """A directory on a memory file system: a recording on a disk would be written back."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
