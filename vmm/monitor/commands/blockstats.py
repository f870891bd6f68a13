# SPDX-License-Identifier: GPL-2.0-or-later
"""What disks did, and how long it took (qapi/block-core.json)."""

from itertools import pairwise
from typing import Any

from vmm._native import lib
from vmm.devices.block_accounting import MAX_BOUNDARIES, Account
from vmm.devices.virtio_blk import VirtioBlkDevice
from vmm.monitor.errors import MonitorError
from vmm.monitor.qapi import BOOL, INT, STR, Array, Command, Member, Struct, optional
from vmm.monitor.registry import Call

_HISTOGRAM = Struct(
    "BlockLatencyHistogramInfo",
    (
        Member("boundaries", Array(INT), "ns, ascending"),
        Member("bins", Array(INT), "requests below each boundary, and the rest"),
    ),
)
_COUNTED = ("rd", "wr", "flush", "unmap")
_SUMMED = ("rd", "wr", "unmap")
_HISTOGRAMS = ("rd", "wr", "flush")
_STATS = Struct(
    "BlockDeviceStats",
    (
        *(Member(f"{name}_bytes", INT) for name in _SUMMED),
        *(Member(f"{name}_operations", INT, "done") for name in _COUNTED),
        *(Member(f"{name}_total_time_ns", INT, "of done and failed ones") for name in _COUNTED),
        Member("wr_highest_offset", INT, "bytes: end of the farthest write"),
        *(Member(f"{name}_merged", INT, "0: nothing is merged") for name in _SUMMED),
        *(Member(f"failed_{name}_operations", INT) for name in _COUNTED),
        *(Member(f"invalid_{name}_operations", INT, "refused") for name in _COUNTED),
        Member("account_invalid", BOOL),
        Member("account_failed", BOOL),
        Member("timed_stats", Array(Struct("BlockDeviceTimedStats")), "empty"),
        *(optional(f"{name}_latency_histogram", _HISTOGRAM) for name in _HISTOGRAMS),
    ),
)
_BLOCKSTATS = Struct(
    "BlockStats",
    (
        Member("device", STR, "id of the drive"),
        Member("qdev", STR, "id of the disk"),
        Member("node-name", STR),
        Member("stats", _STATS),
    ),
)
_BOUNDARIES = {
    "rd": "boundaries_read",
    "wr": "boundaries_write",
    "flush": "boundaries_flush",
}


def query_blockstats(call: Call) -> list[dict[str, Any]]:
    """Counters of each disk since the start."""
    ns_per_tick = call.machine.tick_clock.ns_per_tick
    rows = []
    for disk in call.machine.disks:
        node = call.machine.hotplug.nodes.resolve(disk.drive)
        names = {"device": node.drive, "qdev": disk.id, "node-name": node.name}
        rows.append(names | {"stats": _stats(disk, ns_per_tick)})
    return rows


def _stats(disk: VirtioBlkDevice, ns_per_tick: float) -> dict[str, Any]:
    accounts = disk.accounts()
    stats: dict[str, Any] = {
        "wr_highest_offset": accounts["wr"].highest_offset,
        "account_invalid": True,
        "account_failed": True,
        "timed_stats": [],
    }
    for name, account in accounts.items():
        stats |= _of_type(name, account, ns_per_tick)
        if name in _HISTOGRAMS and account.bins:
            boundaries = list(disk.latency_boundaries[name])
            histogram = {"boundaries": boundaries, "bins": list(account.bins)}
            stats[f"{name}_latency_histogram"] = histogram
    return stats


def _of_type(name: str, account: Account, ns_per_tick: float) -> dict[str, int]:
    stats = {
        f"{name}_operations": account.operations,
        f"{name}_total_time_ns": round(account.ticks * ns_per_tick),
        f"failed_{name}_operations": account.failed,
        f"invalid_{name}_operations": account.invalid,
    }
    if name in _SUMMED:
        stats |= {f"{name}_bytes": account.bytes, f"{name}_merged": 0}
    return stats


def _set_histogram(
    call: Call,
    id: str,
    boundaries: list[int] | None = None,
    **of_type: list[int],
) -> None:
    disk = call.machine.hotplug.disk(id)
    given = {name: of_type.get(_BOUNDARIES[name], boundaries) for name in _HISTOGRAMS}
    words = {"rd": "read", "wr": "write", "flush": "flush"}
    for name, limits in given.items():
        if limits is not None and not _ascending(limits):
            raise MonitorError(f"Device '{id}' set {words[name]} boundaries fail")
    nothing_said = boundaries is None and not of_type
    with call.machine.bql.blocked(lib.BQLREC_BLOCKED_DRAIN):
        for name, limits in given.items():
            if limits is not None or nothing_said:
                ns_per_tick = call.machine.tick_clock.ns_per_tick
                disk.set_latency_histogram(name, tuple(limits or ()), ns_per_tick)


def _ascending(boundaries: list[int]) -> bool:
    rising = all(a < b for a, b in pairwise([0, *boundaries]))
    return rising and len(boundaries) <= MAX_BOUNDARIES


COMMANDS = (
    Command(
        "query-blockstats",
        query_blockstats,
        "What each disk did since the machine's start.",
        returns=Array(_BLOCKSTATS),
    ),
    Command(
        "block-latency-histogram-set",
        _set_histogram,
        "Begin latency histograms of a disk anew, or end them (no boundaries). The disk is drained"
        " meanwhile.",
        (
            Member("id", STR, "of the disk"),
            optional("boundaries", Array(INT), "ns, ascending, at most 64", "end all histograms"),
            optional("boundaries-read", Array(INT), "of reads", "`boundaries`"),
            optional("boundaries-write", Array(INT), "of writes", "`boundaries`"),
            optional("boundaries-flush", Array(INT), "of flushes", "`boundaries`"),
        ),
    ),
)
