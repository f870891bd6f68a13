# SPDX-License-Identifier: GPL-2.0-or-later
"""The effective machine as a machine file, which gives the same machine again.

File names are written absolute, so that the text may be kept anywhere. Disks are written as QEMU
sees them: a node and a device.
"""

import errno
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from vmm import keyval
from vmm.block.backend import FileOptions
from vmm.block.blockdev import NodeOptions
from vmm.block.options import DriveOptions, backend_fields
from vmm.cmdline import relative, toml_text
from vmm.cmdline.command import RunOption
from vmm.cmdline.disks import BLK
from vmm.cmdline.given import OptionError
from vmm.cmdline.objects import ObjectOptions
from vmm.config import MICRO_GUEST, MachineConfig
from vmm.monitor.options import MonitorOptions
from vmm.object_types import type_registry


def dump_machine(config: MachineConfig, options: Iterable[RunOption]) -> str:
    """The text of a machine file for ``config``.

    Raises:
        OptionError: a file name that TOML cannot hold.
    """
    sections: dict[str, dict[str, object]] = {}
    for option in options:
        value = None if option.tables or not option.toml else _value(config, str(option.name))
        if value is not None:
            section, _, key = option.toml.partition(".")
            sections.setdefault(section, {})[key] = value
    try:
        tables = [toml_text.table(f"[{name}]", each) for name, each in sections.items()]
        tables += [toml_text.table("[[object]]", _object(each)) for each in config.objects]
        tables += [toml_text.table("[[blockdev]]", _blockdev(each)) for each in config.blockdevs]
        for drive in config.drives:
            if drive.node is None:
                tables.append(toml_text.table("[[drive]]", _image(drive)))
            tables.append(toml_text.table("[[device]]", _device(drive)))
    except ValueError as error:
        raise OptionError(f"--dump-machine: {error}") from None
    return "\n".join(tables)


def _value(config: MachineConfig, name: str) -> object:
    """What the file has for an option; None: nothing."""
    if name in _WRITERS:
        return _WRITERS[name](config)
    value: Any = getattr(config, name, None)
    if isinstance(value, Path):
        return str(value.absolute())
    return None if value is False or value == () else value


def _kernel(config: MachineConfig) -> str:
    return MICRO_GUEST if config.micro_guest else str(config.kernel.absolute())


def _append(config: MachineConfig) -> str:
    """The command line as it was given: the micro-guest's smp= is put there by the VMM."""
    text, added = config.command_line, f"smp={config.cpus}"
    if not config.micro_guest:
        return text
    return "" if text == added else text.removesuffix(f" {added}")


def _no_record(config: MachineConfig) -> bool | None:
    return None if config.record else True


def _serial(config: MachineConfig) -> str:
    kind, _, name = config.serial.partition(":")
    return f"{kind}:{Path(name).absolute()}" if kind == "file" else config.serial


def _vm_name(config: MachineConfig) -> str | None:
    if config.name is None:
        return None
    words = {"guest": config.name}
    if config.process_name is not None:
        words["process"] = config.process_name
    return keyval.unparse(words)


def _memory(config: MachineConfig) -> str:
    size = config.memory_bytes
    for unit, shift in (("M", 20), ("k", 10)):
        if not size & ((1 << shift) - 1):
            return f"{size >> shift}{unit}"
    return f"{size}b"


def _screen(config: MachineConfig) -> str | None:
    screen = config.framebuffer
    return None if screen is None else f"{screen.width}x{screen.height}"


def _displays(config: MachineConfig) -> list[str] | None:
    return [relative.vnc(each.text, Path.cwd()) for each in config.vnc] or None


def _encode(config: MachineConfig) -> str | None:
    return config.vnc_encode.value if config.vnc else None


def _monitors(option: str) -> Callable[[MachineConfig], object]:
    return lambda config: (
        [_monitor(each) for each in config.monitors if each.option == option] or None
    )


