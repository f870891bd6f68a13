# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph of named block nodes: what ``--drive``, ``blockdev-add`` and devices have in common.

A node is an opened backend under a name. ``raw`` shows its child as it is and shares its backend;
``filter`` is a backend over its child's. A node has at most one user, a parent or a device: two
writers of one image would be as wrong inside a machine as between machines.

::

    --drive file=a.img         node #block000 (owned by its drive: goes when its device goes)
    blockdev-add d0, raw       node d0 (owned by the monitor: stays until blockdev-del)
      +- file: {...}           node #block001 (owned by d0)
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vmm._native import lib
from vmm.block import backend as backends
from vmm.block.backend import BlockBackend, DriveOpenError
from vmm.block.blockdev import NodeOptions, parse_blockdev
from vmm.block.options import DriveError, DriveOptions
from vmm.errors import VmmError


@dataclass
class BlockNode:
    """One node; the graph makes and changes it.

    Attributes:
        drive: the id of the ``--drive`` it comes from, "" for others.
        monitor_owned: made by ``blockdev-add`` under its own name.
        device: id of the device that uses it.
    """

    name: str
    driver: str
    backend: BlockBackend
    filename: str
    direct: bool = False
    no_flush: bool = False
    child: "BlockNode | None" = None
    parent: "BlockNode | None" = None
    drive: str = ""
    monitor_owned: bool = False
    device: str | None = None

    @property
    def read_only(self) -> bool:
        """Whether the device may not write."""
        return self.backend.limits.read_only

    @property
    def busy(self) -> bool:
        """Whether somebody uses it already."""
        return self.parent is not None or self.device is not None


