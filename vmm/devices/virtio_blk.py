# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio-blk device as an object: properties, the link to its iothread, and its wiring."""

import logging
from dataclasses import dataclass
from typing import Any

from vmm._native import ffi, lib
from vmm.accel.base import Accelerator
from vmm.block.options import DriveOptions
from vmm.devices.block_accounting import Account, read_accounts, set_boundaries
from vmm.errors import VmmError, check, check_pointer
from vmm.iothread import IoThread
from vmm.qom import Link, Property, QomObject, parse_bool

VIRTIO_MMIO_BASE = 0xFEB0_0000
VIRTIO_MMIO_STRIDE = 0x200
QUEUE_NOTIFY = 0x50
FIRST_GSI = 16
IRQ_MODES = ("irqfd", "mainloop")

log = logging.getLogger("vmm.virtio_blk")


@dataclass(frozen=True)
class VirtioBus:
    """What a device needs of its machine to be wired."""

    bql: Any
    memory: Any
    iospace: Any
    main_context: Any
    accelerator: Accelerator


def _irq_mode(value: Any) -> str:
    if value not in IRQ_MODES:
        raise ValueError(f"expects one of {', '.join(IRQ_MODES)}")
    return str(value)


def _names(value: Any) -> str:
    return str(value)


class VirtioBlkDevice(QomObject):
    """A disk on a virtio-mmio slot.

    Placement (who processes the queues) follows from the properties: ``ioeventfd=off`` the vCPU
    that kicked; no iothread the main loop; ``iothread`` that one; ``iothread-vq-mapping`` several,
    queue i on entry i modulo their number.
    """

    TYPE = "virtio-blk-device"

    iothread = Link("iothread", "iothread that processes the queues")
    iothread_vq_mapping = Property(_names, "", "iothread ids, '+' between, queues round robin")
    bootindex = Property(int, -1, "boot order (-1: not bootable)")
    num_queues = Property(int, 1, "virtqueues")
    queue_size = Property(int, 256, "descriptors of each virtqueue")
    ioeventfd = Property(parse_bool, True, "kick through an eventfd instead of a vCPU exit")
    irq = Property(_irq_mode, "irqfd", "irqfd, or mainloop as QEMU does on virtio-mmio")
    write_cache = Property(parse_bool, True, "writeback cache after reset")
    discard = Property(parse_bool, True, "offer DISCARD and WRITE_ZEROES")
    logical_block_size = Property(int, 0, "bytes of a block shown to the guest (0: the image's)")
    serial = Property(str, "", "serial number, up to 20 bytes")
    drive = Property(str, "", "id of the drive")

    def __init__(self, object_id: str, slot: int) -> None:
        super().__init__(object_id)
        self.slot = slot
        self.address = VIRTIO_MMIO_BASE + slot * VIRTIO_MMIO_STRIDE
        self.gsi = FIRST_GSI + slot
        self.mapped: tuple[IoThread, ...] = ()
        self.latency_boundaries: dict[str, tuple[int, ...]] = {}
        """Of the latency histograms by type, in ns."""
        self._native: Any = None
        self._keep: list[Any] = []

    def apply(self, options: DriveOptions) -> None:
        """Take the device's properties from a drive's options (links are set by the machine)."""
        self.num_queues = options.num_queues or max(1, len(options.iothread_vq_mapping))
        self.queue_size = options.queue_size
        self.ioeventfd = options.ioeventfd
        self.irq = options.irq
        self.write_cache = options.write_cache
        self.discard = options.discard
        self.serial = options.serial
        self.logical_block_size = options.logical_block_size or 0
        self.iothread_vq_mapping = "+".join(options.iothread_vq_mapping)
        if options.bootindex is not None:
            self.bootindex = options.bootindex

    def realize(self, bus: VirtioBus, backend: Any) -> None:
        """Make the native device and wire it. Main thread, under the BQL, iothreads running.

        Raises:
            OSError: no memory or descriptors; VmmError: properties that do not go together.
        """
        if self.mapped and len(self.mapped) > self.num_queues:
            raise VmmError(f"{self.id}: more iothreads are mapped than there are queues")
        self._bus = bus
        self._make_irq(bus)
        self._make_device(bus, backend)
        self._wire(bus)
        self.realized = True

    def contexts(self, bus: VirtioBus) -> list[Any]:
        """The native AioContext of each queue."""
        if not self.ioeventfd:
            return [bus.main_context] * self.num_queues
        if self.mapped:
            return [self.mapped[i % len(self.mapped)].context for i in range(self.num_queues)]
        owner = self.iothread.context if isinstance(self.iothread, IoThread) else bus.main_context
        return [owner] * self.num_queues

    def _make_irq(self, bus: VirtioBus) -> None:
        line = ffi.new("IrqLine *", {"vm_fd": bus.accelerator.irq_vm_fd, "gsi": self.gsi})
        config = ffi.new("VirtioIrqConfig *")
        if bus.accelerator.irq_vm_fd < 0 and self.irq == "irqfd":
            config.mode = lib.VIRTIO_IRQ_CALLBACK
        else:
            mainloop = self.irq == "mainloop"
            config.mode = lib.VIRTIO_IRQ_MAINLOOP if mainloop else lib.VIRTIO_IRQ_IRQFD
        config.main_ctx = bus.main_context
        setattr(config, "raise", ffi.addressof(lib, "irq_line_pulse"))  # a keyword in Python
        config.opaque = line
        irq = lib.virtio_irq_new(config)
        self._irq = check_pointer(ffi, irq, f"{self.id}: interrupt")
        self._keep += [line]

    def _make_device(self, bus: VirtioBus, backend: Any) -> None:
        config = ffi.new("VirtioBlkConfig *")
        device = config.device
        device.mem, device.bql, device.main_ctx = bus.memory, bus.bql, bus.main_context
        device.irq = self._irq
        device.num_queues, device.queue_size = self.num_queues, self.queue_size
        device.log = lib.vmm_py_log
        self._handle = ffi.new_handle(self)
        device.log_opaque = self._handle
        contexts = ffi.new("AioContext *[]", self.contexts(bus))
        config.ctx = contexts
        name = ffi.new("char[]", self.id.encode())
        config.name = name
        config.backend = backend
        config.ioeventfd, config.write_cache = self.ioeventfd, self.write_cache
        config.discard, config.logical_block = self.discard, self.logical_block_size
        ffi.memmove(config.serial, self.serial.encode(), len(self.serial.encode()))
        self._native = check_pointer(ffi, lib.virtio_blk_new(config), f"creating {self.id}")
        transport = lib.virtio_mmio_new(lib.virtio_blk_device(self._native))
        self._transport = check_pointer(ffi, transport, f"creating {self.id}")

    def _notifiers(self) -> list[int]:
        fds = [lib.virtio_blk_host_notifier(self._native, i) for i in range(self.num_queues)]
        return [int(fd) for fd in fds if fd >= 0]

    def _wire(self, bus: VirtioBus) -> None:
        name = f"virtio-mmio[{self.slot}] {self.id}".encode()[:47]
        added = lib.iospace_add(
            bus.iospace,
            lib.IO_MMIO,
            self.address,
            VIRTIO_MMIO_STRIDE,
            name,
            False,
            lib.virtio_mmio_ops(),
            self._transport,
        )
        check(added, f"{self.id}: registers")
        for queue, fd in enumerate(self._notifiers()):
            bus.accelerator.add_ioeventfd(self.address + QUEUE_NOTIFY, queue, fd)
        if self.irq == "irqfd":
            fd = lib.virtio_irq_fd(self._irq)
            if fd >= 0:
                bus.accelerator.add_irqfd(self.gsi, fd)

    def linux_parameter(self) -> str:
        """How a Linux command line announces the device: nothing else tells where it is."""
        return f"virtio_mmio.device={VIRTIO_MMIO_STRIDE}@0x{self.address:x}:{self.gsi}"

    def statistics(self) -> list[dict[str, int]]:
        """Counters of each queue."""
        rows = []
        stats = ffi.new("VirtioBlkStats *")
        for queue in range(self.num_queues):
            lib.virtio_blk_stats(self._native, queue, stats)
            fields = ("requests", "errors", "read_bytes", "written_bytes", "kicks", "irqs")
            rows.append({name: int(getattr(stats, name)) for name in fields})
        return rows

    def accounts(self) -> dict[str, Account]:
        """What query-blockstats tells, by type (``rd``, ``wr``, ``flush``, ``unmap``)."""
        bins = {name: len(limits) + 1 for name, limits in self.latency_boundaries.items()}
        return read_accounts(self._native, self.num_queues, bins)

    def set_latency_histogram(
        self, name: str, boundaries: tuple[int, ...], ns_per_tick: float
    ) -> None:
        """Begin a type's histogram anew; without boundaries (ns) end it. Drains the disk.

        Raises:
            OSError: not ascending, or too many.
        """
        set_boundaries(self._native, name, [round(limit / ns_per_tick) for limit in boundaries])
        if boundaries:
            self.latency_boundaries[name] = boundaries
        else:
            self.latency_boundaries.pop(name, None)

    def unrealize(self) -> None:
        """Unwire and free. Main thread, under the BQL, vCPUs stopped."""
        if not self.realized:
            return
        bus = self._bus
        for queue, fd in enumerate(self._notifiers()):
            bus.accelerator.remove_ioeventfd(self.address + QUEUE_NOTIFY, queue, fd)
        fd = lib.virtio_irq_fd(self._irq)
        if self.irq == "irqfd" and fd >= 0:
            bus.accelerator.remove_irqfd(self.gsi, fd)
        lib.iospace_remove(bus.iospace, lib.IO_MMIO, self.address)
        lib.virtio_blk_free(self._native)
        lib.virtio_mmio_free(self._transport)
        lib.virtio_irq_free(self._irq)
        self.realized = False


@ffi.def_extern(name="vmm_py_log")  # type: ignore[untyped-decorator, unused-ignore]
def _log(handle: Any, message: Any) -> None:
    device: VirtioBlkDevice = ffi.from_handle(handle)
    log.warning("%s: %s", device.id, ffi.string(message).decode(errors="replace"))
