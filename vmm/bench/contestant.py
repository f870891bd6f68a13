# SPDX-License-Identifier: GPL-2.0-or-later
"""What a VMM is asked to run, and how this VMM is asked."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmm.bench.process import SLACK_S, Run, guest_result

MEMORY_MB = 64
IOTHREAD_POLL_MAX_NS = 32768
"""QEMU's default, given to both so that neither may change it silently."""
QUEUE_SIZE = 256


@dataclass(frozen=True)
class Disk:
    """A raw image, and whether an iothread or the main loop serves it."""

    path: Path
    direct: bool
    iothread: bool

    @property
    def cache(self) -> str:
        """The cache mode of both VMMs: ``none`` is O_DIRECT."""
        return "none" if self.direct else "writeback"


@dataclass(frozen=True)
class Job:
    """One run of the micro-guest on one vCPU: its parameters, and the time it measures."""

    words: str
    seconds: float
    disk: Disk | None = None

    @property
    def timeout_s(self) -> float:
        """When to give up."""
        return SLACK_S + 4 * self.seconds


def own_command(job: Job) -> list[str]:
    """Command line of this VMM for a job: KVM, one vCPU, the lock recorded."""
    command = [sys.executable, "-m", "vmm", "run", "--no-reboot"]
    command += ["--kernel", "micro", "--accel", "kvm"]
    command += ["--smp", "1", "--memory", f"{MEMORY_MB}M", "--append", job.words]
    if job.disk is not None:
        drive = f"file={_escaped(job.disk.path)},cache={job.disk.cache},queue-size={QUEUE_SIZE}"
        drive += ",readonly=on,num-queues=1"
        if job.disk.iothread:
            command += ["--object", f"iothread,id=io0,poll-max-ns={IOTHREAD_POLL_MAX_NS}"]
            drive += ",iothread=io0"
        command += ["--drive", drive]
    return command


def run_own(job: Job, run: Run) -> dict[str, Any]:
    """Run a job on this VMM.

    Raises:
        BenchError: it failed.
    """
    return guest_result("bqlscope run", run(own_command(job), job.timeout_s))


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")
