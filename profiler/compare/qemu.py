# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified QEMU as a contestant: a child `bqlscope qemu … -- qemu-system-x86_64 …` a trial.

The machine has what the micro-guest uses and nothing else: what QEMU does not emulate costs it
nothing, and its smaller firmware starts the guest in a tenth of a second where SeaBIOS may take
three. What it has is set up as a user of QEMU gets it, above all with interrupts on: a placement
that looks good only without them helps nobody.

How an interrupt leaves an iothread is decided by the machine. On virtio-mmio QEMU has no irqfd: the
iothread wakes the main loop, which takes the BQL and raises the interrupt. On PCI the guest uses
MSI-X, which goes from the iothread through an irqfd straight to the guest.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from profiler.compare.placement import VNC_KINDS, Placement, PlanError, cross_placements
from profiler.compare.qemu_program import QemuProgram
from profiler.compare.trial import TrialError, load_document, section
from profiler.compare.vmm import Identity, Job, TrialFiles, ending
from profiler.compare.workload import Drive
from profiler.errors import UserError

KEY = "qemu"
RECORDER = (sys.executable, "-m", "profiler", "qemu")
AIO_ENGINES = ("native", "io_uring", "threads")
QUEUE_SIZE = 256
VQ_MAPPING_SINCE = 9
DEBUG_EXIT_PORT = 0xF4
RESULT_MARK = '{"bqlscope_guest"'
_COMMON = (
    "-accel", "kvm", "-cpu", "qemu64", "-nodefaults", "-no-user-config", "-display", "none",
    "-vga", "none", "-serial", "stdio", "-no-reboot",
    "-device", f"isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=4",
    "-name", "bqlscope-compare,debug-threads=on",
)  # fmt: skip


@dataclass(frozen=True)
class QemuMachine:
    """A machine type: its options, its virtio-blk device, and the usual way of its interrupts."""

    name: str
    transport: str
    options: tuple[str, ...]
    device: str
    usual_irq: str
    no_ioeventfd: tuple[tuple[str, str], ...] = ()
    """Options and values of the machine (not of the device) that turn ioeventfd off."""


MACHINES = {
    machine.name: machine
    for machine in (
        QemuMachine(
            "microvm",
            "virtio-mmio",
            (
                *("-M", "microvm,pic=off,pit=off,rtc=off", "-bios", "qboot.rom"),
                *("-global", "virtio-mmio.force-legacy=false"),
            ),
            "virtio-blk-device",
            "mainloop",
            (("-global", "virtio-mmio.ioeventfd=off"),),
        ),
        QemuMachine("q35", "virtio-pci", ("-M", "q35"), "virtio-blk-pci", "irqfd"),
    )
}


def micro_guest() -> Path:
    """Path of the measuring guest's ELF, a data file of `vmm`, which is not imported for it.

    Raises `UserError` if it has not been built.
    """
    package = find_spec("vmm")
    # Beside the package itself: a sanitizer's build of the extension has a place of its own on
    # the package's search path.
    path = Path(package.origin) if package and package.origin else Path()
    path = path.parent / "guest" / "microguest.elf"
    if not path.is_file():
        raise UserError("the measuring guest is not built: run 'make build'")
    return path


