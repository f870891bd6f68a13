# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio-blk device as an object: properties, the link to its iothread, and its wiring."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from vmm._native import ffi, lib
from vmm.accel.base import Accelerator
from vmm.block.options import DriveOptions
from vmm.devices.block_accounting import Account, read_accounts, set_boundaries
from vmm.devices.virtio_slots import FIRST_GSI, empty_slot, fill_slot, slot_address
from vmm.errors import VmmError, check, check_pointer
from vmm.iothread import IoThread
from vmm.qom import Link, Property, QomObject, parse_bool

QUEUE_NOTIFY = 0x50
IRQ_MODES = ("irqfd", "mainloop")

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


def _irq_mode(value: Any) -> str:
    if value not in IRQ_MODES:
        raise ValueError(f"expects one of {', '.join(IRQ_MODES)}")
    return str(value)


def _names(value: Any) -> str:
    return str(value)


def _number(low: int, high: int, *, power_of_two: bool = False) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        text = str(value)
        if isinstance(value, bool) or not text.isascii() or not text.lstrip("-").isdigit():
            raise ValueError(f"'{text}' is not a number")
        number = int(text)
        if not low <= number <= high or (power_of_two and number & (number - 1)):
            kind = "a power of two" if power_of_two else "a number"
            raise ValueError(f"{number} is not {kind} from {low} to {high}")
        return number

    return convert


def _logical_block(value: Any) -> int:
    return 0 if str(value) == "0" else _number(512, 4096, power_of_two=True)(value)


def _serial(value: Any) -> str:
    text = str(value)
    if len(text.encode()) > lib.VIRTIO_BLK_SERIAL_BYTES or "\0" in text:
        raise ValueError(f"expects at most {lib.VIRTIO_BLK_SERIAL_BYTES} bytes")
    return text


class VirtioBlkDevice(QomObject):
    """A disk on a virtio-mmio slot.

    Placement (who processes the queues) follows from the properties: ``ioeventfd=off`` the vCPU
    that kicked; no iothread the main loop; ``iothread`` that one; ``iothread-vq-mapping`` several,
    queue i on entry i modulo their number.
    """

    TYPE = "virtio-blk-device"

    iothread = Link("iothread", "iothread that processes the queues", live=True)
    iothread_vq_mapping = Property(_names, "", "iothread ids, '+' between, queues round robin")
    bootindex = Property(_number(-1, (1 << 31) - 1), -1, "boot order (-1: not bootable)")
    num_queues = Property(_number(1, 1024), 1, "virtqueues")
    queue_size = Property(_number(4, 1024, power_of_two=True), 256, "descriptors of each virtqueue")
    ioeventfd = Property(parse_bool, True, "kick through an eventfd instead of a vCPU exit")
    irq = Property(_irq_mode, "irqfd", "irqfd, or mainloop as QEMU does on virtio-mmio")
    write_cache = Property(parse_bool, True, "writeback cache after reset")
    discard = Property(parse_bool, True, "offer DISCARD and WRITE_ZEROES")
    logical_block_size = Property(
        _logical_block, 0, "bytes of a block shown to the guest (0: the image's)"
    )
    serial = Property(_serial, "", "serial number, up to 20 bytes")
    drive = Property(str, "", "the block node")

    def __init__(self, object_id: str, slot: int) -> None:
        super().__init__(object_id)
        self.slot = slot
        self.address = slot_address(slot)
        self.gsi = FIRST_GSI + slot
        self.mapped: tuple[IoThread, ...] = ()
        self.latency_boundaries: dict[str, tuple[int, ...]] = {}
        """Of the latency histograms by type, in ns."""
        self._native: Any = None
        self._keep: list[Any] = []
        self._quiesced = False
        self._undo = ExitStack()

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
        self._native = check_pointer(ffi, lib.virtio_blk_new(config), f"creating {self.id}")
        self._undo.callback(lib.virtio_blk_free, self._native)
        transport = lib.virtio_mmio_new(lib.virtio_blk_device(self._native))
        self.transport = check_pointer(ffi, transport, f"creating {self.id}")
        self._undo.callback(lib.virtio_mmio_free, self.transport)

    def _notifiers(self) -> list[int]:
        fds = [lib.virtio_blk_host_notifier(self._native, i) for i in range(self.num_queues)]
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
            lib.virtio_blk_drain_begin(self._native)
            self._quiesced = True

    def unquiesce(self) -> None:
        """End quiesce(). Idempotent."""
        if self._quiesced:
            self._quiesced = False
            lib.virtio_blk_drain_end(self._native)

    @contextmanager
    def _drained(self) -> Iterator[None]:
        if self._quiesced:
            yield
            return
        lib.virtio_blk_drain_begin(self._native)
        try:
            yield
        finally:
            lib.virtio_blk_drain_end(self._native)

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
        self._values["iothread-vq-mapping"] = ""

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
            result = lib.virtio_blk_set_context(self._native, queue, context)
            if result == -errno.EBUSY:
                return False
            if result < 0:
                for moved in range(queue):
                    lib.virtio_blk_set_context(self._native, moved, before[moved])
                check(result, f"moving {self.id}")
        self._contexts = contexts
        return True

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
        """Unwire and free; the slot is a placeholder again. Main thread, under the BQL, the vCPUs
        paused. Requests in flight are waited for.
        """
        self._undo.close()
        self.realized = self._quiesced = False


@ffi.def_extern(name="vmm_py_log")  # type: ignore[untyped-decorator, unused-ignore]
def _log(handle: Any, message: Any) -> None:
    device: VirtioBlkDevice = ffi.from_handle(handle)
    log.warning("%s: %s", device.id, ffi.string(message).decode(errors="replace"))
