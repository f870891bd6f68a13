# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's microvm with the same guest: same devices, same ports, virtio-mmio of version 1."""

import re
from dataclasses import dataclass
from typing import Any

from vmm.bench.contestant import IOTHREAD_POLL_MAX_NS, MEMORY_MB, QUEUE_SIZE, Disk, Job
from vmm.bench.process import BenchError, Run, find_tool, guest_result
from vmm.guest.image import micro_guest_path

PROGRAM = "qemu-system-x86_64"
AIO_ENGINES = ("native", "io_uring", "threads")
VERSION = re.compile(r"version (\d+\.\d+(?:\.\d+)?)(?: \(([^)]*)\))?")
VERSION_TIMEOUT_S = 30.0

# The machine is cut down to what the guest uses: what QEMU does not emulate costs it nothing. Its
# smaller firmware starts a PVH kernel in a tenth of a second; SeaBIOS may take three.
_MACHINE = (
    "-M", "microvm,pic=off,pit=off,rtc=off", "-bios", "qboot.rom",
    "-global", "virtio-mmio.force-legacy=false",
    "-accel", "kvm", "-cpu", "qemu64", "-smp", "1", "-m", str(MEMORY_MB),
    "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
    "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
)  # fmt: skip


@dataclass(frozen=True)
class Qemu:
    """An installed QEMU; ``package`` is the distribution's version of it, or an empty string."""

    path: str
    version: str
    package: str

    def command(self, job: Job, aio: str = "native") -> list[str]:
        """Command line for a job; ``aio`` is one of AIO_ENGINES."""
        command = [self.path, *_MACHINE, "-kernel", str(micro_guest_path()), "-append", job.words]
        return command if job.disk is None else command + _drive(job.disk, aio)

    def run(self, job: Job, run: Run, aio: str = "native") -> dict[str, Any]:
        """Run a job.

        Raises:
            BenchError: it failed.
        """
        return guest_result("QEMU", run(self.command(job, aio), job.timeout_s))


def _drive(disk: Disk, aio: str) -> list[str]:
    # aio=native is Linux AIO, which works with O_DIRECT only.
    engine = aio if disk.direct or aio != "native" else "threads"
    path = str(disk.path).replace(",", ",,")
    drive = f"if=none,id=d0,file={path},format=raw,readonly=on,cache={disk.cache},aio={engine}"
    device = f"virtio-blk-device,drive=d0,num-queues=1,queue-size={QUEUE_SIZE}"
    command = []
    if disk.iothread:
        command += ["-object", f"iothread,id=io0,poll-max-ns={IOTHREAD_POLL_MAX_NS}"]
        device += ",iothread=io0"
    return [*command, "-drive", drive, "-device", device]


def find_qemu(run: Run, program: str = PROGRAM) -> Qemu:
    """Find QEMU and ask it for its version.

    Raises:
        MissingToolError: it is not installed.
        BenchError: it did not tell a version.
    """
    path = find_tool(program)
    done = run([path, "--version"], VERSION_TIMEOUT_S)
    found = VERSION.search(done.stdout)
    if done.status != 0 or found is None:
        raise BenchError(f"{path} --version: status {done.status}, no version in its answer")
    return Qemu(path, found[1], found[2] or "")
