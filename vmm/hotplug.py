# SPDX-License-Identifier: GPL-2.0-or-later
"""Objects, block nodes and devices of a machine: made at the start and changed while it runs by the
same code.

What a monitor calls ``object_add``, ``blockdev_add``, ``device_add`` and so on, with QEMU's words
for what goes wrong. Three things differ from QEMU, where virtio-mmio cannot be hot-plugged at all:

* A plugged device appears behind the registers of a free slot (vmm/devices/virtio_slots.py), and an
  unplugged one vanishes from them at once: there is no controller that would ask the guest.
* ``set_iothread`` moves a disk that is in use; QEMU refuses that without ``force``.
* ``blockdev_del`` and ``device_del`` act at once; nothing is deferred to the last user.

Everything here runs in the main thread under the BQL.
"""

from collections.abc import Mapping
from typing import Any

from vmm._native import ffi, lib
from vmm.block.nodes import BlockGraph, BlockNode, block_device_info
from vmm.block.options import DriveOptions
from vmm.bql import Bql
from vmm.device_options import apply_properties, link_mapping, use_node
from vmm.devices.virtio_blk import VirtioBlkDevice, VirtioBus
from vmm.devices.virtio_slots import SLOTS, add_slots
from vmm.errors import DeviceNotFoundError, VmmError, check_pointer
from vmm.events import EventBus
from vmm.objects import UserObjects
from vmm.qom import QomTree, TypeRegistry
from vmm.qom.create import check_id, device_class

WORKERS = 64
WORKER_IDLE_NS = 10_000_000_000


