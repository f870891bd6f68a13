# SPDX-License-Identifier: GPL-2.0-or-later
"""This project's own VMM as a contestant: a child `python -m vmm run` for each trial."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from profiler.compare.placement import Placement, cross_placements
from profiler.compare.trial import TrialError, load_document
from profiler.compare.vmm import Identity, Job, TrialFiles, ending
from profiler.compare.workload import VNC_ENCODINGS, Drive

PROGRAM = (sys.executable, "-m", "vmm", "run")
KEY = "bqlscope"
USUAL_IRQ = "irqfd"


def watched(
    command: Sequence[str], clients: int, encoding: str, encoder: str, vnc: Path, qmp: Path
) -> list[str]:
    """The command with viewers: a wrapper connects them before it lets the guest run."""
    wrapper = [sys.executable, "-m", "profiler.compare.viewers", str(clients)]
    wrapper += [str(VNC_ENCODINGS[encoding]), str(vnc), str(qmp)]
    screen = ["--vnc", f"unix:{vnc}", "--vnc-encode", encoder, "--qmp", f"unix:{qmp}", "-S"]
    return [*wrapper, *command, *screen]


def product_version() -> str:
    """Version of the installed distribution, `unknown` when run from a bare tree."""
    try:
        return version("bqlscope")
    except PackageNotFoundError:
        return "unknown"


def drive_option(drive: Drive, placement: Placement) -> str:
    """The `--drive` value: the image, and the properties that place its queue."""
    parts = [f"file={drive.escaped_path}", f"cache={drive.cache}", f"aio={drive.aio}"]
    if drive.readonly:
        parts.append("readonly=on")
    parts.append("irq=irqfd" if placement.irq == "none" else f"irq={placement.irq}")
    if placement.kind == "vcpu":
        parts.append("ioeventfd=off")
    elif placement.kind == "iothread" or placement.encoder:
        parts.append(f"iothread={placement.iothreads[0]}")
    elif placement.kind == "iothread-vq-mapping":
        parts += [
            f"iothread-vq-mapping={'+'.join(placement.iothreads)}",
            f"num-queues={placement.queues}",
        ]
    return ",".join(parts)


@dataclass(frozen=True)
class OwnVmm:
    """bqlscope's VMM; `program` is the command that runs it."""

    program: tuple[str, ...] = PROGRAM
    version: str = field(default_factory=product_version)

    @property
    def identity(self) -> Identity:
        """bqlscope, in the version that is installed."""
        return Identity(KEY, "bqlscope", self.version, "virtio-mmio")

    def placements(self, kinds: Sequence[str], irqs: Sequence[str]) -> tuple[Placement, ...]:
        """All kinds with all irq paths; irqfd unless told otherwise."""
        return cross_placements(kinds, irqs or (USUAL_IRQ,), USUAL_IRQ)

    def drive(self, image: Drive) -> Drive:
        """The image as it is: io_uring, and the worker pool where that is missing."""
        return image

    def command(self, job: Job, files: TrialFiles) -> list[str]:
        """`python -m vmm run …`."""
        work = job.workload
        command = [*self.program, "--no-reboot", "--kernel", "micro", "--accel", work.accel]
        command += ["--smp", str(work.vcpus), "--memory", work.memory]
        for name in job.placement.iothreads:
            command += ["--object", f"iothread,id={name},poll-max-ns={work.poll_max_ns}"]
        command += ["--drive", drive_option(job.drive, job.placement)]
        command += ["--append", job.guest_parameters]
        command += ["--recording", str(files.recording), "--keep-recording", "--window-recording"]
        command += ["--json", str(files.output)]
        if not work.vnc_clients:
            return command
        encoder = job.placement.encoder or "worker"
        sockets = (files.directory / "vnc", files.directory / "qmp")
        return watched(command, work.vnc_clients, work.vnc_encoding, encoder, *sockets)

    def collect(self, files: TrialFiles, status: int) -> Mapping[str, Any]:
        """The child's JSON file, which has all that is asked for."""
        if status != 0:
            raise TrialError(f"the VMM ended with {ending(status)}: {files.last_line()}")
        return load_document(files.output)