def _monitor(options: MonitorOptions) -> str:
    if options.path is not None:
        return f"unix:{keyval.quote(str(options.path.absolute()))}"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"tcp:{host}:{options.port}" + (",insecure=on" if options.insecure else "")


def _run_option(name: str) -> Callable[[MachineConfig], object]:
    return lambda config: getattr(config.run, name) or None


_WRITERS: dict[str, Callable[[MachineConfig], object]] = {
    "command_line": _append,
    "framebuffer": _screen,
    "kernel": _kernel,
    "memory_bytes": _memory,
    "monitor": _monitors("--monitor"),
    "no_record": _no_record,
    "no_reboot": _run_option("no_reboot"),
    "no_shutdown": _run_option("no_shutdown"),
    "paused": _run_option("paused"),
    "qmp": _monitors("--qmp"),
    "serial": _serial,
    "vm_name": _vm_name,
    "vnc": _displays,
    "vnc_encode": _encode,
}
"""Options whose value in a file is not that of the field with their name."""


def _object(options: ObjectOptions) -> dict[str, object]:
    return {"type": options.type, "id": options.id} | _json(options.type, options.properties)


def _json(type_name: str, properties: Mapping[str, Any]) -> dict[str, object]:
    """Converted values as JSON and TOML have them."""
    cls = type_registry().get(type_name)
    found = {}
    for name, value in properties.items():
        to_json = getattr(cls.property(name).convert, "json", None)
        found[name] = to_json(value) if to_json is not None else value
    return found


def _differing(options: DriveOptions, names: Iterable[str]) -> dict[str, Any]:
    """What is not the default, by option key."""
    plain = DriveOptions()
    values = {name: getattr(options, name) for name in names}
    return {
        name.replace("_", "-"): value
        for name, value in values.items()
        if value != getattr(plain, name)
    }


def _image(drive: DriveOptions) -> dict[str, object]:
    """A drive's image, as [[drive]] with if = none."""
    values = _differing(drive, backend_fields())
    if "file" in values:
        values["file"] = str(Path(values["file"]).absolute())
    if "error-errno" in values:
        values["error-errno"] = errno.errorcode[values["error-errno"]]
    return {"if": "none"} | values


def _device(drive: DriveOptions) -> dict[str, object]:
    """A drive's device, as [[device]]."""
    names = {field.name for field in fields(DriveOptions)}
    own = names - set(backend_fields()) - {"node", "device_id"}
    values = _json(BLK, _differing(drive, sorted(own)))
    if drive.node is not None and not drive.discard:
        values["discard"] = False
    named = {"id": drive.device_id} if drive.device_id is not None else {}
    return {"driver": BLK, **named, "drive": drive.node or drive.id} | values


def _blockdev(node: NodeOptions) -> dict[str, object]:
    """A node as blockdev-add takes it."""
    values: dict[str, object] = {"driver": node.driver}
    if node.name is not None:
        values["node-name"] = node.name
    if node.read_only is not None:
        values["read-only"] = node.read_only
    if node.auto_read_only:
        values["auto-read-only"] = True
    if node.file is not None:
        values |= _file(node.file)
    elif node.child is not None:
        child = node.child
        values["file"] = child if isinstance(child, str) else _blockdev(child)
    else:
        values |= {"size": node.size, "latency-ns": node.latency_ns}
    if node.driver == "filter":
        values |= {"delay-us": node.delay_us, "error-every": node.error_every}
        values["error-errno"] = errno.errorcode[node.error_errno]
    return values


def _file(file: FileOptions) -> dict[str, object]:
    values: dict[str, object] = {"filename": str(Path(file.filename).absolute())}
    values["cache"] = {"direct": file.direct, "no-flush": file.no_flush}
    values["aio"] = file.aio
    values["discard"] = "unmap" if file.discard else "ignore"
    values["locking"] = "on" if file.locking else "off"
    return values
