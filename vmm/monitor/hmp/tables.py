# SPDX-License-Identifier: GPL-2.0-or-later
"""``info`` commands about disks, screens and devices: QMP's answers as QEMU's text."""

from typing import Any

from vmm.monitor.commands import block, blockstats, machine, vnc
from vmm.monitor.registry import Call
from vmm.qom import Link

_BLOCKSTATS = (
    "rd_bytes",
    "wr_bytes",
    "rd_operations",
    "wr_operations",
    "flush_operations",
    "wr_total_time_ns",
    "rd_total_time_ns",
    "flush_total_time_ns",
    "rd_merged",
    "wr_merged",
)


def info_cpus(call: Call) -> str:
    """``info cpus``."""

    def line(cpu: dict[str, Any]) -> str:
        mark = " " if cpu["cpu-index"] else "*"
        return f"{mark} CPU #{cpu['cpu-index']}: thread_id={cpu['thread-id']}\n"

    return "".join(line(cpu) for cpu in machine.query_cpus(call))


def info_iothreads(call: Call) -> str:
    """``info iothreads``."""
    text = ""
    for each in machine.query_iothreads(call):
        text += f"{each['id']}:\n  thread_id={each['thread-id']}\n"
        for name in ("poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch"):
            text += f"  {name}={each[name]}\n"
    return text


def info_block(call: Call) -> str:
    """``info block``."""

    def entry(row: dict[str, Any]) -> str:
        node = row["inserted"]
        name = row["device"] or row["qdev"]
        shown = f" ({node['node-name']})" if node["node-name"] != name else ""
        only = ", read-only" if node["ro"] else ""
        direct = ", direct" if node["cache"]["direct"] else ""
        unsafe = ", ignore flushes" if node["cache"]["no-flush"] else ""
        return (
            f"{name}{shown}: {node['file']} ({node['drv']}{only})\n"
            f"    Attached to:      {row['qdev']}\n"
            f"    Cache mode:       writeback{direct}{unsafe}\n"
        )

    return "\n".join(entry(row) for row in block.query_block(call))


def info_blockstats(call: Call) -> str:
    """``info blockstats``."""
    text = ""
    for row in blockstats.query_blockstats(call):
        words = " ".join(f"{name}={row['stats'][name]}" for name in _BLOCKSTATS)
        text += f"{row['device'] or row['qdev']}: {words}\n"
    return text


def info_vnc(call: Call) -> str:
    """``info vnc``."""
    text = ""
    for display in vnc.query_servers(call):
        text += f"{display['id']}:\n"
        for server in display["server"]:
            where = f"{server['host']}:{server['service']} ({server['family']})"
            kind = "Websocket" if server["websocket"] else "Server"
            text += f"  {kind}: {where}\n    Auth: {server['auth']} ("
            text += f"Sub: {server.get('vencrypt', 'none')})\n"
        for client in display["clients"]:
            where = f"{client['host']}:{client['service']} ({client['family']})"
            text += f"  Client: {where}\n"
    return text or "None\n"


def info_qtree(call: Call) -> str:
    """``info qtree``: the devices, with their properties."""
    text = "bus: main-system-bus\n  type System\n"
    for each in call.machine.qom:
        if not each.path.startswith("/machine/"):
            continue
        text += f'  dev: {each.TYPE}, id "{each.id}"\n'
        for name, declared in each.properties().items():
            value = each.get(name)
            shown = f'"{value}"' if isinstance(value, str) or isinstance(declared, Link) else value
            text += f"    {name} = {str(shown).lower() if isinstance(value, bool) else shown}\n"
    return text
