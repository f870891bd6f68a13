# SPDX-License-Identifier: GPL-2.0-or-later
"""vCPUs and iothreads (qapi/machine.json, qapi/misc.json)."""

from typing import Any

from vmm.iothread import IoThread
from vmm.monitor.qapi import INT, STR, Array, Command, Enum, Member, Struct
from vmm.monitor.registry import Call

_PROPERTIES = Struct(
    "CpuInstanceProperties",
    (Member("socket-id", INT), Member("core-id", INT), Member("thread-id", INT)),
)
_CPU = Struct(
    "CpuInfoFast",
    (
        Member("cpu-index", INT),
        Member("qom-type", STR),
        Member("qom-path", STR),
        Member("thread-id", INT, "OS thread id"),
        Member("props", _PROPERTIES, "place in the topology"),
        Member("target", Enum("SysEmuTarget", ("x86_64",))),
    ),
    tag="target",
)
_IOTHREAD = Struct(
    "IOThreadInfo",
    (
        Member("id", STR),
        Member("thread-id", INT, "OS thread id"),
        Member("poll-max-ns", INT, "longest busy poll in ns, 0: none"),
        Member("poll-grow", INT, "factor by which polling grows, 0: 2"),
        Member("poll-shrink", INT, "divisor by which it shrinks, 0: to none"),
        Member("aio-max-batch", INT, "requests in a submission, 0: the engine's limit"),
    ),
)


def query_cpus(call: Call) -> list[dict[str, Any]]:
    """The vCPUs; does not disturb them."""
    return [
        {
            "cpu-index": cpu.index,
            "qom-type": cpu.TYPE,
            "qom-path": cpu.path,
            "thread-id": cpu.tid,
            "props": {"socket-id": cpu.index, "core-id": 0, "thread-id": 0},
            "target": "x86_64",
        }
        for cpu in call.machine.cpus
    ]


def query_iothreads(call: Call) -> list[dict[str, Any]]:
    """The iothreads."""
    return [
        {
            "id": each.id,
            "thread-id": each.tid,
            "poll-max-ns": each.poll_max_ns,
            "poll-grow": each.poll_grow,
            "poll-shrink": each.poll_shrink,
            "aio-max-batch": 0,
        }
        for each in call.machine.qom
        if isinstance(each, IoThread)
    ]


COMMANDS = (
    Command("query-cpus-fast", query_cpus, "The vCPUs, without disturbing them.",
            returns=Array(_CPU)),
    Command("query-iothreads", query_iothreads, "The iothreads and how they poll.",
            returns=Array(_IOTHREAD)),
)  # fmt: skip
