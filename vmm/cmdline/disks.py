# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives, block nodes and devices folded into disks.

QEMU separates the node (image, cache mode) from the device (queues, iothread). The one-option form
``--drive file=…,iothread=io0`` is short for a node and a device on it and yields the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vmm.block.options import (
    BackendOptions,
    DriveError,
    DriveOptions,
    attach,
    backend_options,
    drive_options,
    split_drive,
)
from vmm.cmdline.blockdev import blockdev_node
from vmm.cmdline.given import Given, OptionError, blamed_on
from vmm.cmdline.objects import DeviceOptions, device_options
from vmm.qom import TypeRegistry

BLK = "virtio-blk-device"


@dataclass
class Disks:
    """All nodes by name, all devices, and the drives that the disks among them make."""

    nodes: dict[str, BackendOptions] = field(default_factory=dict)
    devices: list[DeviceOptions] = field(default_factory=list)
    drives: list[DriveOptions] = field(default_factory=list)

    def add_node(self, node: BackendOptions) -> None:
        """Take a node with a name. Raises DriveError if the name is taken."""
        if node.id is None:
            raise DriveError("a drive with if=none needs a name for -device: id=NAME")
        if node.id in self.nodes:
            raise DriveError(f"duplicate node name '{node.id}'", "id")
        self.nodes[node.id] = node

    def add_drive(self, given: Given, types: TypeRegistry) -> None:
        """Take one --drive or [[drive]]: with if=none a node, else a node and its disk.

        Raises:
            OptionError: it makes no sense.
        """
        with blamed_on(given.place):
            values = dict(given.values)
            interface = values.pop("if", "virtio")
            if values.pop("media", "disk") != "disk":
                raise DriveError("media= must be disk: there is no CD-ROM drive", "media")
            if interface == "none":
                self.add_node(backend_options(values))
                return
            if interface != "virtio":
                raise DriveError(
                    f"if={interface}: this VMM has virtio-mmio only: use if=virtio, or if=none "
                    f"with -device {BLK}",
                    "if",
                )
            drive = drive_options(values)
            name = drive.id or self._free_name()
            node, device = split_drive(values)
            self.add_node(backend_options(node | {"id": name}))
            placed = Given({"driver": BLK, "drive": name, **device}, given.place)
            self.devices.append(device_options(placed, types))
            self.drives.append(replace(drive, id=name))

    def _free_name(self) -> str:
        number = len(self.drives)
        while f"drive{number}" in self.nodes:
            number += 1
        return f"drive{number}"

    def add_blockdev(self, given: Given) -> None:
        """Take one --blockdev or [[blockdev]].

        Raises:
            OptionError: it makes no sense.
        """
        with blamed_on(given.place):
            node, replaced = blockdev_node(given.values, self.nodes)
            if replaced is not None:
                del self.nodes[replaced]
            self.add_node(node)

    def add_device(self, given: Given, types: TypeRegistry) -> None:
        """Take one --device or [[device]]; a disk is put onto its node.

        Raises:
            OptionError: it makes no sense.
        """
        device = device_options(given, types)
        with blamed_on(given.place):
            if types.get(device.driver).implements(BLK):
                self.drives.append(self._attached(device))
            self.devices.append(device)

    def _attached(self, device: DeviceOptions) -> DriveOptions:
        properties = dict(device.properties)
        name = properties.pop("drive", "")
        node = self.nodes.get(name)
        if node is None:
            known = ", ".join(self.nodes) or "none is defined"
            raise DriveError(
                f"Property '{device.driver}.drive' can't find value '{name}' (drives: {known})",
                "drive" if name else "",
            )
        if any(other.id == name for other in self.drives):
            raise DriveError(f"drive={name}: another device has this drive already", "drive")
        if "iothread" in properties:  # in a configuration an object is known by its id
            properties["iothread"] = properties["iothread"].removeprefix("/objects/") or None
        return attach(node, properties, device.id)

    def check_ids(self, places: Sequence[Given]) -> None:
        """Ids of devices, those that are made included, occur once.

        Raises:
            OptionError: one occurs twice.
        """
        ids = [drive.device_id or f"disk{slot}" for slot, drive in enumerate(self.drives)]
        twice = next((each for each in ids if ids.count(each) > 1), None)
        if twice is not None:
            given = [each for each in places if each.values.get("id") == twice]
            place = given[-1].place("id") if given else "--device"
            raise OptionError(f"{place}: Duplicate device ID '{twice}'")


def collect_disks(
    drives: Sequence[Given],
    blockdevs: Sequence[Given],
    devices: Sequence[Given],
    types: TypeRegistry,
) -> Disks:
    """Everything about disks that was given, in QEMU's order: drives, nodes, devices.

    Raises:
        OptionError: the first thing that makes no sense, at its place.
    """
    disks = Disks()
    for given in drives:
        disks.add_drive(given, types)
    for given in blockdevs:
        disks.add_blockdev(given)
    for given in devices:
        disks.add_device(given, types)
    disks.check_ids(devices)
    return disks
