# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives, block nodes and devices folded into disks.

QEMU separates the node (image, cache mode) from the device (queues, iothread). The one-option form
``--drive file=…,iothread=io0`` is short for ``-drive if=none`` and a device on it and yields the
same. A device on a ``-blockdev`` node refers to it: nodes are opened first, as by blockdev-add.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vmm.block.backend import FileOptions
from vmm.block.blockdev import NodeOptions, parse_blockdev
from vmm.block.options import (
    BackendOptions,
    DriveError,
    DriveOptions,
    attach,
    backend_options,
    drive_options,
)
from vmm.cmdline.given import Given, OptionError, blamed_on
from vmm.cmdline.objects import device_options
from vmm.errors import KeyedError, VmmError
from vmm.qom import TypeRegistry

BLK = "virtio-blk-device"


@dataclass
class Disks:
    """What has been taken so far.

    Attributes:
        images: of -drive if=none, by name, as long as no device has them.
        nodes: of -blockdev, by name.
        drives: the disks in the order of their slots.
        iothreads: ids of the machine's iothreads.
    """

    images: dict[str, BackendOptions] = field(default_factory=dict)
    nodes: dict[str, NodeOptions] = field(default_factory=dict)
    drives: list[DriveOptions] = field(default_factory=list)
    iothreads: Sequence[str] = ()

    def blockdevs(self) -> tuple[NodeOptions, ...]:
        """All nodes to open: images without a device first, which other nodes may refer to."""
        return (*(_image_node(image) for image in self.images.values()), *self.nodes.values())

    def _check_name(self, name: str, key: str) -> None:
        if name in self.images or name in self.nodes or any(d.id == name for d in self.drives):
            raise DriveError(f"Duplicate nodes with node-name='{name}'", key)

    def add_drive(self, given: Given) -> None:
        """Take one --drive or [[drive]]: with if=none an image, else an image and its disk.

        Raises:
            OptionError: it makes no sense.
        """
        with blamed_on(given.place):
            values = dict(given.values)
            interface = values.pop("if", "virtio")
            if values.pop("media", "disk") != "disk":
                raise DriveError("media= must be disk: there is no CD-ROM drive", "media")
            if interface == "none":
                self._add_image(backend_options(values))
            elif interface == "virtio":
                self._add_disk(drive_options(values))
            else:
                raise DriveError(
                    f"if={interface}: this VMM has virtio-mmio only: use if=virtio, or if=none "
                    f"with -device {BLK}",
                    "if",
                )

    def _add_image(self, image: BackendOptions) -> None:
        if image.id is None:
            raise DriveError("a drive with if=none needs a name for -device: id=NAME")
        self._check_name(image.id, "id")
        self.images[image.id] = image

    def _add_disk(self, drive: DriveOptions) -> None:
        if drive.id is not None:
            self._check_name(drive.id, "id")
        self._check_iothreads(drive)
        self.drives.append(replace(drive, id=drive.id or self._free_name()))

    def _check_iothreads(self, drive: DriveOptions) -> None:
        for name in drive.iothreads:
            if name not in self.iothreads:
                known = ", ".join(self.iothreads) or "none is defined"
                key = "iothread" if drive.iothread else "iothread-vq-mapping"
                raise DriveError(f"no iothread object with id '{name}' (known: {known})", key)

    def _free_name(self) -> str:
        number = len(self.drives)
        taken = {*self.images, *(drive.id for drive in self.drives)}
        while f"drive{number}" in taken:
            number += 1
        return f"drive{number}"

    def add_blockdev(self, given: Given) -> None:
        """Take one --blockdev or [[blockdev]].

        Raises:
            OptionError: it makes no sense.
        """
        with blamed_on(given.place):
            node = parse_blockdev(nested(given.values), text=True)
            name = str(node.name)  # parse_blockdev has seen that there is one
            self._check_name(name, "node-name")
            self._check_child(node)
            self.nodes[name] = node

    def _check_child(self, node: NodeOptions) -> None:
        """References lead to nodes that come before."""
        child = node.child
        if isinstance(child, NodeOptions):
            self._check_child(child)
        elif child is not None and child not in self.nodes and child not in self.images:
            known = ", ".join((*self.images, *self.nodes)) or "none is defined"
            raise KeyedError(f"Cannot find node-name='{child}' (known: {known})", "file")

    def add_device(self, given: Given, types: TypeRegistry) -> None:
        """Take one --device or [[device]]: a disk on an image or a node.

        Raises:
            OptionError: it makes no sense.
        """
        device = device_options(given, types)
        with blamed_on(given.place):
            if not types.implements(device.driver, BLK):
                raise VmmError(f"'{device.driver}' cannot be given here")
            properties = dict(device.properties)
            name = properties.pop("drive", "")
            if "iothread" in properties:  # in a configuration an object is known by its id
                properties["iothread"] = properties["iothread"].removeprefix("/objects/") or None
            drive = attach(self._source(name), properties, device.id)
            self._check_iothreads(drive)
            self.drives.append(drive)

    def _source(self, name: str) -> BackendOptions | str:
        """What a device's ``drive`` names; an image is nobody else's from now on."""
        if any(name and name in (drive.id, drive.node) for drive in self.drives):
            raise DriveError(f"drive={name}: another device has this drive already", "drive")
        if name in self.images:
            return self.images.pop(name)
        if name not in self.nodes:
            known = ", ".join((*self.images, *self.nodes)) or "none is defined"
            raise DriveError(
                f"Property '{BLK}.drive' can't find value '{name}' (drives: {known})",
                "drive" if name else "",
            )
        return name

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


