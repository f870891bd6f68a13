# SPDX-License-Identifier: GPL-2.0-or-later
"""The qtest accelerator: no CPU; a native guest driver or scripted accesses enter the dispatch."""

from typing import Any

from vmm._native import ffi, lib
from vmm.boot.entry import EntryState
from vmm.errors import check, check_pointer


class QtestAccelerator:
    """A virtual machine without a CPU.

    Args:
        iospace: the native IoSpace that stands in for in-kernel ioeventfds.
        guest: C function (``QtestGuestFn *``) each vCPU runs, or None for scripted accesses.
        guest_opaque: its argument.
    """

    name = "qtest"
    irq_vm_fd = -1

    def __init__(self, iospace: Any, guest: Any = None, guest_opaque: Any = ffi.NULL) -> None:
        self._iospace = iospace
        self._guest = guest if guest is not None else ffi.NULL
        self._guest_opaque = guest_opaque

    def map_memory(self, gpa: int, size: int, host_address: int) -> None:
        """Nothing to map: native guests reach RAM through guest_memory_ptr()."""

    def map_logged_memory(self, gpa: int, size: int, host_address: int) -> int:
        """Nothing to map; see dirty_log."""
        return 0

    def dirty_log(self, log: int) -> None:
        """Threads of this process write to memory unseen: there is no log."""

    def create_vcpu(self, vcpu_set: Any, index: int, host_cpu: int) -> Any:
        """See Accelerator.create_vcpu."""
        vcpu = check_pointer(
            ffi,
            lib.vcpu_new(vcpu_set, lib.ops_vcpu_qtest(), index, host_cpu),
            "creating a vCPU",
        )
        check(lib.vcpu_qtest_setup(vcpu, self._guest, self._guest_opaque), "setting up qtest")
        return vcpu

    def set_entry(self, vcpu: Any, entry: EntryState) -> None:
        """Native guests have no registers."""

    def reset(self, vcpus: list[Any]) -> None:
        """The native guest starts anew; see Accelerator.reset."""
        for vcpu in vcpus:
            lib.vcpu_qtest_restart(vcpu)

    def stop_clock(self) -> None:
        """Native guests read the host's clock."""

    def start_clock(self, vcpus: list[Any]) -> None:
        """See stop_clock."""

    def free_vcpu(self, vcpu: Any) -> None:
        """See Accelerator.free_vcpu."""
        lib.vcpu_qtest_teardown(vcpu)
        lib.vcpu_free(vcpu)

    def add_ioeventfd(self, mmio_address: int, value: int, fd: int) -> None:
        """See Accelerator.add_ioeventfd; the dispatch does what the kernel would."""
        check(
            lib.iospace_add_ioeventfd(
                self._iospace, lib.IO_MMIO, mmio_address, 4, False, value, fd
            ),
            "adding an ioeventfd",
        )

    def remove_ioeventfd(self, mmio_address: int, value: int, fd: int) -> None:
        """See Accelerator.remove_ioeventfd."""
        check(
            lib.iospace_remove_ioeventfd(self._iospace, lib.IO_MMIO, mmio_address, fd),
            "removing an ioeventfd",
        )

    def add_irqfd(self, gsi: int, fd: int) -> None:
        """There is no interrupt controller; the eventfd just counts."""

    def remove_irqfd(self, gsi: int, fd: int) -> None:
        """See add_irqfd."""

    def close(self) -> None:
        """Nothing is held."""
