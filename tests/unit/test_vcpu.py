# SPDX-License-Identifier: GPL-2.0-or-later
import errno
import os
import threading
from collections.abc import Iterator

import pytest

from tests.support.rig import REGISTER, Gate, Later, Rig, thread_names, wait_until
from vmm._native import ffi, lib
from vmm.accel.kvm import KvmAccelerator
from vmm.accel.qtest import QtestAccelerator
from vmm.cpu import CpuCommand, CpuState, X86Cpu, pause_all, resume_all
from vmm.errors import VmmError


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def command(rig: Rig, cpu: X86Cpu, what: CpuCommand) -> None:
    with rig.bql.held():
        cpu.command(what)


def state_of(cpu: X86Cpu) -> CpuState:
    return cpu.state


def pause(rig: Rig, *cpus: X86Cpu) -> None:
    with rig.bql.held():
        pause_all(list(cpus))


def resume(rig: Rig, *cpus: X86Cpu) -> None:
    with rig.bql.held():
        resume_all(list(cpus))


def finish(rig: Rig, cpu: X86Cpu) -> None:
    with rig.bql.held():
        cpu.command(CpuCommand.FINISH)
        lib.vcpu_join(cpu.native)


def bring_to(rig: Rig, cpu: X86Cpu, state: CpuState) -> None:
    if state is CpuState.CREATED:
        return
    resume(rig, cpu)
    if state is CpuState.PAUSED:
        pause(rig, cpu)
    elif state is CpuState.FINISHED:
        finish(rig, cpu)


def test_a_new_vcpu_is_created_and_not_running(rig: Rig) -> None:
    probe = rig.probe(REGISTER, 4, answer=7)
    cpu = rig.add_cpu()
    assert (cpu.state, bool(cpu.native.created)) == (CpuState.CREATED, True)
    waiting = Later(rig, cpu)
    waiting.wait_asleep()
    assert probe.calls == []
    resume(rig, cpu)
    assert waiting.result() == 7


def test_the_thread_bears_qemus_name(rig: Rig) -> None:
    for _ in range(3):
        rig.add_cpu()
    names = [name for name in thread_names() if name.startswith("CPU ")]
    assert names == ["CPU 0/QTEST", "CPU 1/QTEST", "CPU 2/QTEST"]


def test_the_thread_is_gone_after_the_end(rig: Rig) -> None:
    cpu = rig.add_cpu()
    with rig.bql.held():
        cpu.unrealize()
        cpu.unrealize()
    assert not [name for name in thread_names() if name.startswith("CPU ")]


def test_a_vcpu_that_cannot_be_made_says_so_and_leaves_no_thread(rig: Rig) -> None:
    cpu = X86Cpu(0, QtestAccelerator(rig.iospace), rig.vcpu_set)
    cpu.host_cpu = 1023
    with rig.bql.held():
        with pytest.raises(VmmError, match="cannot create CPU 0"):
            cpu.realize()
        pause_all([cpu])  # must not wait for a thread that never was
        cpu.unrealize()
    assert not [name for name in thread_names() if name.startswith("CPU ")]


@pytest.mark.parametrize("state", list(CpuState))
@pytest.mark.parametrize("what", list(CpuCommand))
def test_every_command_is_answered_in_every_state(
    rig: Rig, state: CpuState, what: CpuCommand
) -> None:
    cpu = rig.add_cpu()
    bring_to(rig, cpu, state)
    assert cpu.state is state
    illegal = state is CpuState.FINISHED or (state is CpuState.CREATED and what is CpuCommand.PAUSE)
    if illegal and what is not CpuCommand.FINISH:
        with pytest.raises(VmmError, match=f"CPU 0 is {state.name.lower()}: cannot {what.name}"):
            command(rig, cpu, what)
        assert cpu.state is state
        return
    command(rig, cpu, what)
    if what is CpuCommand.RUN:
        assert cpu.state is CpuState.RUNNING
    elif what is CpuCommand.PAUSE:
        wait_until(lambda: cpu.state is CpuState.PAUSED, "the pause")
    else:
        wait_until(lambda: cpu.state is CpuState.FINISHED, "the end")


def test_an_unknown_command_is_refused(rig: Rig) -> None:
    cpu = rig.add_cpu()
    with rig.bql.held():
        assert lib.vcpu_command(cpu.native, 3) == -errno.EINVAL
        assert lib.vcpu_command(cpu.native, -1) == -errno.EINVAL


@pytest.mark.parametrize("what", [CpuCommand.RUN, CpuCommand.PAUSE])
def test_once_told_to_finish_a_vcpu_takes_no_other_command(rig: Rig, what: CpuCommand) -> None:
    cpu = rig.add_cpu()
    with rig.bql.held():
        cpu.command(CpuCommand.RUN)
        cpu.command(CpuCommand.FINISH)
        with pytest.raises(VmmError):
            cpu.command(what)
        cpu.command(CpuCommand.FINISH)


