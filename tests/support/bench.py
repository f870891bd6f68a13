# SPDX-License-Identifier: GPL-2.0-or-later
"""A runner that starts nothing: it answers as this VMM, QEMU and fio would."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from vmm.bench.process import Finished
from vmm.bench.qemu import Qemu

QEMU = Qemu("/opt/qemu-system-x86_64", "10.0.2", "Debian 1:10.0.2")
OWN_IOPS, QEMU_IOPS, FIO_IOPS, BATCHED_IOPS = 300.0, 200.0, 400.0, 600.0
SYNC_PROFILE_SPEED = 0.8
OWN_NS, QEMU_NS, PYTHON_NS = 27_000.0, 30_000.0, 45_000.0


@dataclass
class FakeRunner:
    """Notes the commands; each round of everything is ``drift`` times as fast as the one before.

    ``iothread_gain`` multiplies the reads per second of runs with an iothread.
    """

    drift: float = 1.0
    iothread_gain: float = 1.5
    contestants: int = 6
    commands: list[list[str]] = field(default_factory=list)

    def __call__(self, command: Sequence[str], timeout_s: float) -> Finished:
        assert timeout_s > 0
        speed = self.drift ** (len(self.commands) // self.contestants)
        self.commands.append(list(command))
        return Finished(0, self.answer(list(command), speed), "warning: of no importance\n")

    def answer(self, command: list[str], speed: float) -> str:
        """Standard output of the command."""
        words = " ".join(command)
        if "--ioengine=io_uring" in command:
            iops = FIO_IOPS if "--iodepth_batch=1" in command else BATCHED_IOPS
            return "note: fio talks\n" + json.dumps({"jobs": [{"read": {"iops": iops * speed}}]})
        own = "vmm" in command
        gain = self.iothread_gain if "iothread=io0" in words else 1.0
        if "-enable-sync-profile" in command:
            speed *= SYNC_PROFILE_SPEED
        ns = PYTHON_NS if "0x5e8" in words else OWN_NS if own else QEMU_NS
        times = {"mean_ns": ns / speed, "p50_ns": ns / speed, "p99_ns": 2 * ns / speed}
        result = {
            "bqlscope_guest": 1,
            "blk": {"iops": (OWN_IOPS if own else QEMU_IOPS) * gain * speed, "errors": 0},
            "pio": {"reads": 100, **times},
        }
        return "boot noise\n" + json.dumps(result, separators=(",", ":")) + "\n"
