# SPDX-License-Identifier: GPL-2.0-or-later
"""What a comparison runs: placements, workload, drive, and the order of the trials."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PLACEMENT_KINDS = ("mainloop", "iothread", "vcpu", "iothread-vq-mapping")
IRQ_PATHS = ("irqfd", "mainloop", "none")
RW_MODES = ("read", "write", "mixed", "verify")
VQ_MAPPING_IOTHREADS = 2
MAX_VCPUS = 16
MAX_IODEPTH = 256
MAX_BLOCK_SIZE = 1 << 20
MAX_SECONDS = 86_400
MAX_POLL_NS = 1_000_000_000


class PlanError(ValueError):
    """The plan makes no sense; the message is one line and names the option."""


@dataclass(frozen=True)
class Placement:
    """Which thread processes the queue, and how its interrupt reaches the guest.

    `irq` "none": the guest polls the used ring and asks for no interrupts.
    """

    kind: str
    irq: str = "irqfd"

    @property
    def name(self) -> str:
        """Name in tables, JSON and `--fail-if`: the kind, plus the irq path if it is mainloop."""
        return f"{self.kind}/irq=mainloop" if self.irq == "mainloop" else self.kind

    @property
    def iothreads(self) -> tuple[str, ...]:
        """Ids of the iothread objects the placement needs."""
        count = {"iothread": 1, "iothread-vq-mapping": VQ_MAPPING_IOTHREADS}.get(self.kind, 0)
        return tuple(f"io{index}" for index in range(count))

    @property
    def queues(self) -> int:
        """Number of virtqueues: one for each iothread of a mapping, else a single one."""
        return max(1, len(self.iothreads))

    def drive_properties(self) -> str:
        """The part of the `--drive` option that places the queue."""
        parts = ["irq=irqfd" if self.irq == "none" else f"irq={self.irq}"]
        if self.kind == "vcpu":
            parts.append("ioeventfd=off")
        elif self.kind == "iothread":
            parts.append(f"iothread={self.iothreads[0]}")
        elif self.kind == "iothread-vq-mapping":
            parts += [
                f"iothread-vq-mapping={'+'.join(self.iothreads)}",
                f"num-queues={self.queues}",
            ]
        return ",".join(parts)


@dataclass(frozen=True)
class Workload:
    """What the guest does, and the machine it does it on.  Times in seconds, sizes in bytes."""

    smp: int = 2
    iodepth: int = 32
    block_size: int = 4096
    rw: str = "read"
    duration: float = 1.0
    warmup: float = 0.2
    poll_max_ns: int = 32768
    memory: str = "128M"
    accel: str = "auto"

    def __post_init__(self) -> None:
        checks = (
            (1 <= self.smp <= MAX_VCPUS, f"--smp must be 1 to {MAX_VCPUS}"),
            (1 <= self.iodepth <= MAX_IODEPTH, f"--iodepth must be 1 to {MAX_IODEPTH}"),
            (self.rw in RW_MODES, f"--rw must be one of {', '.join(RW_MODES)}"),
            (
                512 <= self.block_size <= MAX_BLOCK_SIZE and self.block_size % 512 == 0,
                "--block-size must be a multiple of 512 bytes, at most 1M",
            ),
            (0.001 <= self.duration <= MAX_SECONDS, "--duration must be 0.001 to 86400 seconds"),
            (0 <= self.warmup <= MAX_SECONDS, "--warmup must be 0 to 86400 seconds"),
            (
                re.fullmatch(r"[1-9][0-9]{0,11}[kKmMgGtT]?", self.memory, re.ASCII) is not None,
                "--memory must be a size such as 128M or 2G",
            ),
            (0 <= self.poll_max_ns <= MAX_POLL_NS, "--poll-max-ns must be 0 to 1000000000"),
        )
        for holds, message in checks:
            if not holds:
                raise PlanError(message)

    def guest_parameters(self, placement: Placement, seed: int) -> str:
        """The kernel command line of the micro-guest.

        `irq=1` makes the guest ask for interrupts and acknowledge them, two more exits a batch;
        `irq=0` suppresses them and leaves the queue's placement as the only difference.
        `marks=1` has it announce its window.
        """
        pairs = {
            "smp": self.smp,
            "rw": self.rw,
            "iodepth": self.iodepth,
            "bs": self.block_size,
            "ms": round(self.duration * 1000),
            "warmup_ms": round(self.warmup * 1000),
            "queues": placement.queues,
            "random": 1,
            "irq": int(placement.irq != "none"),
            "seed": seed,
            "marks": 1,
        }
        return " ".join(f"{key}={value}" for key, value in pairs.items())


@dataclass(frozen=True)
class Drive:
    """The disk image of all trials: `cache` and `aio` as `--drive` wants them."""

    path: Path
    cache: str
    aio: str = "io_uring"
    readonly: bool = False
    temporary: bool = False

    def option(self, placement: Placement) -> str:
        """The whole `--drive` value; a comma in the path is doubled, as QEMU's syntax has it."""
        path = str(self.path).replace(",", ",,")
        readonly = ",readonly=on" if self.readonly else ""
        return (
            f"file={path},cache={self.cache},aio={self.aio}{readonly},"
            f"{placement.drive_properties()}"
        )


