# SPDX-License-Identifier: GPL-2.0-or-later
"""Random reads through virtio-blk on this VMM and on QEMU, and by fio on the host.

Both VMMs boot the same ELF file on one vCPU, give it the same image by virtio-mmio, and serve the
queue in the main loop or in an iothread. The guest polls for completions, so what is compared is
the host side of the data path, kick to used ring. This VMM records its lock meanwhile.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vmm.bench import fio
from vmm.bench.contestant import (
    IOTHREAD_POLL_MAX_NS,
    MEMORY_MB,
    QUEUE_SIZE,
    Disk,
    Job,
    run_own,
)
from vmm.bench.image import supports_direct
from vmm.bench.process import Run
from vmm.bench.qemu import Qemu
from vmm.bench.rounds import Progress, interleave
from vmm.bench.statistics import Estimate, estimate, ratio_of_rounds

PLACEMENTS = ("mainloop", "iothread")
WARM_UP_S = 0.2


@dataclass(frozen=True)
class BlockPlan:
    """What to measure; ``seconds`` is one trial's measured window, ``block_size`` in bytes."""

    image: Path
    trials: int = 5
    seconds: float = 1.0
    depth: int = 32
    block_size: int = 4096
    qemu_aio: str = "native"

    @property
    def batch(self) -> int:
        """Requests that fio-batched gives the kernel in one system call."""
        return max(1, self.depth // 2)


@dataclass(frozen=True)
class BlockResult:
    """Reads per second of each contestant, in rounds."""

    plan: BlockPlan
    qemu: Qemu
    iops: dict[str, list[float]]
    direct: bool
    load_average: float

    def iops_ratio(self, placement: str) -> Estimate:
        """This VMM over QEMU, both with the queue in ``placement``."""
        return ratio_of_rounds(self.iops[f"bqlscope-{placement}"], self.iops[f"qemu-{placement}"])

    def host_ratio(self, placement: str, host: str = "fio") -> Estimate:
        """This VMM over ``fio`` or ``fio-batched`` on the host."""
        return ratio_of_rounds(self.iops[f"bqlscope-{placement}"], self.iops[host])

    def best_placement(self) -> str:
        """The placement with the higher ratio to the host."""
        return max(PLACEMENTS, key=lambda placement: self.host_ratio(placement).median)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        best = self.best_placement()
        host = {placement: self.host_ratio(placement).as_dict() for placement in PLACEMENTS}
        return {
            "iops": {
                name: estimate(values).as_dict(trials=True) for name, values in self.iops.items()
            },
            "iops_ratio": {
                placement: self.iops_ratio(placement).as_dict() for placement in PLACEMENTS
            },
            "host_ratio": {**host, "best": {"placement": best, **host[best]}},
            "host_batched_ratio": {
                placement: self.host_ratio(placement, "fio-batched").as_dict()
                for placement in PLACEMENTS
            },
            "qemu_version": self.qemu.version,
            "config": {
                **asdict(self.plan),
                "image": str(self.plan.image),
                "direct": self.direct,
                "warm_up_s": WARM_UP_S,
                "rw": "randread",
                "transport": "virtio-mmio, version 1",
                "queues": 1,
                "fio_batch": self.plan.batch,
                "queue_size": QUEUE_SIZE,
                "poll_max_ns": IOTHREAD_POLL_MAX_NS,
                "memory_mb": MEMORY_MB,
                "cpus": 1,
                "recording": True,
                "qemu_package": self.qemu.package,
                "load_average_before": self.load_average,
            },
        }


def measure(plan: BlockPlan, qemu: Qemu, fio_path: str, run: Run, tell: Progress) -> BlockResult:
    """Run the plan.

    Raises:
        BenchError: a contestant failed.
    """
    direct = supports_direct(plan.image)
    words = (
        f"ms={round(plan.seconds * 1000)} warmup_ms={round(WARM_UP_S * 1000)} hammer=none"
        f" iodepth={plan.depth} bs={plan.block_size}"
    )
    contestants: dict[str, Callable[[], float]] = {}

    def own(job: Job) -> float:
        return float(run_own(job, run)["blk"]["iops"])

    def rival(job: Job) -> float:
        return float(qemu.run(job, run, plan.qemu_aio)["blk"]["iops"])

    for placement in PLACEMENTS:
        job = Job(words, plan.seconds, Disk(plan.image, direct, placement == "iothread"))
        contestants[f"bqlscope-{placement}"] = partial(own, job)
        contestants[f"qemu-{placement}"] = partial(rival, job)
    disk = Disk(plan.image, direct, iothread=False)
    for name, batch in (("fio", 1), ("fio-batched", plan.batch)):
        load = fio.Load(plan.depth, plan.block_size, plan.seconds, WARM_UP_S, batch)
        contestants[name] = partial(fio.measure, fio_path, disk, load, run)
    load_average = os.getloadavg()[0]
    iops = interleave(contestants, plan.trials, tell)
    return BlockResult(plan, qemu, iops, direct, load_average)
