# SPDX-License-Identifier: GPL-2.0-or-later
"""The properties of ``device_add``: from QMP's JSON values to a device that can be realized."""

from collections.abc import Mapping
from typing import Any

from vmm.block.nodes import BlockGraph, BlockNode
from vmm.block.vq_mapping import implied_queues
from vmm.devices.virtio_blk import VirtioBlkDevice
from vmm.errors import VmmError
from vmm.objects import UserObjects
from vmm.qom.create import check_properties

_RESOLVED_HERE = ("drive", "iothread")


def apply_properties(
    disk: VirtioBlkDevice, props: Mapping[str, Any], nodes: BlockGraph, objects: UserObjects
) -> BlockNode:
    """Set the properties of a disk that is not realized yet; returns its node.

    Raises:
        VmmError: an unknown property, a bad value, a node or iothread that is not there.
    """
    values = check_properties(VirtioBlkDevice, props)
    for name, value in values.items():
        if name not in _RESOLVED_HERE:
            disk.set(name, value)
    if values.get("iothread"):
        disk.iothread = objects.linked(values["iothread"])
    link_mapping(disk, objects)
    if disk.mapped and disk.iothread is not None:
        raise VmmError("iothread and iothread-vq-mapping properties cannot be set at the same time")
    if disk.mapped and "num-queues" not in values:
        disk.num_queues = implied_queues(disk.iothread_vq_mapping)
    if not disk.ioeventfd and (disk.iothread is not None or disk.mapped):
        raise VmmError("ioeventfd is required for iothread")
    return use_node(disk, values.get("drive", ""), nodes)


def link_mapping(disk: VirtioBlkDevice, objects: UserObjects) -> None:
    """Find the iothreads that ``iothread-vq-mapping`` names.

    Raises:
        DeviceNotFoundError: one is not there.
    """
    disk.mapped = tuple(objects.linked(each.iothread) for each in disk.iothread_vq_mapping)


def use_node(disk: VirtioBlkDevice, name: str, nodes: BlockGraph) -> BlockNode:
    """The node of this name, for a disk whose other properties are set.

    Raises:
        VmmError: there is none, or its blocks are larger than the disk's.
    """
    if not name:
        raise VmmError("drive property not set")
    node = nodes.find(name)
    if node is None:
        raise VmmError(f"Property 'virtio-blk-device.drive' can't find value '{name}'")
    needed = node.backend.limits.logical_block
    if disk.logical_block_size and disk.logical_block_size < needed:
        raise VmmError(f"logical-block-size must be at least {needed}, as node '{name}' needs")
    disk.drive = node.name
    return node
