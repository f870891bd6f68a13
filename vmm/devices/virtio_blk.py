# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio-blk device as an object: properties, the link to its iothread, and its wiring."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from vmm._native import ffi, lib
from vmm.accel.base import Accelerator
from vmm.block.options import (
    BLOCK_SIZE,
    BOOT_INDEX,
    IRQ_PATH,
    NUM_QUEUES,
    QUEUE_SIZE,
    SERIAL,
    VQ_MAPPING,
    DriveOptions,
)
from vmm.block.vq_mapping import NO_MAPPING, check_queues, implied_queues, queue_owner
from vmm.devices.block_accounting import Account, read_accounts, set_boundaries
from vmm.devices.virtio_slots import FIRST_GSI, empty_slot, fill_slot, slot_address
from vmm.errors import VmmError, check, check_pointer
from vmm.iothread import IoThread
from vmm.qom import Boolean, Device, Link, Property, Text

QUEUE_NOTIFY = 0x50

log = logging.getLogger("vmm.virtio_blk")


@dataclass(frozen=True)
class VirtioBus:
    """What a device needs of its machine to be wired.

    Attributes:
        vcpus_paused: a section in which no vCPU is in guest code or in a handler.
    """

    bql: Any
    memory: Any
    iospace: Any
    main_context: Any
    accelerator: Accelerator
    vcpus_paused: Callable[[], AbstractContextManager[None]] = nullcontext


class VirtioDevice(Device):
    """Any device behind a virtio transport."""

    TYPE = "virtio-device"
    ABSTRACT = True