def nested(values: Mapping[str, object]) -> dict[str, object]:
    """Dotted keys as nested objects: ``cache.direct`` of a command line as QAPI has it.

    Raises:
        KeyedError: a key is both a value and an object.
    """
    found: dict[str, object] = {}
    for key, value in values.items():
        *way, last = key.split(".")
        here = found
        for name in way:
            inner = here.setdefault(name, {})
            if not isinstance(inner, dict):
                raise KeyedError(f"'{name}' and '{key}' exclude each other", key)
            here = inner
        if last in here:
            raise KeyedError(f"'{key}' is given twice", key)
        here[last] = nested(value) if isinstance(value, Mapping) else value
    return found


def _image_node(image: BackendOptions) -> NodeOptions:
    """A -drive image as a block node, for one that no device has yet."""
    if image.driver == "null":
        node = NodeOptions(
            driver="null-co", name=image.id, size=image.size, latency_ns=image.latency_us * 1000
        )
    else:
        file = FileOptions(
            filename=image.file or "",
            direct=image.cache == "none",
            no_flush=image.cache == "unsafe",
            aio=image.aio,
            discard=image.discard,
            locking=image.locking,
        )
        node = NodeOptions(driver="file", name=image.id, file=file, direct=file.direct)
    node = replace(node, read_only=image.readonly)
    if not image.delay_us and not image.error_every:
        return node
    return NodeOptions(
        driver="filter",
        name=image.id,
        child=replace(node, name=None),
        delay_us=image.delay_us,
        error_every=image.error_every,
        error_errno=image.error_errno,
    )


def collect_disks(
    drives: Sequence[Given],
    blockdevs: Sequence[Given],
    devices: Sequence[Given],
    iothreads: Sequence[str],
    types: TypeRegistry,
) -> Disks:
    """Everything about disks that was given, in QEMU's order: drives, nodes, devices.

    Args:
        drives: of --drive and [[drive]]; blockdevs, devices: likewise.
        iothreads: ids of the iothreads that disks may name.
        types: what -device can make.

    Raises:
        OptionError: the first thing that makes no sense, at its place.
    """
    disks = Disks(iothreads=iothreads)
    for given in drives:
        disks.add_drive(given)
    for given in blockdevs:
        disks.add_blockdev(given)
    for given in devices:
        disks.add_device(given, types)
    disks.check_ids(devices)
    return disks