class BlockGraph:
    """All nodes of a machine. Main thread, under the BQL.

    Args:
        pool: native WorkerPool.
        main_context: native AioContext of the main loop.
    """

    def __init__(self, pool: Any, main_context: Any) -> None:
        self._pool = pool
        self._main_context = main_context
        self._nodes: dict[str, BlockNode] = {}
        self._counter = 0

    def __iter__(self) -> Any:
        return iter(list(self._nodes.values()))

    def find(self, name: str) -> BlockNode | None:
        """The node of this name, or of the drive of this id."""
        if name in self._nodes:
            return self._nodes[name]
        return next((n for n in self._nodes.values() if name and n.drive == name), None)

    def resolve(self, name: str) -> BlockNode:
        """The node of this name.

        Raises:
            VmmError: there is none.
        """
        node = self.find(name)
        if node is None:
            raise VmmError(f"Failed to find node with node-name='{name}'")
        return node

    # Making nodes.

    def add_drive(self, options: DriveOptions, others: tuple[DriveOptions, ...] = ()) -> BlockNode:
        """Open what ``--drive`` describes; the node is called as the drive, if that has an id.

        Raises:
            VmmError: the image cannot be used; ``others`` are the machine's other drives.
        """
        name = options.id or self._free_name()
        if name in self._nodes:
            raise VmmError(f"--drive: duplicate id '{name}'")
        try:
            backend = backends.open_backend(options, self._pool)
        except (DriveError, OSError) as error:
            twice = options.file and sum(other.file == options.file for other in others) > 1
            hint = " (this machine has it as two drives)" if twice else ""
            raise VmmError(f"--drive: {error}{hint}") from None
        node = BlockNode(
            name=name,
            driver="raw" if options.driver == "file" else "null-co",
            backend=backend,
            filename=options.file or "null-co://",
            direct=options.cache == "none",
            no_flush=options.cache == "unsafe",
            drive=options.id or name,
        )
        self._nodes[name] = node
        return node

    def blockdev_add(self, options: Mapping[str, Any]) -> BlockNode:
        """QMP's blockdev-add.

        Raises:
            VmmError: options that are wrong, a name that is taken, an image that cannot be used.
        """
        return self.add(parse_blockdev(options))

    def add(self, options: NodeOptions) -> BlockNode:
        """Open a node that the monitor, or the command line in its place, owns from then on.

        Raises:
            VmmError: a name that is taken, an image that cannot be used.
        """
        known = set(self._nodes)
        try:
            node = self._open(options)
        except BaseException:
            for new in [node for name, node in self._nodes.items() if name not in known]:
                self._close(new)
            raise
        node.monitor_owned = True
        return node

    def _open(self, options: NodeOptions) -> BlockNode:
        name = options.name or self._free_name()
        if name in self._nodes or self.find(name):
            raise VmmError(f"Duplicate nodes with node-name='{name}'")
        try:
            if options.file is not None:
                node = self._open_file(name, options)
            elif options.child is not None:
                node = self._open_over_child(name, options, options.child)
            else:
                opened = backends.open_null(options.size, options.latency_ns)
                node = BlockNode(name, options.driver, opened, f"{options.driver}://")
        except OSError as error:
            raise VmmError(str(error)) from None
        self._nodes[name] = node
        return node

    def _open_file(self, name: str, options: NodeOptions) -> BlockNode:
        assert options.file is not None
        wanted = replace(options.file, read_only=bool(options.read_only))
        try:
            backend = backends.open_file(wanted, self._pool)
        except DriveOpenError as error:
            read_only_helps = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
            if not options.auto_read_only or wanted.read_only or not read_only_helps:
                raise
            backend = backends.open_file(replace(wanted, read_only=True), self._pool)
        return BlockNode(
            name,
            options.driver,
            backend,
            wanted.filename,
            direct=wanted.direct,
            no_flush=wanted.no_flush,
        )

    def _open_over_child(
        self, name: str, options: NodeOptions, wanted: str | NodeOptions
    ) -> BlockNode:
        if isinstance(wanted, str):
            child = self.find(wanted)
            if child is None:
                raise VmmError(f"Cannot find device='{wanted}' nor node-name='{wanted}'")
            if child.busy:
                raise VmmError(f"Node '{child.name}' is busy: it has a user already")
        else:
            if wanted.read_only is None:
                wanted = replace(wanted, read_only=options.read_only)
            child = self._open(wanted)
        if options.read_only and not child.read_only:
            raise VmmError(f"node '{name}' is to be read-only: make its file '{child.name}' so")
        backend = child.backend
        if options.driver == "filter":
            backend = backends.open_filter(
                child.backend, options.delay_us, options.error_every, options.error_errno
            )
        node = BlockNode(
            name,
            options.driver,
            backend,
            child.filename,
            direct=child.direct,
            no_flush=child.no_flush,
            child=child,
        )
        child.parent = node
        return node

    def _free_name(self) -> str:
        while True:
            name = f"#block{self._counter:03d}"  # no user's name starts so
            self._counter += 1
            if name not in self._nodes:
                return name

    # Users and the end of nodes.

    def attach(self, node: BlockNode, device_id: str) -> None:
        """A device uses the node from now on.

        Raises:
            VmmError: somebody else does.
        """
        if node.busy:
            raise VmmError(
                f"Property 'virtio-blk-device.drive' can't take value '{node.name}', it's in use"
            )
        node.device = device_id

    def detach(self, node: BlockNode) -> None:
        """The device is gone; a node that came with ``--drive`` goes with it."""
        node.device = None
        if not node.monitor_owned:
            self._close(node)

    def blockdev_del(self, name: str) -> None:
        """QMP's blockdev-del.

        Raises:
            VmmError: no such node, somebody uses it, or it came with another node or a drive.
        """
        node = self._nodes.get(name)
        if node is None:
            raise VmmError(f"Failed to find node with node-name='{name}'")
        if node.device is not None:
            raise VmmError(f"Node {name} is in use")
        if not node.monitor_owned:
            raise VmmError(f"Node {name} is not owned by the monitor")
        if node.parent is not None:
            raise VmmError(f"Block device {name} is in use")
        self._close(node)

    def _close(self, node: BlockNode) -> None:
        child = node.child
        if node.driver == "filter" and child is not None:
            lib.block_release_child(node.backend.native)
        if node.driver == "filter" or child is None:
            node.backend.close()
        self._nodes.pop(node.name, None)
        if child is not None:
            child.parent = None
            if not child.monitor_owned:
                self._close(child)

    def close(self) -> None:
        """Close everything, parents first; no device uses a node any more."""
        while self._nodes:
            self._close(next(node for node in self._nodes.values() if node.parent is None))

    def flush_all(self) -> None:
        """Flush every image that can be written (bdrv_flush_all). Drained disks, or idle ones."""
        for node in list(self._nodes.values()):
            if node.child is None and not node.read_only:
                lib.block_flush_wait(node.backend.native, self._main_context)

    # What query-block and query-named-block-nodes show.

    def query_named_block_nodes(self) -> list[dict[str, Any]]:
        """QAPI's BlockDeviceInfo of each node."""
        return [block_device_info(node) for node in self._nodes.values()]


def _actual_size(node: BlockNode) -> int:
    """Bytes the image takes on its host, 0 if that is not to be had."""
    try:
        return os.stat(node.filename).st_blocks * 512
    except (OSError, ValueError):
        return 0


def block_device_info(node: BlockNode) -> dict[str, Any]:
    """QAPI's BlockDeviceInfo (block-core.json): there is no throttling and no encryption here."""
    info: dict[str, Any] = {
        "node-name": node.name,
        "drv": node.driver,
        "file": node.filename,
        "ro": node.read_only,
        "active": True,
        "encrypted": False,
        "backing_file_depth": 0,
        "detect_zeroes": "off",
        "write_threshold": 0,
        "cache": {"writeback": True, "direct": node.direct, "no-flush": node.no_flush},
        "image": {
            "filename": node.filename,
            "format": node.driver,
            "virtual-size": node.backend.limits.size,
            "actual-size": _actual_size(node),
        },
    }
    if node.child is not None:
        info["children"] = [{"child": "file", "node-name": node.child.name}]
    limits = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
    return info | dict.fromkeys(limits, 0)
