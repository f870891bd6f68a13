# SPDX-License-Identifier: GPL-2.0-or-later
"""From merged values to the machine's configuration."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from vmm.cmdline.disks import collect_disks
from vmm.cmdline.given import OptionError
from vmm.cmdline.objects import check_unique, object_options
from vmm.config import MICRO_GUEST, MachineConfig
from vmm.display.options import FramebufferOptions
from vmm.display.vnc.options import parse_displays
from vmm.errors import VmmError
from vmm.guest.image import micro_guest_path
from vmm.iothread import IoThread
from vmm.qom import TypeRegistry
from vmm.runstate import RunOptions

_RUN = ("paused", "no_reboot", "no_shutdown")


def build_config(values: Mapping[str, Any], types: TypeRegistry) -> MachineConfig:
    """The configuration; values of options that are none of its fields are left alone.

    Raises:
        OptionError: values that do not go together.
    """
    known = {field.name for field in fields(MachineConfig)}
    plain = {name: value for name, value in values.items() if name in known}
    objects = [(given, object_options(given, types)) for given in values.get("objects", ())]
    check_unique(objects)
    iothreads = [options.id for _, options in objects if options.type == IoThread.TYPE]
    disks = collect_disks(
        values.get("drives", ()),
        values.get("blockdevs", ()),
        values.get("devices", ()),
        iothreads,
        types,
    )
    plain |= {
        "objects": tuple(options for _, options in objects),
        "blockdevs": disks.blockdevs(),
        "drives": tuple(disks.drives),
        "monitors": tuple(
            each for name in ("qmp", "monitor") for each in values.get(name, ()) if each is not None
        ),
        "trace": tuple(values.get("trace", ())),
        "run": RunOptions(**{name: values.get(name, False) for name in _RUN}),
    }
    if values.get("no_record"):
        plain["record"] = False
    if "screendump" in values or values.get("vnc"):
        plain.setdefault("framebuffer", FramebufferOptions())
    try:
        plain["vnc"] = parse_displays(tuple(values.get("vnc", ())))
    except VmmError as error:
        raise OptionError(str(error)) from None
    return MachineConfig(**plain | _kernel(values) | _accel(values) | _name(values))


def _kernel(values: Mapping[str, Any]) -> dict[str, Any]:
    kernel = values.get("kernel")
    if kernel is None:
        raise OptionError("--kernel FILE is missing: a PVH kernel, or 'micro'")
    command_line = values.get("command_line", "")
    if kernel != MICRO_GUEST:
        return {"kernel": Path(kernel), "command_line": command_line}
    command_line = _micro_command_line(command_line, values.get("cpus", 1))
    return {"kernel": micro_guest_path(), "micro_guest": True, "command_line": command_line}


def _micro_command_line(append: str, smp: int) -> str:
    """The micro-guest is told what only the VMM knows, unless the user said it.

    Raises OptionError when the guest would wait for vCPUs that do not exist.
    """
    given = dict(word.partition("=")[::2] for word in append.split())
    if "smp" not in given:
        return f"{append} smp={smp}".strip()
    wanted = given["smp"]
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 and int(wanted) > smp:
        raise OptionError(f"--append smp={wanted}: the machine has {smp} vCPUs, raise --smp")
    return append


def _accel(values: Mapping[str, Any]) -> dict[str, Any]:
    """The accelerator, named by --accel or within --machine."""
    machine = values.get("machine")
    within = machine.accel if machine is not None else None
    if within is not None and "accel" in values:
        raise OptionError("--accel and --machine accel= say the same thing: leave one out")
    return {"accel": within} if within is not None else {}


def _name(values: Mapping[str, Any]) -> dict[str, Any]:
    name = values.get("vm_name")
    return {} if name is None else {"name": name.name, "process_name": name.process}
