# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's statistics of the VM and its vCPUs (qapi/stats.json)."""

from typing import Any

from vmm.accel.kvm import KvmAccelerator
from vmm.accel.kvm_stats import TYPES, UNITS, KvmStat
from vmm.monitor.qapi import (
    BOOL,
    INT,
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

_PROVIDER = Enum("StatsProvider", ("kvm",), "Who counts.")
_TARGET = Enum("StatsTarget", ("vm", "vcpu"), "What the numbers are about.")
_REQUEST = Struct(
    "StatsRequest",
    (Member("provider", _PROVIDER), optional("names", Array(STR), "which ones", "all")),
)
_FILTER = Struct(
    "StatsFilter",
    (Member("target", _TARGET), optional("providers", Array(_REQUEST), "which ones", "all")),
    tag="target",
    variants={
        "vcpu": Struct(
            "StatsVCPUFilter", (optional("vcpus", Array(STR), "QOM paths of vCPUs", "all"),)
        )
    },
)
_VALUE = Alternate("StatsValue", (INT, BOOL, Array(INT)), "A number, a truth or a histogram.")
_RESULT = Struct(
    "StatsResult",
    (
        Member("provider", _PROVIDER),
        optional("qom-path", STR, "of the vCPU"),
        Member("stats", Array(Struct("Stats", (Member("name", STR), Member("value", _VALUE))))),
    ),
)
_SCHEMA_VALUE = Struct(
    "StatsSchemaValue",
    (
        Member("name", STR),
        Member("type", Enum("StatsType", TYPES)),
        optional("unit", Enum("StatsUnit", UNITS[1:]), "absent: plain numbers"),
        optional("base", INT, "of the factor base ** exponent by which to multiply"),
        Member("exponent", INT),
        optional("bucket-size", INT, "of a linear histogram"),
    ),
)
_SCHEMA = Struct(
    "StatsSchema",
    (
        Member("provider", _PROVIDER),
        Member("target", _TARGET),
        Member("stats", Array(_SCHEMA_VALUE)),
    ),
)


def _query(
    call: Call,
    target: str,
    providers: list[dict[str, Any]] | None = None,
    vcpus: list[str] | None = None,
) -> list[dict[str, Any]]:
    wanted = _wanted(providers)
    if target == "vm":
        found = _of_vm(call)
        return [{"provider": "kvm", "stats": _values(found, wanted)}] if found else []
    rows = []
    for cpu in call.machine.cpus:
        if vcpus is None or cpu.path in vcpus:
            stats = _values(_of_cpu(call, cpu.index), wanted)
            if stats:
                rows.append({"provider": "kvm", "qom-path": cpu.path, "stats": stats})
    return rows


def _wanted(providers: list[dict[str, Any]] | None) -> set[str] | None:
    """Names of the statistics to give; None: all."""
    if providers is None:
        return None
    if any("names" not in each for each in providers):
        return None
    return {name for each in providers for name in each["names"]}


def _of_vm(call: Call) -> list[KvmStat]:
    accelerator = call.machine.accelerator
    return accelerator.statistics.of_vm() if isinstance(accelerator, KvmAccelerator) else []


def _of_cpu(call: Call, index: int) -> list[KvmStat]:
    accelerator = call.machine.accelerator
    if not isinstance(accelerator, KvmAccelerator):
        return []
    return accelerator.statistics.of_vcpu(index)


def _values(stats: list[KvmStat], wanted: set[str] | None) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "value": _value(each)}
        for each in stats
        if wanted is None or each.name in wanted
    ]


def _value(stat: KvmStat) -> int | bool | list[int]:
    if len(stat.values) != 1:
        return list(stat.values)
    return bool(stat.values[0]) if stat.unit == "boolean" else stat.values[0]


def _schemas(call: Call, provider: str | None = None) -> list[dict[str, Any]]:
    found = (("vm", _of_vm(call)), ("vcpu", _of_cpu(call, 0)))
    return [
        {"provider": "kvm", "target": target, "stats": [_described(each) for each in stats]}
        for target, stats in found
        if stats
    ]


def _described(stat: KvmStat) -> dict[str, Any]:
    row: dict[str, Any] = {"name": stat.name, "type": stat.type, "exponent": stat.exponent}
    if stat.unit != "none":
        row["unit"] = stat.unit
    if stat.exponent:
        row["base"] = stat.base
    if stat.type == "linear-histogram":
        row["bucket-size"] = stat.bucket_size
    return row


COMMANDS = (
    Command("query-stats", _query, "The kernel's counters, as of now; does not stop the vCPUs.",
            _FILTER, Array(_RESULT)),
    Command(
        "query-stats-schemas",
        _schemas,
        "What the counters are; the kernel knows. Empty without KVM.",
        (optional("provider", _PROVIDER, "whose", "all"),),
        Array(_SCHEMA),
    ),
)  # fmt: skip
