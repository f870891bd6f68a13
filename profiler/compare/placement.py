# SPDX-License-Identifier: GPL-2.0-or-later
"""What is compared: where a disk's queue is processed and how its interrupt travels, or where the
screen is encoded for VNC."""

from collections.abc import Sequence
from dataclasses import dataclass

DISK_KINDS = ("mainloop", "iothread", "vcpu", "iothread-vq-mapping")
VNC_KINDS = ("vnc-worker", "vnc-mainloop")
PLACEMENT_KINDS = DISK_KINDS + VNC_KINDS
IRQ_PATHS = ("irqfd", "mainloop", "none")
VQ_MAPPING_IOTHREADS = 2


class PlanError(ValueError):
    """The plan makes no sense; the message is one line and names the option."""


@dataclass(frozen=True)
class Placement:
    """Which thread processes the queue, and how its interrupt reaches the guest.

    Of the VNC kinds the disk is on an iothread, and the kind says which thread encodes.

    `irq` "none": the guest polls the used ring and asks for no interrupts. `usual_irq` is the path
    that needs no mention, because the VMM takes it unless told otherwise.
    """

    kind: str
    irq: str = "irqfd"
    usual_irq: str = "irqfd"

    @property
    def name(self) -> str:
        """Name in tables, JSON and `--fail-if`: the kind, plus the irq path if it is unusual."""
        return self.kind if self.irq in (self.usual_irq, "none") else f"{self.kind}/irq={self.irq}"

    @property
    def iothreads(self) -> tuple[str, ...]:
        """Ids of the iothread objects the placement needs."""
        count = {"iothread": 1, "iothread-vq-mapping": VQ_MAPPING_IOTHREADS}
        count |= dict.fromkeys(VNC_KINDS, 1)
        return tuple(f"io{index}" for index in range(count.get(self.kind, 0)))

    @property
    def encoder(self) -> str | None:
        """Of a VNC kind the thread that encodes, `worker` or `mainloop`."""
        return self.kind.removeprefix("vnc-") if self.kind in VNC_KINDS else None

    @property
    def queues(self) -> int:
        """Number of virtqueues: one for each iothread of a mapping, else a single one."""
        return max(1, len(self.iothreads))


def cross_placements(
    kinds: Sequence[str], irqs: Sequence[str], usual_irq: str = "irqfd"
) -> tuple[Placement, ...]:
    """Placements from the two option lists, in the order named.

    Iothread placements are crossed with every irq path; the others complete requests in the main
    loop anyway and take the first path only.  Raises `PlanError` for an unknown name, and for
    disk and VNC kinds together: one thing is compared at a time.
    """
    for value, known, option in (
        *((kind, PLACEMENT_KINDS, "--placements") for kind in kinds),
        *((irq, IRQ_PATHS, "--irq") for irq in irqs),
    ):
        if value not in known:
            raise PlanError(f"{option}: unknown '{value}', choose from {', '.join(known)}")
    if "none" in irqs and len(irqs) > 1:
        raise PlanError("--irq none stands alone: it asks for no interrupts at all")
    if 0 < sum(kind in VNC_KINDS for kind in kinds) < len(kinds):
        raise PlanError(
            "--placements: vnc-worker and vnc-mainloop compare where the screen is encoded; they "
            "do not go with placements of a disk"
        )
    if not kinds or not irqs:
        raise PlanError("--placements and --irq need at least one name each")
    return tuple(
        Placement(kind, irq, usual_irq)
        for kind in kinds
        for irq in (irqs if kind.startswith("iothread") else irqs[:1])
    )