@dataclass(frozen=True)
class QemuVmm:
    """QEMU with one of `MACHINES`; `aio` None takes Linux AIO where the image has O_DIRECT.

    `arguments` are appended to QEMU's command line, `recorder` is the command in front of it.
    """

    program: QemuProgram
    guest: Path
    machine: QemuMachine = MACHINES["microvm"]
    aio: str | None = None
    arguments: tuple[str, ...] = ()
    recorder: tuple[str, ...] = RECORDER

    @property
    def identity(self) -> Identity:
        """This QEMU, its machine type and what the user added."""
        program = self.program
        return Identity(
            KEY,
            "QEMU",
            program.version,
            self.machine.transport,
            self.machine.name,
            program.path,
            program.package,
            self.arguments,
        )

    def placements(self, kinds: Sequence[str], irqs: Sequence[str]) -> tuple[Placement, ...]:
        """The placements with the machine's interrupt path, or without interrupts.

        Raises `PlanError` for another path, and for a mapping that this QEMU is too old for.
        """
        usual = self.machine.usual_irq
        if set(kinds) & set(VNC_KINDS):
            raise PlanError(
                "--placements vnc-...: QEMU always encodes in its vnc_worker; leave --vmm out"
            )
        placements = cross_placements(kinds, irqs or (usual,), usual)
        for placement in placements:
            if placement.irq not in (usual, "none"):
                raise PlanError(f"--irq {placement.irq}: {self._only_path()}")
            if placement.kind == "iothread-vq-mapping" and self.program.major < VQ_MAPPING_SINCE:
                raise PlanError(
                    f"--placements iothread-vq-mapping needs QEMU {VQ_MAPPING_SINCE}.0 or newer, "
                    f"{self.program.path} is {self.program.version}"
                )
        return placements

    def _only_path(self) -> str:
        if self.machine.usual_irq == "mainloop":
            return (
                f"QEMU's {self.machine.name} has virtio-mmio, whose interrupts always pass "
                "through the main loop; leave --irq out, or take --machine q35 for irqfd"
            )
        return (
            f"on QEMU's {self.machine.name} the guest uses MSI-X, whose interrupts are irqfds; "
            "leave --irq out, or take --machine microvm for the main loop"
        )

    def drive(self, image: Drive) -> Drive:
        """The image with QEMU's backend.  Raises `PlanError` for Linux AIO without O_DIRECT."""
        if self.aio == "native" and not image.direct:
            raise PlanError("--qemu-aio native needs O_DIRECT, which the image does not have")
        return replace(image, aio=self.aio or ("native" if image.direct else "threads"))

    def command(self, job: Job, files: TrialFiles) -> list[str]:
        """`bqlscope qemu … -- qemu-system-x86_64 …`."""
        work = job.workload
        command = [*self.recorder, "--quiet", "--window-recording"]
        command += ["--recording", str(files.recording), "--json", str(files.output)]
        command += ["--", self.program.path, *self.machine.options, *_COMMON]
        command += ["-smp", str(work.smp), "-m", work.memory]
        command += ["-kernel", str(self.guest), "-append", job.guest_parameters]
        for name in job.placement.iothreads:
            command += ["-object", f"iothread,id={name},poll-max-ns={work.poll_max_ns}"]
        command += ["-drive", _drive_option(job.drive)]
        if job.placement.kind == "vcpu":
            for pair in self.machine.no_ioeventfd:
                command += pair
        command += ["-device", self._device(job.placement)]
        return [*command, *self.arguments]

    def _device(self, placement: Placement) -> str:
        """The `-device` value: JSON, the only syntax that has lists, and so the only one."""
        device: dict[str, Any] = {
            "driver": self.machine.device,
            "drive": "d0",
            "num-queues": placement.queues,
            "queue-size": QUEUE_SIZE,
        }
        if placement.kind == "iothread":
            device["iothread"] = placement.iothreads[0]
        elif placement.kind == "iothread-vq-mapping":
            device["iothread-vq-mapping"] = [{"iothread": name} for name in placement.iothreads]
        elif placement.kind == "vcpu" and not self.machine.no_ioeventfd:
            device["ioeventfd"] = False
        return json.dumps(device)

    def collect(self, files: TrialFiles, status: int) -> Mapping[str, Any]:
        """The recorder's JSON file and the guest's line in the log."""
        if not files.output.exists():
            raise TrialError(f"the recorder ended with {ending(status)}: {files.last_line()}")
        report = load_document(files.output)
        guest = guest_line(files.log)
        code = _guest_status(section(report, "exit"))
        if guest is None or code is None:
            raise TrialError(f"no result, QEMU ended with {ending(status)}: {files.last_line()}")
        return {
            "guest": guest,
            "guest_status": code,
            "recording": report.get("recording"),
            "window": report.get("window"),
            "accel": {"name": "kvm", "reason": "-accel kvm"},
            "host": {},
        }


def _drive_option(drive: Drive) -> str:
    readonly = ",readonly=on" if drive.readonly else ""
    return (
        f"if=none,id=d0,file={drive.escaped_path},format=raw,cache={drive.cache},"
        f"aio={drive.aio}{readonly}"
    )


def _guest_status(end: Mapping[str, Any]) -> int | None:
    """The code the guest wrote to the debug-exit port, or None: QEMU makes it `code << 1 | 1`."""
    status = end.get("status")
    if end.get("signal") is not None or isinstance(status, bool) or not isinstance(status, int):
        return None
    return status >> 1 if status & 1 else None


def guest_line(log: Path) -> Mapping[str, Any] | None:
    """The guest's JSON line out of a child's output, None if there is no whole one."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(RESULT_MARK):
            try:
                content = json.loads(line)
            except ValueError:
                return None
            return content if isinstance(content, dict) else None
    return None
