# SPDX-License-Identifier: GPL-2.0-or-later
"""The effective machine as a machine file, which gives the same machine again.

File names are written absolute, so that the text may be kept anywhere. Disks are written as QEMU
sees them: a node and a device.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from vmm import keyval
from vmm.block.options import BackendOptions, backend_fields
from vmm.cmdline import toml_text
from vmm.cmdline.command import RunOption
from vmm.cmdline.given import OptionError
from vmm.cmdline.objects import DeviceOptions, ObjectOptions
from vmm.config import MICRO_GUEST, MachineConfig
from vmm.object_types import type_registry

_NODE_KEYS = {"id": "node-name", "file": "filename", "readonly": "read-only"}


def dump_machine(config: MachineConfig, options: Iterable[RunOption]) -> str:
    """The text of a machine file for ``config``.

    Raises:
        OptionError: a file name that TOML cannot hold.
    """
    sections: dict[str, dict[str, object]] = {}
    for option in options:
        value = None if option.multiple or not option.toml else _value(config, str(option.name))
        if value is not None:
            section, _, key = option.toml.partition(".")
            sections.setdefault(section, {})[key] = value
    try:
        tables = [toml_text.table(f"[{name}]", each) for name, each in sections.items()]
        tables += [toml_text.table("[[object]]", _object(each)) for each in config.objects]
        tables += [toml_text.table("[[blockdev]]", _node(each)) for each in config.blockdevs]
        tables += [toml_text.table("[[device]]", _device(each)) for each in config.devices]
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
    return None if value is False else value


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


_WRITERS: dict[str, Callable[[MachineConfig], object]] = {
    "command_line": _append,
    "kernel": _kernel,
    "memory_bytes": _memory,
    "no_record": _no_record,
    "serial": _serial,
    "vm_name": _vm_name,
}
"""Options whose value in a file is not that of the field with their name."""


def _object(options: ObjectOptions) -> dict[str, object]:
    return {"type": options.type, "id": options.id} | _json(options.type, options.properties)


def _device(options: DeviceOptions) -> dict[str, object]:
    named = {"id": options.id} if options.id is not None else {}
    return {"driver": options.driver, **named} | _json(options.driver, options.properties)


def _json(type_name: str, properties: Any) -> dict[str, object]:
    """Converted values as JSON and TOML have them."""
    cls = type_registry().get(type_name)
    found = {}
    for name, value in properties.items():
        to_json = getattr(cls.property(name).convert, "json", None)
        found[name] = to_json(value) if to_json is not None else value
    return found


def _node(node: BackendOptions) -> dict[str, object]:
    return dict(_node_items(node))


def _node_items(node: BackendOptions) -> Iterator[tuple[str, object]]:
    """What differs from the defaults, with QEMU's keys where QEMU has them."""
    yield "driver", node.driver
    for name, default in _node_defaults():
        value = getattr(node, name)
        if value == default or name == "driver":
            continue
        key = _NODE_KEYS.get(name, name.replace("_", "-"))
        if name == "file":
            value = str(Path(value).absolute())
        elif name == "error_errno":
            value = errno.errorcode[value]
        elif name == "discard":
            value = "unmap" if value else "ignore"
        yield key, value


def _node_defaults() -> Iterator[tuple[str, object]]:
    plain = BackendOptions()
    for name in backend_fields():
        yield name, getattr(plain, name)
