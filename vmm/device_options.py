# SPDX-License-Identifier: GPL-2.0-or-later
"""The properties of ``device_add``: from QMP's JSON values to a device that can be realized."""

from collections.abc import Mapping
from typing import Any

from vmm.block.nodes import BlockGraph, BlockNode
from vmm.block.qapi import Fields
from vmm.devices.virtio_blk import VirtioBlkDevice
from vmm.errors import VmmError
from vmm.objects import UserObjects

VIRTIO_BLK_NAMES = ("virtio-blk-device", "virtio-blk")
_ALIASES = {"logical_block_size": "logical-block-size"}  # QEMU's one name with underscores
_MAX_QUEUES = 1024
_RESOLVED_HERE = ("drive", "iothread", "iothread-vq-mapping")


def apply_properties(
    disk: VirtioBlkDevice, props: Mapping[str, Any], nodes: BlockGraph, objects: UserObjects
) -> BlockNode:
    """Set the properties of a disk that is not realized yet; returns its node.

    Raises:
        VmmError: an unknown property, a bad value, a node or iothread that is not there.
    """
    known = VirtioBlkDevice.properties()
    for given, value in props.items():
        name = _ALIASES.get(given, given)
        if name not in known:
            raise VmmError(f"Property 'virtio-blk-device.{given}' not found")
        if name not in _RESOLVED_HERE:
            disk.set(name, value)
    if "iothread" in props:
        disk.iothread = objects.linked(_text("iothread", props["iothread"]))
    if "iothread-vq-mapping" in props:
        _map_queues(disk, props["iothread-vq-mapping"], objects, "num-queues" in props)
    if not disk.ioeventfd and (disk.iothread is not None or disk.mapped):
        raise VmmError("ioeventfd is required for iothread")
    return _find_node(disk, props, nodes)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise VmmError(f"Invalid parameter type for '{name}', expected: string")
    return value


def _find_node(disk: VirtioBlkDevice, props: Mapping[str, Any], nodes: BlockGraph) -> BlockNode:
    if "drive" not in props:
        raise VmmError("drive property not set")
    name = _text("drive", props["drive"])
    node = nodes.find(name)
    if node is None:
        raise VmmError(f"Property 'virtio-blk-device.drive' can't find value '{name}'")
    needed = node.backend.limits.logical_block
    if disk.logical_block_size and disk.logical_block_size < needed:
        raise VmmError(f"logical-block-size must be at least {needed}, as node '{name}' needs")
    disk.drive = node.name
    return node


def _map_queues(
    disk: VirtioBlkDevice, value: Any, objects: UserObjects, queues_given: bool
) -> None:
    """IOThreadVirtQueueMappingList of QEMU's qapi/virtio.json; its words."""
    if disk.iothread is not None:
        raise VmmError("iothread and iothread-vq-mapping properties cannot be set at the same time")
    if not isinstance(value, list) or not value or not all(isinstance(e, dict) for e in value):
        raise VmmError("Invalid parameter type for 'iothread-vq-mapping', expected: array")
    entries = [_mapping_entry(Fields(entry, "iothread-vq-mapping.")) for entry in value]
    names = [name for name, _ in entries]
    for name in names:
        if names.count(name) > 1:
            raise VmmError(f'duplicate IOThread name "{name}" in iothread-vq-mapping')
    threads = {name: objects.linked(name) for name in names}
    if not queues_given:
        disk.num_queues = max(len(names), *(max(vqs, default=0) + 1 for _, vqs in entries))
    if any(vqs for _, vqs in entries):
        names = _explicit(entries, disk.num_queues)
    if len(names) > disk.num_queues:
        raise VmmError("iothread-vq-mapping names more iothreads than there are queues")
    disk.mapped = tuple(threads[name] for name in names)
    disk.iothread_vq_mapping = "+".join(names)


def _mapping_entry(fields: Fields) -> tuple[str, list[int]]:
    name = fields.need("iothread", str)
    vqs = fields.take("vqs", list, [])
    fields.finish()
    if not all(isinstance(vq, int) and 0 <= vq < _MAX_QUEUES for vq in vqs):
        raise VmmError("Invalid parameter type for 'iothread-vq-mapping.vqs', expected: array")
    return name, vqs


def _explicit(entries: list[tuple[str, list[int]]], num_queues: int) -> list[str]:
    """The iothread of each queue."""
    if not all(vqs for _, vqs in entries):
        raise VmmError(
            "either all items in iothread-vq-mapping must have vqs or none of them must have it"
        )
    owner: dict[int, str] = {}
    for name, vqs in entries:
        for vq in vqs:
            if vq >= num_queues:
                raise VmmError(
                    f'vq index {vq} for IOThread "{name}" must be less than num_queues'
                    f" {num_queues} in iothread-vq-mapping"
                )
            if vq in owner:
                raise VmmError(
                    f'cannot assign vq {vq} to IOThread "{name}" because it is already assigned'
                )
            owner[vq] = name
    for vq in range(num_queues):
        if vq not in owner:
            raise VmmError(f"missing vq {vq} IOThread assignment in iothread-vq-mapping")
    return [owner[vq] for vq in range(num_queues)]
