# SPDX-License-Identifier: GPL-2.0-or-later
"""What `compare` asks of a virtual machine monitor.

A `Vmm` turns a `Job` into the command line of a child, and what the child left behind into the
document that `read_trial` takes. It runs nothing itself: the `Runner` does, the same way for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from profiler.compare.placement import Placement
from profiler.compare.workload import Drive, Workload


@dataclass(frozen=True)
class TrialFiles:
    """Paths of one attempt at a trial."""

    directory: Path

    @property
    def recording(self) -> Path:
        """The lock recording; its window copies add `.begin` and `.end`."""
        return self.directory / "recording.bql"

    @property
    def output(self) -> Path:
        """The child's JSON result."""
        return self.directory / "result.json"

    @property
    def log(self) -> Path:
        """The child's standard output and error."""
        return self.directory / "child.log"

    def last_line(self) -> str:
        """Last line with text of the child's output, at most 300 characters of it."""
        with self.log.open("rb") as stream:
            stream.seek(max(0, self.log.stat().st_size - 4096))
            text = stream.read().decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it printed nothing"


@dataclass(frozen=True)
class Job:
    """What the child of one trial does; `seed` is the guest's."""

    placement: Placement
    workload: Workload
    drive: Drive
    seed: int

    @property
    def guest_parameters(self) -> str:
        """The kernel command line of the micro-guest."""
        return self.workload.guest_parameters(self.placement, self.seed)


@dataclass(frozen=True)
class Identity:
    """Which VMM it is, for headers and JSON.

    `key` is its name in options, JSON and file names, `title` the one for people. What a VMM has no
    word for is None: `machine` is its machine type, `program` the path of its binary, `package` a
    distribution's name for the build. `arguments` are the user's additions to its command line.
    """

    key: str
    title: str
    version: str
    transport: str
    machine: str | None = None
    program: str | None = None
    package: str | None = None
    arguments: tuple[str, ...] = ()


class Vmm(Protocol):
    """A virtual machine monitor that can run the micro-guest and record its big lock."""

    @property
    def identity(self) -> Identity:
        """Which one it is."""

    def placements(self, kinds: Sequence[str], irqs: Sequence[str]) -> tuple[Placement, ...]:
        """The placements to run; no `irqs` means the path that is usual for this VMM.

        Raises `PlanError` for what this VMM cannot do; the message says why.
        """

    def drive(self, image: Drive) -> Drive:
        """The image with the backend this VMM is to use.  Raises `PlanError`."""

    def command(self, job: Job, files: TrialFiles) -> list[str]:
        """The command line of a child that runs the job and leaves its files behind."""

    def collect(self, files: TrialFiles, status: int) -> Mapping[str, Any]:
        """The trial's document, once the child has ended with `status` (negative: by a signal).

        Its keys: `guest` (the guest's JSON line), `guest_status`, `recording`, `window`, `accel`
        and `host`.  Raises `TrialError`.
        """


def ending(status: int) -> str:
    """How a child ended, in words: negative numbers are signals."""
    return f"exit status {status}" if status >= 0 else f"signal {-status}"
