# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest does on which disk: the same for every placement and every VMM."""

import re
from dataclasses import dataclass
from pathlib import Path

from profiler.compare.placement import Placement, PlanError

RW_MODES = ("read", "write", "mixed", "verify")
MAX_VCPUS = 16
MAX_IODEPTH = 256
MAX_BLOCK_SIZE = 1 << 20
MAX_SECONDS = 86_400
MAX_POLL_NS = 1_000_000_000
MAX_VNC_CLIENTS = 32
VNC_ENCODINGS = {"raw": 0, "hextile": 5, "zlib": 6, "tight": 7, "zrle": 16}
"""Numbers of the RFB encodings a viewer may ask for."""
DRAWINGS = ("text", "scroll", "fill", "pattern", "noise")
"""What the guest can draw; see vmm/guest/README.md."""


@dataclass(frozen=True)
class Workload:
    """What the guest does, and the machine it does it on.  Times in seconds, sizes in bytes.

    With `vnc_clients` a further vCPU draws, and so many viewers watch its screen.
    """

    smp: int = 2
    iodepth: int = 32
    block_size: int = 4096
    rw: str = "read"
    duration: float = 1.0
    warmup: float = 0.2
    poll_max_ns: int = 32768
    memory: str = "128M"
    accel: str = "auto"
    vnc_clients: int = 0
    vnc_encoding: str = "tight"
    vnc_draw: str = "text"

    def __post_init__(self) -> None:
        checks = (
            (1 <= self.smp <= MAX_VCPUS, f"--smp must be 1 to {MAX_VCPUS}"),
            (
                self.vcpus <= MAX_VCPUS,
                f"--smp must be below {MAX_VCPUS} with viewers: a further vCPU draws",
            ),
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
            (
                0 <= self.vnc_clients <= MAX_VNC_CLIENTS,
                f"--vnc-clients must be 0 to {MAX_VNC_CLIENTS}",
            ),
            (
                self.vnc_encoding in VNC_ENCODINGS,
                f"--vnc-encoding must be one of {', '.join(VNC_ENCODINGS)}",
            ),
            (self.vnc_draw in DRAWINGS, f"--vnc-draw must be one of {', '.join(DRAWINGS)}"),
        )
        for holds, message in checks:
            if not holds:
                raise PlanError(message)

    @property
    def vcpus(self) -> int:
        """Those that do I/O and read registers, and the one that draws for viewers."""
        return self.smp + bool(self.vnc_clients)

    def guest_parameters(self, placement: Placement, seed: int) -> str:
        """The kernel command line of the micro-guest.

        `irq=1` makes the guest ask for interrupts and acknowledge them, two more exits a batch;
        `irq=0` suppresses them and leaves the queue's placement as the only difference.
        `marks=1` has it announce its window.
        """
        pairs = {
            "smp": self.vcpus,
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
        if self.vnc_clients:
            pairs |= {"draw": 1, "draw_cpu": self.smp, "draw_kind": self.vnc_draw}
        return " ".join(f"{key}={value}" for key, value in pairs.items())


@dataclass(frozen=True)
class Drive:
    """The disk image of all trials; `cache` and `aio` are QEMU's words for mode and backend."""

    path: Path
    cache: str
    aio: str = "io_uring"
    readonly: bool = False
    temporary: bool = False

    @property
    def direct(self) -> bool:
        """Whether the image is opened with O_DIRECT."""
        return self.cache == "none"

    @property
    def escaped_path(self) -> str:
        """The path for an option of `key=value` pairs: QEMU's syntax doubles commas."""
        return str(self.path).replace(",", ",,")


def parse_size(text: str) -> int:
    """Bytes from `512`, `4k`, `1M`, `1G` (powers of 1024).  Raises `PlanError`."""
    factors = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    number, factor = text.strip(), 1
    if number[-1:].lower() in factors:
        number, factor = number[:-1], factors[number[-1].lower()]
    if not (number.isascii() and number.isdigit()):
        raise PlanError(f"'{text}' is not a size; write for example 512, 4k or 1M")
    return int(number) * factor