def test_pause_all_returns_when_all_stand_still_and_resume_all_lets_them_go(rig: Rig) -> None:
    rig.probe(REGISTER, 4, answer=9)
    cpus = [rig.add_cpu() for _ in range(4)]
    resume(rig, *cpus)
    pause(rig, *cpus)
    assert {cpu.state for cpu in cpus} == {CpuState.PAUSED}
    waiting = [Later(rig, cpu) for cpu in cpus]
    for later in waiting:
        later.wait_asleep()
    resume(rig, *cpus)
    assert {cpu.state for cpu in cpus} == {CpuState.RUNNING}
    assert [later.result() for later in waiting] == [9] * 4


def test_pausing_what_is_paused_finished_or_new_returns_at_once(rig: Rig) -> None:
    cpus = [rig.add_cpu() for _ in range(3)]
    bring_to(rig, cpus[0], CpuState.PAUSED)
    bring_to(rig, cpus[1], CpuState.FINISHED)
    pause(rig, *cpus)
    states = [cpu.state for cpu in cpus]
    assert states == [CpuState.PAUSED, CpuState.FINISHED, CpuState.CREATED]


def test_a_pause_waits_for_the_access_that_is_under_way(rig: Rig) -> None:
    gate = Gate()
    assert rig.try_add(REGISTER, 4, gate, lock_free=True) == 0
    cpu = rig.add_cpu()
    resume(rig, cpu)
    access = Later(rig, cpu)
    assert gate.entered.wait(20)
    command(rig, cpu, CpuCommand.PAUSE)
    assert state_of(cpu) is CpuState.RUNNING
    gate.released.set()
    pause(rig, cpu)
    assert cpu.state is CpuState.PAUSED
    assert access.result() == 0x55


@pytest.mark.parametrize("state", [CpuState.CREATED, CpuState.RUNNING, CpuState.PAUSED])
def test_run_on_cpu_runs_in_the_vcpus_thread_under_the_lock_in_every_state(
    rig: Rig, state: CpuState
) -> None:
    cpu = rig.add_cpu()
    bring_to(rig, cpu, state)
    seen = []
    for _ in range(3):
        assert (
            rig.run_on(cpu, lambda: seen.append((threading.get_native_id(), rig.bql.locked()))) == 0
        )
    assert seen == [(lib.vmm_thread_tid(cpu.native.thread), True)] * 3
    assert cpu.state is state


def test_run_on_cpu_called_in_that_thread_runs_inline(rig: Rig) -> None:
    cpu = rig.add_cpu()
    order = []
    inner = ffi.callback("void(Vcpu *, void *)", lambda _cpu, _opaque: order.append("inner"))

    def outer() -> None:
        assert lib.vcpu_run_on(cpu.native, inner, ffi.NULL) == 0
        order.append("outer")

    assert rig.run_on(cpu, outer) == 0
    assert order == ["inner", "outer"]


def test_run_on_cpu_of_an_ended_vcpu_is_no_such_process(rig: Rig) -> None:
    cpu = rig.add_cpu()
    finish(rig, cpu)
    ran: list[int] = []
    assert rig.run_on(cpu, lambda: ran.append(1)) == -errno.ESRCH
    assert ran == []


def test_run_on_cpu_of_a_vcpu_without_a_thread_is_no_such_process(rig: Rig) -> None:
    native = lib.vcpu_new(rig.vcpu_set, lib.ops_vcpu_qtest(), 9, -1)
    work = ffi.callback("void(Vcpu *, void *)", lambda _cpu, _opaque: None)
    with rig.bql.held():
        assert lib.vcpu_run_on(native, work, ffi.NULL) == -errno.ESRCH
    lib.vcpu_free(native)


@pytest.mark.parametrize("state", [CpuState.CREATED, CpuState.PAUSED])
def test_an_access_of_a_stopped_vcpu_that_finishes_reads_all_ones(
    rig: Rig, state: CpuState
) -> None:
    probe = rig.probe(REGISTER, 4, answer=7)
    cpu = rig.add_cpu()
    bring_to(rig, cpu, state)
    waiting = Later(rig, cpu)
    waiting.wait_asleep()
    finish(rig, cpu)
    assert waiting.result() == 0xFFFF_FFFF
    assert probe.calls == []
    assert cpu.state is CpuState.FINISHED


def test_after_a_pause_nothing_happens_any_more_when_a_vcpu_finishes(rig: Rig) -> None:
    """Devices are freed in between. Often the pause meets the vCPU on its way into the access."""
    probe = rig.probe(REGISTER, 4, answer=7)
    for number in range(60):
        cpu = rig.add_cpu()
        resume(rig, cpu)
        access = Later(rig, cpu)
        with rig.bql.held():
            pause_all([cpu])
            seen = len(probe.calls)
            cpu.command(CpuCommand.FINISH)
            lib.vcpu_join(cpu.native)
        assert len(probe.calls) == seen, number
        assert access.result() in {7, 0xFFFF_FFFF}


def test_an_access_of_a_finished_vcpu_returns_at_once(rig: Rig) -> None:
    probe = rig.probe(REGISTER, 4, answer=7)
    cpu = rig.add_cpu()
    bring_to(rig, cpu, CpuState.FINISHED)
    assert rig.access(cpu, REGISTER, 2) == 0xFFFF
    assert rig.access(cpu, REGISTER, write=True, value=1) == 0
    assert probe.calls == []


