# SPDX-License-Identifier: GPL-2.0-or-later
"""What a comparison runs: for each VMM its placements, and the order of all trials."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from profiler.compare.placement import Placement, PlanError
from profiler.compare.vmm import Job, Vmm
from profiler.compare.workload import Drive, Workload


@dataclass(frozen=True)
class Slot:
    """One trial to run: `trial` counts from 0 within its placement, `index` over the whole run.

    `vmm` is the key of the VMM that runs it, `several` whether there are others.
    """

    index: int
    trial: int
    placement: Placement
    vmm: str = "bqlscope"
    several: bool = False

    @property
    def name(self) -> str:
        """The placement, and the VMM where there are several."""
        return f"{self.vmm} {self.placement.name}" if self.several else self.placement.name

    @property
    def seed(self) -> int:
        """Guest seed: equal for all trials of a round, so that they do the same requests."""
        return self.trial + 1


@dataclass(frozen=True)
class Plan:
    """Everything one VMM does in a comparison, decided before the first child starts."""

    vmm: Vmm
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
            if placement.encoder and not self.workload.vnc_clients:
                raise PlanError(f"--placements {placement.name} needs viewers: --vnc-clients 4")

    @property
    def key(self) -> str:
        """The VMM's key."""
        return self.vmm.identity.key

    @property
    def baseline(self) -> Placement:
        """The placement all others are compared with: the first one named."""
        return self.placements[0]

    @property
    def subject(self) -> str:
        """What moves from one placement to the other."""
        return "VNC encoding" if self.baseline.encoder else "virtio-blk"

    @property
    def candidates(self) -> tuple[Placement, ...]:
        """All placements but the baseline."""
        return self.placements[1:]

    def __len__(self) -> int:
        return self.trials * len(self.placements)

    def job(self, slot: Slot) -> Job:
        """What the child of a slot of this VMM does."""
        return Job(slot.placement, self.workload, self.drive, slot.seed)


def rotation(plans: Sequence[Plan]) -> Iterator[Slot]:
    """All trials of all plans, interleaved; each round starts with another placement.

    Speed drifts over a run (neighbours, thermal limits); interleaving spreads the drift over all
    placements of all VMMs, and rotating the start keeps any of them from always going first.
    """
    places = [(plan.key, placement) for plan in plans for placement in plan.placements]
    count, several = len(places), len(plans) > 1
    for trial in range(plans[0].trials):
        for position in range(count):
            vmm, placement = places[(trial + position) % count]
            yield Slot(trial * count + position, trial, placement, vmm, several)
