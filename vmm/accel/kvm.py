# SPDX-License-Identifier: GPL-2.0-or-later
"""The kvm accelerator: cffi straight onto the kernel's KVM ABI.

In-kernel irqchip and PIT, ioeventfd, irqfd, immediate_exit. Source: the kernel's
Documentation/virt/kvm/api.rst; the order of the set-up calls follows it.
"""

import os
from contextlib import suppress
from typing import Any

from vmm._native import ffi, lib
from vmm.accel.detect import KVM_DEVICE
from vmm.accel.kvm_stats import StatsFiles
from vmm.boot.entry import EntryState
from vmm.errors import VmmError, check, check_pointer
from vmm.memory import PAGE

KVM_API_VERSION = 12
IDENTITY_MAP_ADDRESS = 0xFFFBC000
TSS_ADDRESS = 0xFFFBD000
REQUIRED = (
    ("KVM_CAP_IRQCHIP", "an in-kernel interrupt controller"),
    ("KVM_CAP_USER_MEMORY", "user memory regions"),
    ("KVM_CAP_IOEVENTFD", "ioeventfd"),
    ("KVM_CAP_IRQFD", "irqfd"),
    ("KVM_CAP_IMMEDIATE_EXIT", "immediate_exit"),
)
_CPUID_ENTRIES = 256
_CR0_PE_ET, _CR0_PG, _CR4_PAE = 0x11, 0x8000_0000, 0x20
_EFER_LME, _EFER_LMA = 0x100, 0x400