class Hotplug:
    """Everything that may come and go.

    Args:
        bql: the machine's lock; qom: its object tree; types: what can be in it.
        events: the machine's events.
        bus: what disks are wired with.
        recorder: native BqlRec or NULL.
    """

    def __init__(
        self,
        bql: Bql,
        qom: QomTree,
        types: TypeRegistry,
        events: EventBus,
        bus: VirtioBus,
        recorder: Any,
    ) -> None:
        self._bql = bql
        self._qom = qom
        self._types = types
        self._events = events
        self._bus = bus
        self.disks: list[VirtioBlkDevice] = []
        self.objects = UserObjects(bql, qom, types, recorder)
        pool = lib.worker_pool_new(WORKERS, WORKER_IDLE_NS, recorder)
        self._pool = check_pointer(ffi, pool, "creating the worker pool")
        self.nodes = BlockGraph(self._pool, bus.main_context)
        try:
            add_slots(bus.iospace)
        except BaseException:
            self.close()
            raise

    # Objects.

    def object_add(self, qom_type: str, object_id: str, props: Mapping[str, Any]) -> None:
        """QMP's object-add: start an iothread.

        Raises:
            VmmError: an unknown type or property, a bad value, an id that is taken.
        """
        self.objects.add(qom_type, object_id, props)

    def object_del(self, object_id: str) -> None:
        """QMP's object-del: end an iothread that no disk uses.

        Raises:
            VmmError: there is no such object, or a disk uses it.
        """
        iothread = self.objects.find(object_id)
        if iothread is None:
            raise VmmError(f"object '{object_id}' not found")
        for disk in self.disks:
            if iothread is disk.iothread or iothread in disk.mapped:
                raise VmmError(f"object '{object_id}' is in use, can not be deleted")
        self.objects.delete(object_id)

    # Block nodes.

    def blockdev_add(self, options: Mapping[str, Any]) -> None:
        """QMP's blockdev-add; see vmm/block/blockdev.py for the options.

        Raises:
            VmmError: options that are wrong, an image that cannot be used.
        """
        self.nodes.blockdev_add(options)

    def blockdev_del(self, node_name: str) -> None:
        """QMP's blockdev-del.

        Raises:
            VmmError: there is no such node, or it is in use.
        """
        self.nodes.blockdev_del(node_name)

    def set_iothread(self, node_name: str, iothread: str | None, *, force: bool = False) -> None:
        """QMP's x-blockdev-set-iothread: have another thread process the disk of this node.

        The disk is drained for the move, nothing is lost and the guest need not know. ``force`` is
        accepted and makes no difference. A node without a disk has no queues to move.

        Args:
            node_name: the node a device uses, or a node below it.
            iothread: id of an iothread; None: the main loop.

        Raises:
            VmmError: no such node or iothread, or the disk's queues belong to the vCPUs.
        """
        node: BlockNode | None = self.nodes.resolve(node_name)
        target = self.objects.find(iothread) if iothread is not None else None
        if iothread is not None and target is None:
            raise VmmError(f"Cannot find iothread {iothread}")
        while node is not None and node.device is None:
            node = node.parent
        if node is not None and node.device is not None:
            self.disk(node.device).set("iothread", target)

    # Devices.

    def disk(self, device_id: str) -> VirtioBlkDevice:
        """The disk of this id.

        Raises:
            DeviceNotFoundError: there is none.
        """
        for disk in self.disks:
            if disk.id == device_id:
                return disk
        raise DeviceNotFoundError(device_id)

    def device_add(
        self, driver: str, device_id: str | None, props: Mapping[str, Any]
    ) -> VirtioBlkDevice:
        """QMP's device_add: a disk over a node, in the first free slot.

        Args:
            driver: ``virtio-blk-device`` (or its alias ``virtio-blk``).
            device_id: unique; None: one is made up.
            props: the device's properties by their dashed names; ``drive`` is mandatory.

        Raises:
            VmmError: in QEMU's words.
        """
        device_class(self._types, driver)
        disk = self._new_disk(device_id or self._free_id())
        node = apply_properties(disk, props, self.nodes, self.objects)
        self._plug(disk, node)
        return disk

    def add_drive(self, options: DriveOptions, others: tuple[DriveOptions, ...]) -> list[str]:
        """Open a ``--drive`` and plug its disk; returns remarks for people.

        Raises:
            VmmError: the image cannot be used, or an iothread is not there.
        """
        disk = self._new_disk(options.device_id or f"disk{self._free_slot()}")
        node = None if options.node is not None else self.nodes.add_drive(options, others)
        try:
            disk.apply(options)
            threads = [self.objects.known(name) for name in options.iothreads]
            if options.iothread:
                disk.iothread = threads[0]
            link_mapping(disk, self.objects)
            used = node or use_node(disk, options.node or "", self.nodes)
            disk.drive = used.name
            self._plug(disk, used)
        except BaseException:
            if node is not None:
                self.nodes.detach(node)
            raise
        return list(used.backend.notes)

    def _new_disk(self, device_id: str) -> VirtioBlkDevice:
        """A disk in the first free slot. Raises VmmError: no slot is free, or the id is not."""
        disk = VirtioBlkDevice(check_id(device_id), self._free_slot())
        if any(disk.id == other.id for other in self.disks):
            raise VmmError(f"Duplicate device ID '{disk.id}'")
        return disk

    def device_del(self, device_id: str) -> None:
        """QMP's device_del: drain the disk, take it out of its slot and free it.

        Emits DEVICE_DELETED before it returns. Takes an absolute QOM path too.

        Raises:
            DeviceNotFoundError: there is no such device.
        """
        name = device_id.removeprefix(_PERIPHERAL)
        disk = self.disk(name)
        path = disk.path
        with self._bus.vcpus_paused():
            self._unplug(disk)
            lib.iospace_reclaim(self._bus.iospace)
        self._events.emit("DEVICE_DELETED", {"device": name, "path": path})

    def _free_slot(self) -> int:
        used = {disk.slot for disk in self.disks}
        free = [slot for slot in range(SLOTS) if slot not in used]
        if not free:
            raise VmmError(
                "No 'virtio-bus' bus found for device 'virtio-blk-device'"
                f" (all {SLOTS} virtio-mmio slots are taken)"
            )
        return free[0]

    def _free_id(self) -> str:
        used = {disk.id for disk in self.disks}
        return next(name for i in range(SLOTS + 1) if (name := f"device{i}") not in used)

    def _plug(self, disk: VirtioBlkDevice, node: BlockNode) -> None:
        self.nodes.attach(node, disk.id)
        try:
            self._qom.add(f"{_PERIPHERAL}{disk.id}", disk)
            try:
                disk.realize(self._bus, node.backend.native)
            except BaseException:
                self._qom.remove(disk.path)
                raise
        except BaseException as error:
            node.device = None
            if isinstance(error, OSError):
                raise VmmError(error.strerror or str(error)) from error
            raise
        self.disks.append(disk)

    def _unplug(self, disk: VirtioBlkDevice) -> None:
        node = self.nodes.resolve(disk.drive)
        disk.unrealize()
        self.disks.remove(disk)
        self._qom.remove(disk.path)
        self.nodes.detach(node)

    # All of them.

    def drain(self) -> None:
        """bdrv_drain_all, and stay so until undrain(); then flush the images. The BQL is held while
        that waits, and marked.
        """
        for disk in self.disks:
            disk.quiesce()
        with self._bql.blocked(lib.BQLREC_BLOCKED_DRAIN):
            self.nodes.flush_all()

    def undrain(self) -> None:
        """End drain(). Without one: nothing."""
        for disk in self.disks:
            disk.unquiesce()

    def reset(self) -> None:
        """Reset all devices. The vCPUs are stopped."""
        for disk in self.disks:
            disk.reset()

    def set_property(self, path: str, name: str, value: object) -> None:
        """QMP's qom-set: a link is given as a path or an id, "" for none.

        Raises:
            VmmError: no such object or property, a bad value, or it cannot change any more.
        """
        self._qom.resolve(path).set(name, value)

    def query_block(self) -> list[dict[str, Any]]:
        """QAPI's BlockInfo of each disk."""
        rows = []
        for disk in self.disks:
            node = self.nodes.resolve(disk.drive)
            rows.append(
                {
                    "device": node.drive,
                    "qdev": disk.path,
                    "type": "unknown",
                    "removable": False,
                    "locked": False,
                    "inserted": block_device_info(node),
                }
            )
        return rows

    def close(self) -> None:
        """Unplug and end everything. The vCPUs have ended or are paused."""
        for disk in list(self.disks):
            self._unplug(disk)
        self.nodes.close()
        self.objects.close()
        lib.worker_pool_free(self._pool)


_PERIPHERAL = "/machine/peripheral/"
