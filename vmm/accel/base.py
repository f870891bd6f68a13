# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine asks of an accelerator."""

from typing import Any, Protocol

from vmm.boot.entry import EntryState


class Accelerator(Protocol):
    """Ops of an accelerator; every member is mandatory.

    A machine calls them in this order: the mapping members, ``create_vcpu`` per CPU, ``set_entry``
    on CPU 0, then, while running, the event-fd members and ``dirty_log``. ``close`` comes last.
    """

    name: str
    irq_vm_fd: int

    def map_memory(self, gpa: int, size: int, host_address: int) -> None:
        """Make host memory visible to the guest at ``gpa``."""

    def map_logged_memory(self, gpa: int, size: int, host_address: int) -> int:
        """Like map_memory; the pages the guest writes are logged. Returns the log's number."""

    def dirty_log(self, log: int) -> bytes | None:
        """Get and clear a log: a bit per 4096-byte page the guest wrote to since the last call.

        Page 0 is bit 0 of byte 0; bits beyond the last page are 0.

        None: there is no log, any page may have been written to. A write that races with the call
        is seen by this call or by the next one: look at the pages after it, not before.
        """

    def create_vcpu(self, vcpu_set: Any, index: int, host_cpu: int) -> Any:
        """Make the native vCPU object (its thread is started by the caller)."""

    def set_entry(self, vcpu: Any, entry: EntryState) -> None:
        """Set the registers CPU 0 starts with."""

    def reset(self, vcpus: list[Any]) -> None:
        """System reset: every vCPU and in-kernel device as after power-on. Main thread, under the
        BQL, all vCPUs paused; ``set_entry`` comes after it.

        Raises:
            OSError: the kernel refused; the machine cannot go on.
        """

    def stop_clock(self) -> None:
        """The vCPUs have just stopped: keep the guest's clock from going on."""

    def start_clock(self, vcpus: list[Any]) -> None:
        """The vCPUs are about to run again."""

    def free_vcpu(self, vcpu: Any) -> None:
        """Free what create_vcpu made; its thread has ended."""

    def add_ioeventfd(self, mmio_address: int, value: int, fd: int) -> None:
        """Let 4-byte guest writes of ``value`` to ``mmio_address`` signal ``fd``."""

    def remove_ioeventfd(self, mmio_address: int, value: int, fd: int) -> None:
        """Undo add_ioeventfd."""

    def add_irqfd(self, gsi: int, fd: int) -> None:
        """Let signals of ``fd`` raise interrupt ``gsi`` without passing user space."""

    def remove_irqfd(self, gsi: int, fd: int) -> None:
        """Undo add_irqfd."""

    def close(self) -> None:
        """Release the virtual machine."""