def test_finishing_in_the_middle_of_an_access_lets_it_complete_first(rig: Rig) -> None:
    gate = Gate()
    assert rig.try_add(REGISTER, 4, gate, lock_free=True) == 0
    cpu = rig.add_cpu()
    resume(rig, cpu)
    access = Later(rig, cpu)
    assert gate.entered.wait(20)
    command(rig, cpu, CpuCommand.FINISH)
    assert state_of(cpu) is CpuState.RUNNING
    gate.released.set()
    assert access.result() == 0x55
    finish(rig, cpu)
    assert cpu.state is CpuState.FINISHED


def test_a_running_vcpu_finishes(rig: Rig) -> None:
    probe = rig.probe(REGISTER, 4, answer=3)
    cpu = rig.add_cpu()
    resume(rig, cpu)
    assert rig.access(cpu, REGISTER) == 3
    finish(rig, cpu)
    assert (cpu.state, len(probe.calls)) == (CpuState.FINISHED, 1)


def test_sixteen_vcpus_run_side_by_side(rig: Rig) -> None:
    probe = rig.probe(REGISTER, 4, answer=1)
    cpus = [rig.add_cpu() for _ in range(16)]
    assert "CPU 15/QTEST" in thread_names()
    resume(rig, *cpus)
    waiting = [Later(rig, cpu) for cpu in cpus]
    assert [later.result() for later in waiting] == [1] * 16
    assert len({call.thread for call in probe.calls}) == 16
    assert [cpu.exits()["mmio"] for cpu in cpus] == [1] * 16
    pause(rig, *cpus)
    assert {cpu.state for cpu in cpus} == {CpuState.PAUSED}


class Hammer(threading.Thread):
    """Writes a register through one vCPU until told to stop; counts."""

    def __init__(self, rig: Rig, cpu: X86Cpu, stop: threading.Event) -> None:
        super().__init__()
        self._rig, self._cpu, self._stop_wish = rig, cpu, stop
        self.count = 0
        self.start()

    def run(self) -> None:
        while not self._stop_wish.is_set():
            self._rig.access(self._cpu, REGISTER, write=True, value=self.count & 0xFFFF)
            self.count += 1


def test_no_access_is_lost_or_repeated_over_two_hundred_pauses(rig: Rig) -> None:
    probe = rig.probe(REGISTER, 4, lock_free=True)
    cpus = [rig.add_cpu() for _ in range(2)]
    stop = threading.Event()
    resume(rig, *cpus)
    hammers = [Hammer(rig, cpu, stop) for cpu in cpus]
    for _ in range(200):
        seen = len(probe.calls)
        wait_until(lambda before=seen: len(probe.calls) > before, "an access")  # type: ignore[misc]
        with rig.bql.held():
            pause_all(cpus)
            seen = len(probe.calls)
            os.sched_yield()
            assert len(probe.calls) == seen  # lock-free: only the pause keeps them out
            resume_all(cpus)
    stop.set()
    for hammer in hammers:
        hammer.join(20)
        assert not hammer.is_alive()
    for cpu, hammer in zip(cpus, hammers, strict=True):
        tid = lib.vmm_thread_tid(cpu.native.thread)
        values = [call.value for call in probe.calls if call.thread == tid]
        assert values == [number & 0xFFFF for number in range(hammer.count)]
        assert cpu.exits()["mmio"] == hammer.count


def test_a_kick_does_no_harm_in_any_state(rig: Rig) -> None:
    probe = rig.probe(REGISTER, 4, answer=5)
    cpu = rig.add_cpu()
    for state in (CpuState.CREATED, CpuState.RUNNING, CpuState.PAUSED):
        bring_to(rig, cpu, state)
        with rig.bql.held():
            cpu.kick()
            cpu.kick()
        assert rig.run_on(cpu, lambda: None) == 0
        assert cpu.state is state
    resume(rig, cpu)
    assert rig.access(cpu, REGISTER) == 5
    finish(rig, cpu)
    with rig.bql.held():
        cpu.kick()
    assert len(probe.calls) == 1


def test_registers_are_not_offered_without_a_cpu(rig: Rig) -> None:
    cpu = rig.add_cpu()
    with rig.bql.held(), pytest.raises(VmmError, match="qtest has no registers"):
        cpu.registers()


@pytest.mark.kvm
def test_a_kvm_vcpu_starts_at_the_reset_vector_under_qemus_name(rig: Rig) -> None:
    accelerator = KvmAccelerator()
    cpu = rig.add_cpu(accelerator)
    try:
        assert "CPU 0/KVM" in thread_names()
        with rig.bql.held():
            registers = cpu.registers()
        assert (registers["rip"], registers["rflags"], registers["efer"]) == (0xFFF0, 2, 0)
        finish(rig, cpu)
        with rig.bql.held(), pytest.raises(VmmError, match="no running thread"):
            cpu.registers()
    finally:
        with rig.bql.held():
            cpu.unrealize()
        accelerator.close()
