# SPDX-License-Identifier: GPL-2.0-or-later
"""The same guest workloads on whole machines in two placements: one image, one set of counts.

Placements are drawn with their block backend, interrupt path and lock policy. A program is a list
of guest runs on one image, drawn whole. A run writes a pattern, flushes and reads everything back
while another vCPU reads a device register; it may follow a run of mixed requests whose number is
left to chance and whose traces it overwrites. Where the disk fails every n-th request, one queue
makes it known which ones those are; with two queues only how many.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.check import check_snapshot
from profiler.reader import Recording
from tests.support.options import parse_drives, parse_object
from vmm.config import MachineConfig
from vmm.guest.pattern import pattern
from vmm.machine import Machine

IMAGE_SIZE = 1 << 20
OLD = b"\xa5"
MIXED_SEEDS = 1 << 32  # mixed requests write patterns that no verifying run writes
DATA_WRONG = 3  # the guest's exit code for I/O errors and wrong bytes
PLACEMENTS = {
    "vcpu": "ioeventfd=off",
    "mainloop": "ioeventfd=on",
    "iothread": "iothread=io0",
    "iothread-vq-mapping": "iothread-vq-mapping=io0+io1",
}
BACKENDS = ("aio=io_uring", "aio=threads", "aio=io_uring,cache=none", "aio=threads,cache=none")


@dataclass(frozen=True)
class Run:
    """One guest run; ``fails``: the disk refuses every n-th request, 0 for none."""

    seed: int
    block: int  # bytes
    blocks: int
    depth: int
    queues: int
    random: int
    indirect: int
    irq: int
    mixed_first: bool
    fails: int
    delay_us: int

    def guest(self, rw: str) -> str:
        seed = self.seed if rw == "verify" else self.seed + MIXED_SEEDS
        return (
            f"rw={rw} seed={seed} bs={self.block} blocks={self.blocks} iodepth={self.depth}"
            f" queues={self.queues} random={self.random} indirect={self.indirect} irq={self.irq}"
            " smp=2 ms=1 warmup_ms=0"
        )

    @property
    def requests(self) -> int:
        return 2 * self.blocks + 1  # each block is written and read, and a flush in between

    def failures(self, requests: int) -> int:
        return requests // self.fails if self.fails else 0


@dataclass(frozen=True)
class Setup:
    """Where the disk is processed, and by what."""

    placement: str
    backend: str
    irq: str
    policy: str

    def config(self, image: Path, run: Run, rw: str, recording: Path) -> MachineConfig:
        drive = f"file={image},{PLACEMENTS[self.placement]},{self.backend},irq={self.irq}"
        if rw == "verify":
            drive += f",error-every={run.fails},delay-us={run.delay_us}"
        return MachineConfig(
            kernel=Path("micro"),
            micro_guest=True,
            command_line=run.guest(rw),
            cpus=2,
            memory_bytes=64 << 20,
            accel="qtest",
            objects=(parse_object("iothread,id=io0"), parse_object("iothread,id=io1")),
            drives=parse_drives((f"{drive},num-queues=2",)),
            serial="null",
            bql_policy=self.policy,
            recording=recording,
            keep_recording=True,
        )


@st.composite
def runs(draw: st.DrawFn) -> Run:
    block = draw(st.sampled_from([512, 1024, 4096, 12288, 65536]))
    return Run(
        seed=draw(st.integers(0, 1 << 20)),
        block=block,
        blocks=draw(st.integers(1, min(IMAGE_SIZE // block, 67))),
        depth=draw(st.integers(2, 64)),
        queues=draw(st.integers(1, 2)),
        random=draw(st.integers(0, 1)),
        indirect=draw(st.integers(0, 1)),
        irq=draw(st.integers(0, 1)),
        mixed_first=draw(st.sampled_from([False, False, True])),
        fails=draw(st.sampled_from([0, 0, 1, 2, 3, 7])),
        delay_us=draw(st.sampled_from([0, 0, 40])),
    )


# A pattern differs from that of any other seed in every word, so a stale block always shows.
programs = st.lists(runs(), min_size=1, max_size=2, unique_by=lambda run: run.seed)
setups = st.builds(
    Setup,
    placement=st.sampled_from(list(PLACEMENTS)),
    backend=st.sampled_from(BACKENDS),
    irq=st.sampled_from(["irqfd", "mainloop"]),
    policy=st.sampled_from(["pthread", "ticket", "mcs"]),
)
pairs = st.lists(setups, min_size=2, max_size=2, unique_by=lambda setup: setup.placement)


def boot(config: MachineConfig) -> tuple[int, dict[str, Any]]:
    """Run a machine to its end; gives the guest's exit code and its result."""
    with Machine(config) as machine:
        request = machine.run()
        line = machine.serial.result_line
    assert line is not None, request
    assert config.recording is not None
    with Recording.open(str(config.recording)) as opened:
        assert check_snapshot(opened.snapshot()).ok
    config.recording.unlink()
    return request.code, json.loads(line)