@dataclass(frozen=True)
class Slot:
    """One trial to run: `trial` counts from 0 within its placement, `index` over the whole run."""

    index: int
    trial: int
    placement: Placement

    @property
    def seed(self) -> int:
        """Guest seed: equal for all placements of a round, so that they do the same requests."""
        return self.trial + 1


@dataclass(frozen=True)
class Plan:
    """Everything a comparison does, decided before the first child starts."""

    placements: tuple[Placement, ...]
    workload: Workload
    drive: Drive
    trials: int = 5

    def __post_init__(self) -> None:
        if len(self.placements) < 2:
            raise PlanError("--placements needs at least two different placements to compare")
        if len(set(self.placements)) != len(self.placements):
            raise PlanError("--placements names the same placement twice")
        if self.trials < 1:
            raise PlanError("--trials must be at least 1")
        for placement in self.placements:
            if placement.queues > self.workload.iodepth:
                raise PlanError(
                    f"--iodepth must be at least {placement.queues} for {placement.name}"
                )

    @property
    def baseline(self) -> Placement:
        """The placement all others are compared with: the first one named."""
        return self.placements[0]

    @property
    def candidates(self) -> tuple[Placement, ...]:
        """All placements but the baseline."""
        return self.placements[1:]

    def __len__(self) -> int:
        return self.trials * len(self.placements)

    def slots(self) -> Iterator[Slot]:
        """Interleaved trials, each round starting with another placement.

        Speed drifts over a run (neighbours, thermal limits); interleaving spreads the drift over
        all placements, and rotating the start keeps any of them from always going first.
        """
        count = len(self.placements)
        for trial in range(self.trials):
            for position in range(count):
                placement = self.placements[(trial + position) % count]
                yield Slot(trial * count + position, trial, placement)

    def arguments(self, slot: Slot, recording: Path, output: Path) -> list[str]:
        """Arguments of the child VMM of one trial, after `run`."""
        work = self.workload
        arguments = ["--kernel", "micro", "--accel", work.accel]
        arguments += ["--smp", str(work.smp), "--memory", work.memory]
        for name in slot.placement.iothreads:
            arguments += ["--object", f"iothread,id={name},poll-max-ns={work.poll_max_ns}"]
        arguments += ["--drive", self.drive.option(slot.placement)]
        arguments += ["--append", work.guest_parameters(slot.placement, slot.seed)]
        arguments += ["--recording", str(recording), "--keep-recording", "--window-recording"]
        return [*arguments, "--json", str(output)]


def parse_placements(kinds: Sequence[str], irqs: Sequence[str]) -> tuple[Placement, ...]:
    """Placements from the two option lists, in the order named.

    Iothread placements are crossed with every irq path; the others complete requests in the main
    loop anyway and take the first path only.  Raises `PlanError` for an unknown name.
    """
    for value, known, option in (
        *((kind, PLACEMENT_KINDS, "--placements") for kind in kinds),
        *((irq, IRQ_PATHS, "--irq") for irq in irqs),
    ):
        if value not in known:
            raise PlanError(f"{option}: unknown '{value}', choose from {', '.join(known)}")
    if "none" in irqs and len(irqs) > 1:
        raise PlanError("--irq none stands alone: it asks for no interrupts at all")
    if not kinds or not irqs:
        raise PlanError("--placements and --irq need at least one name each")
    return tuple(
        Placement(kind, irq)
        for kind in kinds
        for irq in (irqs if kind.startswith("iothread") else irqs[:1])
    )


def parse_size(text: str) -> int:
    """Bytes from `512`, `4k`, `1M`, `1G` (powers of 1024).  Raises `PlanError`."""
    factors = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    number, factor = text.strip(), 1
    if number[-1:].lower() in factors:
        number, factor = number[:-1], factors[number[-1].lower()]
    if not (number.isascii() and number.isdigit()):
        raise PlanError(f"'{text}' is not a size; write for example 512, 4k or 1M")
    return int(number) * factor
