# SPDX-License-Identifier: GPL-2.0-or-later
"""Command sequences against a plain model of the vCPU state machine, while other threads access.

A program is drawn whole: what the commanding thread does, and how often each accessing thread
accesses which vCPU. Commands have one issuer, so the model knows each state exactly but for one
uncertainty: between a PAUSE or FINISH and the moment the vCPU obeys.
"""

import errno
import threading
from dataclasses import dataclass
from enum import Enum

from hypothesis import given
from hypothesis import strategies as st

from tests.support.rig import PATIENCE_SECONDS, Rig
from vmm._native import lib
from vmm.cpu import CpuCommand, CpuState, X86Cpu, pause_all, resume_all
from vmm.errors import VmmError

CPUS = 3
REGISTER, ANSWER, NOTHING = 0x1000, 0x600D, 0xFFFF_FFFF


class Step(Enum):
    """What the commanding thread can do."""

    RUN = "run"
    PAUSE = "pause"
    FINISH = "finish"
    PAUSE_ALL = "pause all"
    RESUME_ALL = "resume all"
    WORK = "run on cpu"
    KICK = "kick"


@dataclass
class Model:
    """One vCPU: where it surely is, and what it was asked and may or may not have done."""

    state: CpuState = CpuState.CREATED
    pausing: bool = False
    finishing: bool = False

    def possible(self) -> set[CpuState]:
        states = {self.state}
        if self.pausing:
            states.add(CpuState.PAUSED)
        if self.finishing:  # on its way it obeys the stop that comes with FINISH
            states |= {CpuState.FINISHED}
            if self.state is CpuState.RUNNING:
                states.add(CpuState.PAUSED)
        return states

    def legal(self, command: CpuCommand) -> bool:
        if command is CpuCommand.FINISH:
            return True
        if self.finishing:
            return False
        return command is CpuCommand.RUN or self.state is not CpuState.CREATED

    def command(self, command: CpuCommand) -> None:
        if command is CpuCommand.FINISH:
            self.finishing = True
        elif command is CpuCommand.RUN:
            self.state, self.pausing = CpuState.RUNNING, False
        elif self.state is CpuState.RUNNING:
            self.pausing = True

    def paused(self) -> None:
        """After pause_all: it stands still, whatever it was."""
        if self.state is CpuState.RUNNING and not self.finishing:
            self.state, self.pausing = CpuState.PAUSED, False


COMMANDS = {
    Step.RUN: CpuCommand.RUN,
    Step.PAUSE: CpuCommand.PAUSE,
    Step.FINISH: CpuCommand.FINISH,
}
STEPS = st.lists(
    st.tuples(st.sampled_from([*Step, Step.RUN, Step.RUN, Step.PAUSE]), st.integers(0, CPUS - 1)),
    max_size=30,
)
ACCESSES = st.lists(st.lists(st.integers(0, CPUS - 1), max_size=12), min_size=1, max_size=3)


def do_command(cpu: X86Cpu, model: Model, command: CpuCommand) -> None:
    legal = model.legal(command)
    try:
        cpu.command(command)
    except VmmError:
        assert not legal
    else:
        assert legal
        model.command(command)


def do_work(rig: Rig, cpu: X86Cpu, model: Model) -> None:
    ran: list[bool] = []
    result = rig.run_on(cpu, lambda: ran.append(rig.bql.locked()))
    assert (result, ran) == (0, [True]) or (model.finishing and (result, ran) == (-errno.ESRCH, []))


def do_step(rig: Rig, models: list[Model], step: Step, index: int) -> None:
    cpu, model = rig.cpus[index], models[index]
    if step is Step.WORK:
        do_work(rig, cpu, model)
        return
    with rig.bql.held():
        if step in COMMANDS:
            do_command(cpu, model, COMMANDS[step])
        elif step is Step.KICK:
            cpu.kick()
        elif step is Step.PAUSE_ALL:
            pause_all(rig.cpus)
            for each in models:
                each.paused()
        else:
            resume_all(rig.cpus)
            for each in models:
                if each.legal(CpuCommand.RUN):
                    each.command(CpuCommand.RUN)
        for other, expected in zip(rig.cpus, models, strict=True):
            assert other.state in expected.possible()
        if step is Step.PAUSE_ALL:
            assert all(other.native.stopped for other in rig.cpus)


def access_all(rig: Rig, targets: list[int], values: list[int]) -> None:
    values.extend(rig.access(rig.cpus[index], REGISTER) for index in targets)


@given(STEPS, ACCESSES)
def test_any_sequence_of_commands_follows_the_model_and_always_ends(
    steps: list[tuple[Step, int]], accesses: list[list[int]]
) -> None:
    with Rig() as rig:
        probe = rig.probe(REGISTER, 4, answer=ANSWER)
        models = [Model() for _ in range(CPUS)]
        for _ in range(CPUS):
            rig.add_cpu()
        values: list[list[int]] = [[] for _ in accesses]
        threads = [
            threading.Thread(target=access_all, args=(rig, targets, got))
            for targets, got in zip(accesses, values, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            for step, index in steps:
                do_step(rig, models, step, index)
        finally:
            with rig.bql.held():
                for cpu in rig.cpus:
                    cpu.command(CpuCommand.FINISH)
                    lib.vcpu_join(cpu.native)
            for thread in threads:
                thread.join(PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        assert {cpu.state for cpu in rig.cpus} == {CpuState.FINISHED}
        results = [value for got in values for value in got]
        assert len(results) == sum(map(len, accesses))
        assert set(results) <= {ANSWER, NOTHING}
        assert results.count(ANSWER) == len(probe.calls)
        assert sum(cpu.exits()["mmio"] for cpu in rig.cpus) == len(probe.calls)