class VirtioBlkDevice(VirtioDevice):
    """A disk on a virtio-mmio slot.

    Placement (who processes the queues) follows from the properties: ``ioeventfd=off`` the vCPU
    that kicked; no iothread the main loop; ``iothread`` that one; ``iothread-vq-mapping`` several,
    each with the queues given, or queue i on entry i modulo their number.
    """

    TYPE = "virtio-blk-device"
    USER_CREATABLE = True
    ALIASES: ClassVar[dict[str, str]] = {"logical_block_size": "logical-block-size"}

    drive = Property(Text(qapi="str"), "", "node name or id of the drive")
    iothread = Link("iothread", "iothread that processes the queues", live=True)
    iothread_vq_mapping = Property(VQ_MAPPING, NO_MAPPING, "iothreads and their queues")
    bootindex = Property(BOOT_INDEX, -1, "boot order (-1: not bootable)")
    num_queues = Property(NUM_QUEUES, 1, "virtqueues")
    queue_size = Property(QUEUE_SIZE, 256, "descriptors of each virtqueue, a power of two")
    serial = Property(SERIAL, "", "serial number, up to 20 bytes")
    ioeventfd = Property(Boolean(), True, "kick through an eventfd instead of a vCPU exit")
    irq = Property(IRQ_PATH, "irqfd", "irqfd, or mainloop as QEMU does on virtio-mmio")
    write_cache = Property(Boolean(), True, "writeback cache after reset")
    discard = Property(Boolean(), True, "offer DISCARD and WRITE_ZEROES")
    logical_block_size = Property(
        BLOCK_SIZE, 0, "bytes of a block shown to the guest (0: the image's)"
    )

    def __init__(self, object_id: str, slot: int) -> None:
        super().__init__(object_id)
        self.slot = slot
        self.address = slot_address(slot)
        self.gsi = FIRST_GSI + slot
        self.mapped: tuple[IoThread, ...] = ()
        self.latency_boundaries: dict[str, tuple[int, ...]] = {}
        """Of the latency histograms by type, in ns."""
        self.native: Any = None
        self._keep: list[Any] = []
        self._quiesced = False
        self._undo = ExitStack()

    def apply(self, options: DriveOptions) -> None:
        """Take the device's properties from a drive's options (links are set by the machine)."""
        self.num_queues = options.num_queues or implied_queues(options.iothread_vq_mapping)
        self.queue_size = options.queue_size
        self.ioeventfd = options.ioeventfd
        self.irq = options.irq
        self.write_cache = options.write_cache
        self.discard = options.discard
        self.serial = options.serial
        self.logical_block_size = options.logical_block_size or 0
        self.iothread_vq_mapping = options.iothread_vq_mapping
        if options.bootindex is not None:
            self.bootindex = options.bootindex

    def realize(self, bus: VirtioBus, backend: Any) -> None:
        """Make the native device and wire it. Main thread, under the BQL, iothreads running.

        Raises:
            OSError: no memory or descriptors; VmmError: properties that do not go together.
        """
        try:
            check_queues(self.iothread_vq_mapping, self.num_queues)
        except ValueError as error:
            raise VmmError(f"{self.id}: {error}") from None
        self._bus = bus
        try:
            self._make_irq(bus)
            self._make_device(bus, backend)
            self._wire(bus)
        except BaseException:
            self._undo.close()
            raise
        self.realized = True

    def contexts(self, bus: VirtioBus) -> list[Any]:
        """The native AioContext of each queue."""
        if not self.ioeventfd:
            return [bus.main_context] * self.num_queues
        if self.mapped:
            owners = [queue_owner(self.iothread_vq_mapping, i) for i in range(self.num_queues)]
            return [self.mapped[owner].context for owner in owners]
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
        self._undo.callback(lib.virtio_irq_free, self._irq)
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
        self._contexts = self.contexts(bus)
        contexts = ffi.new("AioContext *[]", self._contexts)
        config.ctx = contexts
        name = ffi.new("char[]", self.id.encode())
        config.name = name
        config.backend = backend
        config.ioeventfd, config.write_cache = self.ioeventfd, self.write_cache
        config.discard, config.logical_block = self.discard, self.logical_block_size
        ffi.memmove(config.serial, self.serial.encode(), len(self.serial.encode()))
        self.native = check_pointer(ffi, lib.virtio_blk_new(config), f"creating {self.id}")
        self._undo.callback(lib.virtio_blk_free, self.native)
        transport = lib.virtio_mmio_new(lib.virtio_blk_device(self.native))
        self.transport = check_pointer(ffi, transport, f"creating {self.id}")
        self._undo.callback(lib.virtio_mmio_free, self.transport)

    def _notifiers(self) -> list[int]:
        fds = [lib.virtio_blk_host_notifier(self.native, i) for i in range(self.num_queues)]
        return [int(fd) for fd in fds if fd >= 0]

    def _wire(self, bus: VirtioBus) -> None:
        """Registers last: what a guest sees works."""
        undo, accelerator = self._undo, bus.accelerator
        for queue, fd in enumerate(self._notifiers()):
            address = self.address + QUEUE_NOTIFY
            accelerator.add_ioeventfd(address, queue, fd)
            undo.callback(accelerator.remove_ioeventfd, address, queue, fd)
        fd = lib.virtio_irq_fd(self._irq)
        if self.irq == "irqfd" and fd >= 0:
            accelerator.add_irqfd(self.gsi, fd)
            undo.callback(accelerator.remove_irqfd, self.gsi, fd)
        fill_slot(bus.iospace, self.slot, self.id, self.transport)
        undo.callback(empty_slot, bus.iospace, self.slot)

    # While it runs. Main thread, under the BQL.

    def reset(self) -> None:
        """As if the driver had written 0 to Status (system reset). The vCPUs are stopped."""
        lib.virtio_mmio_reset(self.transport)

    def quiesce(self) -> None:
        """Take no request from here to unquiesce(), none is in flight. Idempotent."""
        if not self._quiesced:
            lib.virtio_blk_drain_begin(self.native)
            self._quiesced = True

    def unquiesce(self) -> None:
        """End quiesce(). Idempotent."""
        if self._quiesced:
            self._quiesced = False
            lib.virtio_blk_drain_end(self.native)

    @contextmanager
    def _drained(self) -> Iterator[None]:
        if self._quiesced:
            yield
            return
        lib.virtio_blk_drain_begin(self.native)
        try:
            yield
        finally:
            lib.virtio_blk_drain_end(self.native)

    def property_changed(self, name: str) -> None:
        """Move the queues to where ``iothread`` says now.

        Raises:
            VmmError: they belong to the vCPUs. OSError: the main loop cannot watch a queue.
        """
        mapped, self.mapped = self.mapped, ()
        try:
            self._move(self.contexts(self._bus))
        except BaseException:
            self.mapped = mapped
            raise
        self._values["iothread-vq-mapping"] = NO_MAPPING

    def _move(self, contexts: list[Any]) -> None:
        if not self.ioeventfd:
            raise VmmError(
                f"Device '{self.id}' cannot move: ioeventfd=off has the vCPUs process its queues"
            )
        with self._drained():
            moved = self._set_contexts(contexts)
        if not moved:  # a vCPU is in a reset of the device, and waits: let it finish first
            with self._bus.vcpus_paused(), self._drained():
                moved = self._set_contexts(contexts)
        if not moved:
            raise VmmError(f"Device '{self.id}' is busy")

    def _set_contexts(self, contexts: list[Any]) -> bool:
        """False, and nothing has changed: somebody else drains the device."""
        before = list(self._contexts)
        for queue, context in enumerate(contexts):
            result = lib.virtio_blk_set_context(self.native, queue, context)
            if result == -errno.EBUSY:
                return False
            if result < 0:
                for moved in range(queue):
                    lib.virtio_blk_set_context(self.native, moved, before[moved])
                check(result, f"moving {self.id}")
        self._contexts = contexts
        return True

    def statistics(self) -> list[dict[str, int]]:
        """Counters of each queue."""
        rows = []
        stats = ffi.new("VirtioBlkStats *")
        for queue in range(self.num_queues):
            lib.virtio_blk_stats(self.native, queue, stats)
            fields = ("requests", "errors", "read_bytes", "written_bytes", "kicks", "irqs")
            rows.append({name: int(getattr(stats, name)) for name in fields})
        return rows

    def accounts(self) -> dict[str, Account]:
        """What query-blockstats tells, by type (``rd``, ``wr``, ``flush``, ``unmap``)."""
        bins = {name: len(limits) + 1 for name, limits in self.latency_boundaries.items()}
        return read_accounts(self.native, self.num_queues, bins)

    def set_latency_histogram(
        self, name: str, boundaries: tuple[int, ...], ns_per_tick: float
    ) -> None:
        """Begin a type's histogram anew; without boundaries (ns) end it. Drains the disk.

        Raises:
            OSError: not ascending, or too many.
        """
        set_boundaries(self.native, name, [round(limit / ns_per_tick) for limit in boundaries])
        if boundaries:
            self.latency_boundaries[name] = boundaries
        else:
            self.latency_boundaries.pop(name, None)

    def unrealize(self) -> None:
        """Unwire and free; the slot is a placeholder again. Main thread, under the BQL, the vCPUs
        paused. Requests in flight are waited for.
        """
        self._undo.close()
        self.realized = self._quiesced = False


@ffi.def_extern(name="vmm_py_log")  # type: ignore[untyped-decorator, unused-ignore]
def _log(handle: Any, message: Any) -> None:
    device: VirtioBlkDevice = ffi.from_handle(handle)
    log.warning("%s: %s", device.id, ffi.string(message).decode(errors="replace"))
