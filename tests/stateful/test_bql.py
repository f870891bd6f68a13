# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole programs of lock operations, drawn first, then run on real threads.

Checked afterwards: mutual exclusion (a counter stepped non-atomically), a linear history of that
counter, no lost wake-up (every program ends), and all conservation laws of the recording.
"""

import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.check import check_snapshot
from profiler.model import Snapshot
from profiler.reader import Recording
from vmm.bql import POLICIES, Bql, Condition, Recorder

JOIN_SECONDS = 60

# One letter an operation. A "give" pays for a "take": programs are completed so that they balance.
OPS = st.sampled_from(["lock", "trylock", "long", "give", "take", "broadcast"])
PROGRAMS = st.lists(st.lists(OPS, max_size=12), min_size=1, max_size=4)


@dataclass
class World:
    """What the threads share; all but `failures` under the lock."""

    bql: Bql
    condition: Condition
    counter: int = 0
    tokens: int = 0
    history: list[tuple[int, int]] = field(default_factory=list)
    acquisitions: int = 0
    failures: list[BaseException] = field(default_factory=list)

    def step(self, times: int = 1) -> None:
        """Increment in two halves, so that a second thread inside would be noticed."""
        self.bql.assert_held()
        for _ in range(times):
            before = self.counter
            self.history.append((before, before + 1))
            self.counter = before + 1


def perform(world: World, op: str) -> None:
    """Run one operation."""
    if op == "trylock":
        if world.bql.trylock():
            world.step()
            world.acquisitions += 1
            world.bql.unlock()
        return
    with world.bql.held():
        world.acquisitions += 1
        world.step(50 if op == "long" else 1)
        if op == "give":
            world.tokens += 1
            world.condition.notify()
        elif op == "broadcast":
            world.condition.notify_all()
        elif op == "take":
            while world.tokens == 0:
                world.condition.wait()
                world.acquisitions += 1
                world.step()
            world.tokens -= 1


def run_thread(world: World, program: list[str], start: threading.Barrier) -> None:
    """Body of one thread; failures are reported, not lost with the thread."""
    try:
        start.wait(JOIN_SECONDS)
        for op in program:
            perform(world, op)
    except BaseException as error:
        world.failures.append(error)


def run_programs(policy: str, programs: list[list[str]]) -> tuple[World, Snapshot]:
    """Run one program a thread, plus one that gives as many tokens as the others lack."""
    taken = sum(program.count("take") for program in programs)
    given_ = sum(program.count("give") for program in programs)
    # Gives that come after a take in one program cannot pay for it: pay for every take.
    payer = ["give"] * max(taken, taken - given_)
    with tempfile.TemporaryDirectory() as directory:
        recorder = Recorder(Path(directory) / "stateful.bql")
        with Bql(policy, recorder) as bql:
            world = World(bql, bql.condition())
            start = threading.Barrier(len(programs) + 1)
            threads = [
                threading.Thread(target=run_thread, args=(world, program, start), daemon=True)
                for program in [*programs, payer]
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(JOIN_SECONDS)
            assert not any(thread.is_alive() for thread in threads), "a wake-up was lost"
        with Recording.open(Path(recorder.path)) as recording:
            snapshot = recording.snapshot()
        recorder.close()
    return world, snapshot


@pytest.mark.parametrize("policy", POLICIES)
@given(programs=PROGRAMS)
def test_every_program_excludes_ends_and_adds_up(policy: str, programs: list[list[str]]) -> None:
    world, snapshot = run_programs(policy, programs)
    assert world.failures == []
    assert world.history == [(n, n + 1) for n in range(len(world.history))]
    assert world.counter == len(world.history)
    assert sum(row.total for row in snapshot.rows) == world.acquisitions
    report = check_snapshot(snapshot)
    assert report.ok, [check for check in report.checks if check.verdict.value == "violated"]