def kept_blocks(run: Run, before: bytes, after: bytes) -> list[int]:
    """The blocks that do not hold the run's pattern; they must be as they were."""
    wanted = pattern(0, run.blocks * run.block, run.seed)
    spans = [slice(at, at + run.block) for at in range(0, len(wanted), run.block)]
    kept = [number for number, span in enumerate(spans) if after[span] != wanted[span]]
    assert all(after[spans[number]] == before[spans[number]] for number in kept)
    assert after[len(wanted) :] == before[len(wanted) :]
    return kept


def check_run(run: Run, before: bytes, after: bytes, code: int, result: dict[str, Any]) -> None:
    """Whether counts and image are what the run must give on any machine."""
    blk, kept = result["blk"], kept_blocks(run, before, after)
    counts = (blk["ops"], blk["reads"], blk["writes"], blk["errors"])
    errors = run.failures(run.requests)
    assert counts == (run.requests, run.blocks, run.blocks, errors)
    assert len(kept) == run.failures(run.blocks)
    assert code == (DATA_WRONG if errors else 0)
    wrong = result["verify"]["wrong_blocks"]
    if run.queues == 1 and run.fails:
        assert kept == list(range(run.fails - 1, run.blocks, run.fails))
        # Block b is read from the end: it is request 2 * blocks + 1 - b.
        assert wrong == sum(1 for b in kept if (run.requests - b) % run.fails)
    else:
        assert wrong <= len(kept)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def recording() -> Iterator[Path]:
    # In memory where possible: hundreds of recordings are not worth a disk's time.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name) / "vm.bql"


def play(setup: Setup, program: list[Run], image: Path, recording: Path) -> bytes:
    """Run the program on one setup, check every step; gives the final image."""
    before = OLD * IMAGE_SIZE
    image.write_bytes(before)
    for run in program:
        if run.mixed_first:
            code, result = boot(setup.config(image, run, "mixed", recording))
            blk = result["blk"]
            assert (code, blk["errors"]) == (0, 0)
            assert blk["ops"] == blk["reads"] + blk["writes"]
            mixed = image.read_bytes()
            reach = run.blocks * run.block
            assert mixed[reach:] == before[reach:]
            before = mixed
        code, result = boot(setup.config(image, run, "verify", recording))
        after = image.read_bytes()
        check_run(run, before, after, code, result)
        before = after
    return before


@given(program=programs, machines=pairs)
def test_two_placements_leave_the_same_image_and_counts(
    program: list[Run], machines: list[Setup], images: Path, recording: Path
) -> None:
    image = images / "disk.img"
    left = {play(setup, program, image, recording) for setup in machines}
    chance = any(run.fails and (run.queues > 1 or run.mixed_first) for run in program)
    assert chance or len(left) == 1
