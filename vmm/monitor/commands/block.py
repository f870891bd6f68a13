# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks, the nodes behind them, and who processes them (qapi/block-core.json, qapi/block.json)."""

from typing import Any

from vmm.block.blockdev import DRIVERS
from vmm.monitor.qapi import (
    BOOL,
    INT,
    NULL,
    STR,
    Alternate,
    Array,
    Command,
    Enum,
    Member,
    Struct,
    optional,
)
from vmm.monitor.registry import Call

_LIMITS = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
_DETECT_ZEROES = Enum("BlockdevDetectZeroesOptions", ("off",))
_DISCARD = Enum("BlockdevDiscardOptions", ("ignore", "unmap"))
_CACHE_INFO = Struct(
    "BlockdevCacheInfo",
    (Member("writeback", BOOL), Member("direct", BOOL), Member("no-flush", BOOL)),
)
_IMAGE = Struct(
    "ImageInfo",
    (
        Member("filename", STR),
        Member("format", STR),
        optional("actual-size", INT, "bytes taken on the host"),
        Member("virtual-size", INT, "bytes"),
    ),
)
_CHILD = Struct("BlockNodeChild", (Member("child", STR), Member("node-name", STR)))
_NODE = Struct(
    "BlockDeviceInfo",
    (
        Member("file", STR, "name of the file"),
        Member("node-name", STR),
        Member("ro", BOOL, "cannot be written"),
        Member("drv", STR, "its driver"),
        Member("backing_file_depth", INT, "0: no backing files"),
        optional("children", Array(_CHILD)),
        Member("active", BOOL),
        Member("encrypted", BOOL, "false"),
        Member("detect_zeroes", _DETECT_ZEROES),
        *(Member(name, INT, "0: no limit") for name in _LIMITS),
        Member("image", _IMAGE),
        Member("cache", _CACHE_INFO),
        Member("write_threshold", INT, "0: none"),
    ),
)
_BLOCK = Struct(
    "BlockInfo",
    (
        Member("device", STR, "id of the drive"),
        Member("qdev", STR, "id of the disk"),
        Member("type", STR, "`unknown`"),
        Member("removable", BOOL),
        Member("locked", BOOL),
        Member("inserted", _NODE),
    ),
)
_CACHE = Struct(
    "BlockdevCacheOptions",
    (optional("direct", BOOL, "O_DIRECT", "false"), optional("no-flush", BOOL, "", "false")),
)
_VARIANTS: dict[str, Struct] = {}
_BLOCKDEV = Struct(
    "BlockdevOptions",
    (
        Member("driver", Enum("BlockdevDriver", DRIVERS)),
        optional("node-name", STR, "mandatory for the outermost node"),
        optional("discard", _DISCARD, "what a guest's discard does", "ignore"),
        optional("cache", _CACHE),
        optional("read-only", BOOL, "", "false"),
        optional("auto-read-only", BOOL, "read-only if it cannot be opened for writing", "false"),
        optional("force-share", BOOL, "only false", "false"),
        optional("detect-zeroes", _DETECT_ZEROES, "", "off"),
    ),
    tag="driver",
    variants=_VARIANTS,
)
_REFERENCE = Alternate("BlockdevRef", (_BLOCKDEV, STR), "A new node, or the name of one.")
_FILE = Struct(
    "BlockdevOptionsFile",
    (
        Member("filename", STR),
        optional("locking", Enum("OnOffAuto", ("auto", "on", "off")), "", "auto"),
        optional(
            "aio", Enum("BlockdevAioOptions", ("threads", "native", "io_uring")), "", "io_uring"
        ),
    ),
)
_NULL_NODE = Struct(
    "BlockdevOptionsNull",
    (
        optional("size", INT, "bytes", "1 GiB"),
        optional("latency-ns", INT, "of each request", "0"),
        optional("read-zeroes", BOOL, "it always does", "true"),
    ),
)
_RAW = Struct("BlockdevOptionsRaw", (Member("file", _REFERENCE),))
_FILTER = Struct(
    "BlockdevOptionsFilter",
    (
        Member("file", _REFERENCE),
        optional("delay-us", INT, "of each request", "0"),
        optional("error-every", INT, "each so many requests one fails; 0: none", "0"),
        optional("error-errno", STR, "how it fails", "EIO"),
    ),
)
_STR_OR_NULL = Alternate("StrOrNull", (STR, NULL))


def _fill_variants() -> None:
    """A node refers to nodes: the type needs itself."""
    _VARIANTS.update({"file": _FILE, "host_device": _FILE, "raw": _RAW, "filter": _FILTER})
    _VARIANTS.update({"null-co": _NULL_NODE, "null-aio": _NULL_NODE})


def query_block(call: Call) -> list[dict[str, Any]]:
    """The disks; ``qdev`` is an id, as QEMU's where a device has one."""
    disks = {disk.path: disk.id for disk in call.machine.disks}
    return [row | {"qdev": disks[row["qdev"]]} for row in call.machine.hotplug.query_block()]


def _nodes(call: Call, flat: bool = False) -> list[dict[str, Any]]:
    return call.machine.hotplug.nodes.query_named_block_nodes()


def _add(call: Call, **options: Any) -> None:
    call.machine.hotplug.blockdev_add({k.replace("_", "-"): v for k, v in options.items()})


def _delete(call: Call, node_name: str) -> None:
    call.machine.hotplug.blockdev_del(node_name)


def _set_iothread(call: Call, node_name: str, iothread: str | None, force: bool = False) -> None:
    call.machine.hotplug.set_iothread(node_name, iothread, force=force)


_fill_variants()
COMMANDS = (
    Command("query-block", query_block, "The disks.", returns=Array(_BLOCK)),
    Command(
        "query-named-block-nodes",
        _nodes,
        "All block nodes.",
        (optional("flat", BOOL, "without backing files; there are none", "false"),),
        Array(_NODE),
    ),
    Command("blockdev-add", _add, "Open an image as a block node.", _BLOCKDEV),
    Command("blockdev-del", _delete, "Close a node that nobody uses.",
            (Member("node-name", STR),)),
    Command(
        "x-blockdev-set-iothread",
        _set_iothread,
        "Have another thread process a disk, while the guest uses it.",
        (
            Member("node-name", STR, "of the disk"),
            Member("iothread", _STR_OR_NULL, "its id; null: the main loop"),
            optional("force", BOOL, "as QEMU needs it; makes no difference", "false"),
        ),
        features=("unstable",),
    ),
)  # fmt: skip