class KvmAccelerator:
    """One KVM virtual machine."""

    name = "kvm"

    def __init__(self) -> None:
        self._kvm_fd = os.open(KVM_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        self._vm_fd = -1
        self._slots = 0
        self.statistics = StatsFiles()
        self._logs: dict[int, Any] = {}
        self._vm_image: Any = None
        self._vcpu_images: dict[int, Any] = {}
        self._clock: Any = None
        try:
            self._check_host()
            self._create_vm()
        except BaseException:
            self.close()
            raise
        self.irq_vm_fd = self._vm_fd
        self.statistics.set_vm(self._vm_fd)

    def _ioctl(self, fd: int, request: str, argument: Any = ffi.NULL) -> int:
        return check(lib.kvm_ioctl(fd, getattr(lib, request), argument), request)

    def _ioctl_value(self, fd: int, request: str, value: int) -> int:
        return check(lib.kvm_ioctl_value(fd, getattr(lib, request), value), request)

    def _check_host(self) -> None:
        version = self._ioctl(self._kvm_fd, "KVM_GET_API_VERSION")
        if version != KVM_API_VERSION:
            raise VmmError(f"KVM API version {version} is not supported (need {KVM_API_VERSION})")
        for name, words in REQUIRED:
            if not self._extension(name):
                raise VmmError(f"this kernel's KVM lacks {words} ({name}): use --accel qtest")

    def _extension(self, name: str) -> int:
        return self._ioctl_value(self._kvm_fd, "KVM_CHECK_EXTENSION", getattr(lib, name))

    def _create_vm(self) -> None:
        self._vm_fd = self._ioctl_value(self._kvm_fd, "KVM_CREATE_VM", 0)
        self._ioctl_value(self._vm_fd, "KVM_SET_TSS_ADDR", TSS_ADDRESS)
        address = ffi.new("uint64_t *", IDENTITY_MAP_ADDRESS)
        self._ioctl(self._vm_fd, "KVM_SET_IDENTITY_MAP_ADDR", address)
        self._ioctl(self._vm_fd, "KVM_CREATE_IRQCHIP")
        self._ioctl(self._vm_fd, "KVM_CREATE_PIT2", ffi.new("struct kvm_pit_config *"))
        image = lib.kvm_vm_image_new(self._vm_fd)
        self._vm_image = check_pointer(ffi, image, "reading the interrupt controllers")
        if self._extension("KVM_CAP_EXIT_ON_EMULATION_FAILURE"):
            cap = ffi.new("struct kvm_enable_cap *")
            cap.cap = lib.KVM_CAP_EXIT_ON_EMULATION_FAILURE
            cap.args[0] = 1
            self._ioctl(self._vm_fd, "KVM_ENABLE_CAP", cap)

    def map_memory(self, gpa: int, size: int, host_address: int) -> None:
        """Add a memory slot; see Accelerator.map_memory."""
        self._add_slot(gpa, size, host_address, 0)

    def map_logged_memory(self, gpa: int, size: int, host_address: int) -> int:
        """Add a slot with KVM_MEM_LOG_DIRTY_PAGES; see Accelerator.map_logged_memory."""
        slot = self._add_slot(gpa, size, host_address, lib.KVM_MEM_LOG_DIRTY_PAGES)
        # The kernel fills whole longs, so the bitmap is rounded up to them.
        self._logs[slot] = ffi.new("uint64_t[]", -(-size // PAGE // 64))
        return slot

    def dirty_log(self, log: int) -> bytes:
        """KVM_GET_DIRTY_LOG; see Accelerator.dirty_log.

        The ioctl takes the bits, write-protects the pages and flushes the vCPUs' TLBs before it
        returns: what was written before is in memory by then, what comes later sets bits anew.
        """
        request = ffi.new("struct kvm_dirty_log *")
        request.slot = log
        request.dirty_bitmap = self._logs[log]
        self._ioctl(self._vm_fd, "KVM_GET_DIRTY_LOG", request)
        return bytes(ffi.buffer(self._logs[log]))

    def _add_slot(self, gpa: int, size: int, host_address: int, flags: int) -> int:
        region = ffi.new("struct kvm_userspace_memory_region *")
        region.slot = self._slots
        region.flags = flags
        region.guest_phys_addr = gpa
        region.memory_size = size
        region.userspace_addr = host_address
        self._ioctl(self._vm_fd, "KVM_SET_USER_MEMORY_REGION", region)
        self._slots += 1
        return self._slots - 1

    def create_vcpu(self, vcpu_set: Any, index: int, host_cpu: int) -> Any:
        """KVM_CREATE_VCPU and its CPUID; see Accelerator.create_vcpu."""
        fd = self._ioctl_value(self._vm_fd, "KVM_CREATE_VCPU", index)
        try:
            self._set_cpuid(fd, index)
            run_size = self._ioctl(self._kvm_fd, "KVM_GET_VCPU_MMAP_SIZE")
            native = lib.vcpu_new(vcpu_set, lib.ops_vcpu_kvm(), index, host_cpu)
            vcpu = check_pointer(ffi, native, "creating a vCPU")
            image = lib.kvm_vcpu_image_new(self._kvm_fd, fd)
            self._vcpu_images[index] = check_pointer(ffi, image, "reading the state of a vCPU")
        except BaseException:
            os.close(fd)
            raise
        vcpu.kvm_fd = fd
        self.statistics.add_vcpu(index, fd)
        vcpu.kvm_run_size = run_size
        return vcpu

    def _set_cpuid(self, vcpu_fd: int, index: int) -> None:
        cpuid = ffi.new("struct kvm_cpuid2 *", {"entries": _CPUID_ENTRIES})
        cpuid.nent = _CPUID_ENTRIES
        self._ioctl(self._kvm_fd, "KVM_GET_SUPPORTED_CPUID", cpuid)
        for i in range(cpuid.nent):
            entry = cpuid.entries[i]
            if entry.function == 1:  # initial APIC id
                entry.ebx = (entry.ebx & 0x00FFFFFF) | (index << 24)
            elif entry.function in (0xB, 0x1F):  # x2APIC id
                entry.edx = index
        self._ioctl(vcpu_fd, "KVM_SET_CPUID2", cpuid)

    def set_entry(self, vcpu: Any, entry: EntryState) -> None:
        """Flat segments at the entry point; see Accelerator.set_entry."""
        sregs = ffi.new("struct kvm_sregs *")
        self._ioctl(vcpu.kvm_fd, "KVM_GET_SREGS", sregs)
        long_mode = entry.long_mode
        code, data = (0x8, 0x10) if long_mode is None else (long_mode.code, long_mode.data)
        for name in ("cs", "ds", "es", "fs", "gs", "ss"):
            segment = getattr(sregs, name)
            segment.base, segment.limit, segment.g = 0, 0xFFFFFFFF, 1
            segment.present, segment.s, segment.db, segment.l, segment.dpl = 1, 1, 1, 0, 0
            segment.type = 0xB if name == "cs" else 0x3
            segment.selector = code if name == "cs" else data
        sregs.cr0, sregs.cr4, sregs.efer = _CR0_PE_ET, 0, 0
        if long_mode is not None:
            sregs.cs.db, sregs.cs.l = 0, 1
            sregs.cr0, sregs.cr4 = _CR0_PG | _CR0_PE_ET, _CR4_PAE
            sregs.efer, sregs.cr3 = _EFER_LME | _EFER_LMA, long_mode.page_map
            sregs.gdt.base, sregs.gdt.limit = long_mode.gdt, long_mode.gdt_limit
        self._ioctl(vcpu.kvm_fd, "KVM_SET_SREGS", sregs)
        regs = ffi.new("struct kvm_regs *")
        regs.rip, regs.rbx, regs.rsi, regs.rflags = entry.rip, entry.rbx, entry.rsi, 0x2
        self._ioctl(vcpu.kvm_fd, "KVM_SET_REGS", regs)

    def reset(self, vcpus: list[Any]) -> None:
        """Put back what the kernel started with; see Accelerator.reset and native/kvm_reset.h."""
        check(lib.kvm_vm_image_put(self._vm_image, self._vm_fd), "resetting the irqchip")
        put = ffi.addressof(lib, "kvm_vcpu_image_put")
        for vcpu in vcpus:
            image = self._vcpu_images[vcpu.index]
            check(lib.vcpu_run_on(vcpu, put, image), f"resetting CPU {vcpu.index}")
            check(lib.kvm_vcpu_image_error(image), f"resetting CPU {vcpu.index}")

    def stop_clock(self) -> None:
        """Keep kvmclock's time for start_clock(), as QEMU does; see Accelerator.stop_clock."""
        if self._clock is not None:
            return  # stopped already
        clock = ffi.new("struct kvm_clock_data *")
        with suppress(OSError):  # a kernel without kvmclock: nothing to keep
            self._ioctl(self._vm_fd, "KVM_GET_CLOCK", clock)
            clock.flags = 0
            self._clock = clock

    def start_clock(self, vcpus: list[Any]) -> None:
        """Go on from there, and tell the guest's watchdog; see Accelerator.start_clock."""
        if self._clock is None:
            return
        self._ioctl(self._vm_fd, "KVM_SET_CLOCK", self._clock)
        self._clock = None
        for vcpu in vcpus:
            with suppress(OSError):  # EINVAL: this guest does not use kvmclock
                self._ioctl(vcpu.kvm_fd, "KVM_KVMCLOCK_CTRL")

    def free_vcpu(self, vcpu: Any) -> None:
        """See Accelerator.free_vcpu."""
        self.statistics.remove_vcpu(vcpu.index)
        lib.kvm_vcpu_image_free(self._vcpu_images.pop(vcpu.index))
        os.close(vcpu.kvm_fd)
        lib.vcpu_free(vcpu)

    def add_ioeventfd(self, mmio_address: int, value: int, fd: int) -> None:
        """See Accelerator.add_ioeventfd."""
        self._ioeventfd(mmio_address, value, fd, 0)

    def remove_ioeventfd(self, mmio_address: int, value: int, fd: int) -> None:
        """See Accelerator.remove_ioeventfd."""
        self._ioeventfd(mmio_address, value, fd, lib.KVM_IOEVENTFD_FLAG_DEASSIGN)

    def _ioeventfd(self, mmio_address: int, value: int, fd: int, flags: int) -> None:
        event = ffi.new("struct kvm_ioeventfd *")
        event.addr, event.len, event.fd = mmio_address, 4, fd
        event.datamatch = value
        event.flags = flags | lib.KVM_IOEVENTFD_FLAG_DATAMATCH
        self._ioctl(self._vm_fd, "KVM_IOEVENTFD", event)

    def add_irqfd(self, gsi: int, fd: int) -> None:
        """See Accelerator.add_irqfd."""
        self._irqfd(gsi, fd, 0)

    def remove_irqfd(self, gsi: int, fd: int) -> None:
        """See Accelerator.remove_irqfd."""
        self._irqfd(gsi, fd, lib.KVM_IRQFD_FLAG_DEASSIGN)

    def _irqfd(self, gsi: int, fd: int, flags: int) -> None:
        irqfd = ffi.new("struct kvm_irqfd *")
        irqfd.fd, irqfd.gsi, irqfd.flags = fd, gsi, flags
        self._ioctl(self._vm_fd, "KVM_IRQFD", irqfd)

    def close(self) -> None:
        """Close the VM; vCPU descriptors must be closed before."""
        self.statistics.close()
        if self._vm_image is not None:
            lib.kvm_vm_image_free(self._vm_image)
            self._vm_image = None
        for fd in (self._vm_fd, self._kvm_fd):
            if fd >= 0:
                os.close(fd)
        self._vm_fd = self._kvm_fd = -1
