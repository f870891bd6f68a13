# SPDX-License-Identifier: GPL-2.0-or-later
"""Stop, go on, reset, end, and the state of the machine (qapi/run-state.json, machine.json)."""

from typing import Any

from vmm.monitor.qapi import BOOL, STR, Array, Command, Enum, Member, Struct
from vmm.monitor.registry import Call

RUN_STATE = Enum(
    "RunState",
    (
        "debug",
        "inmigrate",
        "internal-error",
        "io-error",
        "paused",
        "postmigrate",
        "prelaunch",
        "finish-migrate",
        "restore-vm",
        "running",
        "save-vm",
        "shutdown",
        "suspended",
        "watchdog",
        "guest-panicked",
        "colo",
    ),
    "QEMU's states of a machine.",
)
_STATUS = Struct(
    "StatusInfo",
    (Member("running", BOOL, "the vCPUs run"), Member("status", RUN_STATE)),
)
_NAME = Struct("NameInfo", (Member("name", STR, "the VM's name"),))
_UUID = Struct("UuidInfo", (Member("UUID", STR),))
_KVM = Struct(
    "KvmInfo",
    (
        Member("enabled", BOOL, "this machine uses KVM"),
        Member("present", BOOL, "the accelerator is built in"),
    ),
)
_ACCELERATOR = Enum("Accelerator", ("kvm", "qtest"))
_ACCELERATORS = Struct(
    "AcceleratorInfo", (Member("enabled", _ACCELERATOR), Member("present", Array(_ACCELERATOR)))
)


def query_status(call: Call) -> dict[str, Any]:
    """The run state."""
    state = call.state.control.state.value
    return {"running": state == "running", "status": state}


def stop(call: Call) -> None:
    """Pause all vCPUs."""
    call.state.control.stop()


def cont(call: Call) -> None:
    """Let the vCPUs run."""
    call.state.control.cont()


def quit_machine(call: Call) -> None:
    """End the machine."""
    call.state.control.quit()


def reset(call: Call) -> None:
    """Reset the machine."""
    call.state.control.reset()


def powerdown(call: Call) -> None:
    """Press the power button."""
    call.state.control.powerdown()


def _name(call: Call) -> dict[str, Any]:
    return {"name": call.state.vm_name}


def _uuid(call: Call) -> dict[str, Any]:
    return {"UUID": call.machine.config.uuid or NO_UUID}


def query_kvm(call: Call) -> dict[str, Any]:
    """Whether KVM is in use."""
    return {"enabled": call.machine.accel_choice.name == "kvm", "present": True}


def _accelerators(call: Call) -> dict[str, Any]:
    return {"enabled": call.machine.accel_choice.name, "present": list(_ACCELERATOR.values)}


NO_UUID = "00000000-0000-0000-0000-000000000000"
COMMANDS = (
    Command("query-status", query_status, "The run state.", returns=_STATUS),
    Command("stop", stop, "Pause all vCPUs. Event STOP."),
    Command("cont", cont, "Let the vCPUs run. Event RESUME."),
    Command("quit", quit_machine, "End the machine. Event SHUTDOWN."),
    Command("system_reset", reset, "Reset the machine. Event RESET."),
    Command(
        "system_powerdown",
        powerdown,
        "Press the power button; the guest may or may not heed it. Event POWERDOWN.",
    ),
    Command("query-name", _name, "The VM's name.", returns=_NAME),
    Command("query-uuid", _uuid, "The VM's UUID; zeroes if none was given.", returns=_UUID),
    Command("query-kvm", query_kvm, "Whether KVM is in use.", returns=_KVM),
    Command("query-accelerators", _accelerators, "The accelerator.", returns=_ACCELERATORS),
)
