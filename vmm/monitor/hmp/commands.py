# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of the human monitor; most of them say what a QMP command answers."""

from typing import Any

from vmm.input.qcodes import NUMBERS
from vmm.monitor.commands import run_state, ui
from vmm.monitor.hmp import tables
from vmm.monitor.hmp.arguments import Kind, Parameter, flag
from vmm.monitor.hmp.console import HmpCommand, HmpTable
from vmm.monitor.registry import Call
from vmm.monitor.session import QEMU_VERSION
from vmm.monitor.sync_profile import DEFAULT_ROWS

_SWITCH = {"on": True, "off": False}


def _help(call: Call, name: str = "", topic: str = "") -> str:
    return call.state.hmp.help(f"{name} {topic}")


def _info(call: Call) -> str:
    return call.state.hmp.help("info")


def _sync_profile(call: Call, op: str | None = None) -> str:
    profile = call.state.sync_profile
    if op is None:
        return f"sync-profile is {'on' if profile.on else 'off'}\n"
    if op == "reset":
        profile.reset()
    elif op in _SWITCH:
        profile.switch(_SWITCH[op])
    else:
        return f"Error: invalid parameter '{op}', expecting 'on', 'off', or 'reset'\n"
    return ""


def _info_sync_profile(call: Call, m: bool, n: bool, max: int = DEFAULT_ROWS) -> str:
    return call.state.sync_profile.table(max, m)


def _info_status(call: Call) -> str:
    answer = run_state.query_status(call)
    if answer["running"]:
        return "VM status: running\n"
    why = "" if answer["status"] == "paused" else f" ({answer['status']})"
    return f"VM status: paused{why}\n"


def _info_version(call: Call) -> str:
    return f"{'.'.join(map(str, QEMU_VERSION))} ({call.state.package})\n"


def _info_name(call: Call) -> str:
    return f"{call.state.vm_name}\n"


def _info_uuid(_call: Call) -> str:
    return f"{run_state.NO_UUID}\n"


def _info_kvm(call: Call) -> str:
    enabled = run_state.query_kvm(call)["enabled"]
    return f"kvm support: {'enabled' if enabled else 'disabled'}\n"


async def _screendump(call: Call, filename: str) -> str:
    await ui.screendump(call, filename)
    return ""


def _sendkey(call: Call, keys: str, hold_ms: int | None = None) -> str:
    """Keys joined by ``-``, each a name or a number; ``<`` is the key ``less``."""
    values: list[dict[str, Any]] = []
    for word in keys.replace("<", "less").split("-"):
        if word.startswith("0x"):
            try:
                values.append({"type": "number", "data": int(word, 16)})
            except ValueError:
                return f"invalid parameter: {word}\n"
        elif word in NUMBERS:
            values.append({"type": "qcode", "data": word})
        else:
            return f"invalid parameter: {word}\n"
    ui.send_key(call, values, hold_ms)
    return ""


_PROFILE_PARAMETERS = (flag("m"), flag("n"), Parameter("max", Kind.INT, optional=True))
_COMMANDS = (
    HmpCommand(
        "help|?",
        _help,
        "show the help",
        "[cmd]",
        (Parameter("name", Kind.TEXT, True), Parameter("topic", Kind.TEXT, True)),
    ),
    HmpCommand("info", _info, "show various information about the system state", "[subcommand]"),
    HmpCommand("stop|s", run_state.stop, "stop emulation"),
    HmpCommand("cont|c", run_state.cont, "resume emulation"),
    HmpCommand("quit|q", run_state.quit_machine, "end the machine"),
    HmpCommand("system_reset", run_state.reset, "reset the system"),
    HmpCommand("system_powerdown", run_state.powerdown, "send system power down event"),
    HmpCommand(
        "screendump",
        _screendump,
        "save the screen as a PPM picture",
        "filename",
        (Parameter("filename", Kind.FILE),),
    ),
    HmpCommand(
        "sendkey",
        _sendkey,
        "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)",
        "keys [hold_ms]",
        (Parameter("keys", Kind.TEXT), Parameter("hold_ms", Kind.INT, True)),
    ),
    HmpCommand(
        "sync-profile",
        _sync_profile,
        "enable, disable or reset synchronization profiling; with no arguments, say whether it is"
        " on or off",
        "[on|off|reset]",
        (Parameter("op", Kind.TEXT, True),),
    ),
)
_INFO = (
    HmpCommand("status", _info_status, "show the current VM status (running|paused)"),
    HmpCommand("version", _info_version, "show the version"),
    HmpCommand("name", _info_name, "show the current VM name"),
    HmpCommand("uuid", _info_uuid, "show the current VM UUID"),
    HmpCommand("kvm", _info_kvm, "show KVM information"),
    HmpCommand("cpus", tables.info_cpus, "show infos for each CPU"),
    HmpCommand("iothreads", tables.info_iothreads, "show iothreads"),
    HmpCommand("block", tables.info_block, "show info of all block devices"),
    HmpCommand("blockstats", tables.info_blockstats, "show block device statistics"),
    HmpCommand("vnc", tables.info_vnc, "show the VNC displays and their clients"),
    HmpCommand("qtree", tables.info_qtree, "show the devices"),
    HmpCommand(
        "sync-profile",
        _info_sync_profile,
        "show synchronization profiling info, up to max entries (default: 10), sorted by total wait"
        " time; -m: sort by mean wait time; -n: do not coalesce objects with the same call site"
        " (there is one lock)",
        "[-m] [-n] [max]",
        _PROFILE_PARAMETERS,
    ),
)


def hmp_table() -> HmpTable:
    """All commands of the human monitor."""
    return HmpTable(_COMMANDS, _INFO)
