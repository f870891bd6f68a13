# SPDX-License-Identifier: GPL-2.0-or-later
"""A vCPU: created as QEMU creates one, then a state machine fed by typed commands."""

from enum import Enum
from typing import Any

from vmm._native import ffi, lib
from vmm.accel.base import Accelerator
from vmm.errors import VmmError, check
from vmm.qom import Device, HostCpu, Property


class CpuState(Enum):
    """States of a vCPU; see vmm/native/vcpu.h for the transitions."""

    CREATED = 0
    RUNNING = 1
    PAUSED = 2
    FINISHED = 3


class CpuCommand(Enum):
    """What a vCPU can be told."""

    RUN = 0
    PAUSE = 1
    FINISH = 2


class X86Cpu(Device):
    """One vCPU. All methods need the BQL.

    The creation path is QEMU's: ``realize`` (x86_cpu_realizefn) calls ``_init_vcpu``
    (qemu_init_vcpu), which has the accelerator make the vCPU and starts its thread
    (create_vcpu_thread), which runs the thread function (kvm_vcpu_thread_fn) and reports back.
    """

    TYPE = "x86_64-cpu"

    host_cpu = Property(HostCpu(), -1, "host CPU to run on (-1: any)")

    def __init__(self, index: int, accelerator: Accelerator, vcpu_set: Any) -> None:
        super().__init__(f"cpu{index}")
        self.index = index
        self.native: Any = None
        self._accelerator = accelerator
        self._set = vcpu_set

    def realize(self) -> None:
        """Create the vCPU and its thread; it waits, stopped, for the first RUN.

        Raises:
            VmmError: the accelerator refused (its error in words).
        """
        self._init_vcpu()
        self.realized = True

    def _init_vcpu(self) -> None:
        try:
            self.native = self._accelerator.create_vcpu(self._set, self.index, self.host_cpu)
            check(lib.vcpu_start(self.native), f"starting the thread of CPU {self.index}")
        except OSError as error:
            raise VmmError(f"cannot create CPU {self.index}: {error.strerror}") from error

    @property
    def state(self) -> CpuState:
        """Where the state machine is."""
        return CpuState(self.native.state)

    @property
    def tid(self) -> int:
        """OS thread id, from realize() to unrealize()."""
        return int(lib.vmm_thread_tid(self.native.thread))

    def command(self, command: CpuCommand) -> None:
        """Give a command; PAUSE only asks, see :func:`pause_all`.

        Raises:
            VmmError: the command is illegal in the present state.
        """
        if lib.vcpu_command(self.native, command.value) < 0:
            raise VmmError(f"CPU {self.index} is {self.state.name.lower()}: cannot {command.name}")

    def kick(self) -> None:
        """Make the vCPU leave the guest and look at its state."""
        lib.vcpu_kick(self.native)

    def registers(self) -> dict[str, int]:
        """General and control registers, read in the vCPU's own thread (run_on_cpu).

        Raises:
            VmmError: this accelerator has no registers, or the vCPU has ended.
        """
        if self._accelerator.name != "kvm":
            raise VmmError(f"accelerator {self._accelerator.name} has no registers")
        state = ffi.new("KvmVcpuState *")
        work = ffi.addressof(lib, "kvm_vcpu_get_state")
        if lib.vcpu_run_on(self.native, work, state) < 0:
            raise VmmError(f"CPU {self.index} has no running thread")
        check(state.error, f"reading registers of CPU {self.index}")
        names = (*(f"r{i}" for i in range(8, 16)), "rip", "rflags")
        names += ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp")
        values = {name: int(getattr(state.regs, name)) for name in names}
        for name in ("cr0", "cr2", "cr3", "cr4", "efer"):
            values[name] = int(getattr(state.sregs, name))
        return values

    def exits(self) -> dict[str, int]:
        """Exits so far, by kind."""
        kinds = {"pio": lib.VCPU_EXIT_PIO, "mmio": lib.VCPU_EXIT_MMIO}
        kinds |= {"interrupted": lib.VCPU_EXIT_INTERRUPTED, "other": lib.VCPU_EXIT_OTHER}
        kinds |= {"emulation": lib.VCPU_EXIT_EMULATION}
        return {name: int(lib.vcpu_exit_count(self.native, kind)) for name, kind in kinds.items()}

    def unrealize(self) -> None:
        """End the thread, wait for it and free the vCPU. Drops the BQL while waiting."""
        if self.native is None:
            return
        lib.vcpu_command(self.native, lib.VCPU_CMD_FINISH)
        lib.vcpu_join(self.native)
        self._accelerator.free_vcpu(self.native)
        self.native = None


def _array(cpus: "list[X86Cpu]") -> Any:
    return ffi.new("Vcpu *[]", [cpu.native for cpu in cpus])


def pause_all(cpus: "list[X86Cpu]") -> None:
    """Stop all vCPUs and wait until they did (pause_all_vcpus). Needs the BQL."""
    lib.vcpu_pause_all(_array(cpus), len(cpus))


def resume_all(cpus: "list[X86Cpu]") -> None:
    """Let all vCPUs run (resume_all_vcpus). Needs the BQL."""
    lib.vcpu_resume_all(_array(cpus), len(cpus))
