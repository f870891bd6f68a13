# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest waits for a device register: PIO reads on this VMM and on QEMU.

Both emulate the same serial port, so its line status register is the same work behind the exit:
dispatch, take the big lock, read two bits, release it. This VMM records the lock meanwhile. Two
registers that only this VMM has show what C and Python handlers cost behind the same exit.
"""

import os
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from vmm.bench.contestant import MEMORY_MB, Job, run_own
from vmm.bench.process import BenchError, Run
from vmm.bench.qemu import Qemu
from vmm.bench.rounds import Progress, interleave
from vmm.bench.statistics import Estimate, estimate, ratio_of_rounds

SERIAL_LSR = 0x3FD
SCRATCH = 0x5F8
PYTHON_SCRATCH = 0x5E8
EXPECTED_READ_S = 50e-6
STATISTICS = ("mean", "p50")


@dataclass(frozen=True)
class ExitsPlan:
    """What to measure: so many rounds, so many reads of a register each."""

    trials: int = 9
    reads: int = 10_000


@dataclass(frozen=True)
class ExitsResult:
    """By contestant the guest's latency figures, in rounds; times in ns."""

    plan: ExitsPlan
    qemu: Qemu
    figures: dict[str, list[dict[str, float]]]
    load_average: float

    def values(self, contestant: str, statistic: str) -> list[float]:
        """One statistic (``mean``, ``p50`` or ``p99``) of a contestant, by round, in ns."""
        return [figure[f"{statistic}_ns"] for figure in self.figures[contestant]]

    def ratio(self, numerator: str, denominator: str, statistic: str) -> Estimate:
        """Ratio of two contestants, below 1 if the first is faster."""
        return ratio_of_rounds(
            self.values(numerator, statistic), self.values(denominator, statistic)
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "latency_ns": {
                name: {
                    statistic: estimate(self.values(name, statistic)).as_dict(trials=True)
                    for statistic in (*STATISTICS, "p99")
                }
                for name in self.figures
            },
            "pio_ratio": self._ratios("bqlscope-serial", "qemu-serial"),
            "pio_python_ratio": self._ratios("bqlscope-python", "qemu-serial"),
            "python_over_c_ratio": self._ratios("bqlscope-python", "bqlscope-c"),
            "qemu_version": self.qemu.version,
            "config": {
                **asdict(self.plan),
                "ports": {
                    "serial": SERIAL_LSR,
                    "c": SCRATCH,
                    "python": PYTHON_SCRATCH,
                },
                "memory_mb": MEMORY_MB,
                "cpus": 1,
                "recording": True,
                "qemu_package": self.qemu.package,
                "load_average_before": self.load_average,
            },
        }

    def _ratios(self, numerator: str, denominator: str) -> dict[str, Any]:
        return {
            statistic: self.ratio(numerator, denominator, statistic).as_dict()
            for statistic in STATISTICS
        }


def _figures(result: dict[str, Any]) -> dict[str, float]:
    pio = result["pio"]
    if pio["reads"] <= 0:
        raise BenchError("the guest read no register")
    return {f"{name}_ns": float(pio[f"{name}_ns"]) for name in (*STATISTICS, "p99")}


def measure(plan: ExitsPlan, qemu: Qemu, run: Run, tell: Progress) -> ExitsResult:
    """Run the plan.

    Raises:
        BenchError: a contestant failed.
    """

    def job(port: int) -> Job:
        words = f"mode=pio reads={plan.reads} hammer=pio:{port:#x}:1"
        return Job(words, plan.reads * EXPECTED_READ_S)

    def own(port: int) -> dict[str, float]:
        return _figures(run_own(job(port), run))

    def rival(port: int) -> dict[str, float]:
        return _figures(qemu.run(job(port), run))

    contestants = {
        "bqlscope-serial": partial(own, SERIAL_LSR),
        "qemu-serial": partial(rival, SERIAL_LSR),
        "bqlscope-c": partial(own, SCRATCH),
        "bqlscope-python": partial(own, PYTHON_SCRATCH),
    }
    load_average = os.getloadavg()[0]
    return ExitsResult(plan, qemu, interleave(contestants, plan.trials, tell), load_average)
