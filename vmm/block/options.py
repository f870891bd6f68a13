# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk's options: the node (image and how it is reached) and the guest's device on it.

Both are checked and frozen before anything is opened. ``--drive`` gives node and device in one
text; ``-blockdev`` and ``-drive if=none`` give the node, ``-device virtio-blk-device`` the device.
The value types here are also those of the device's properties, so that each rule stands once.
"""

import difflib
import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from vmm import keyval
from vmm.block.vq_mapping import VqMapping, VqMappingList, check_queues
from vmm.qom.types import Boolean, Choice, Integer, Size, Text, ValueType, parse_number, shown

Placement = Literal["vcpu", "mainloop", "iothread", "iothread-vq-mapping"]

_MAX_US = 60_000_000
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_FILE_ONLY = ("file", "format", "cache", "aio", "locking")
_NULL_ONLY = ("size", "latency-us")


class DriveError(ValueError):
    """A drive option that makes no sense; the text is one line and names the key.

    ``key`` is that key if there is just one, so that a machine file's line can be told.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """A checked description of a block node: the image and how it is reached.

    Attributes are the option keys with ``_`` for ``-``; ``backend_options`` is the constructor that
    checks them. Times are in microseconds, sizes in bytes.
    """

    id: str | None = None
    file: str | None = None
    driver: str = "file"
    format: str = "raw"
    size: int = 1 << 30
    readonly: bool = False
    cache: str = "writeback"
    aio: str = "io_uring"
    discard: bool = True
    locking: bool = True
    delay_us: int = 0
    error_every: int = 0
    error_errno: int = errno.EIO
    latency_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveOptions(BackendOptions):
    """A node and the virtio-blk device on it, checked.

    ``discard`` is on if both the node and the device have it on. ``node`` is the name of a block
    node that exists already; there is no image of its own then.
    """

    node: str | None = None
    iothread: str | None = None
    iothread_vq_mapping: tuple[VqMapping, ...] = ()
    num_queues: int | None = None
    queue_size: int = 256
    bootindex: int | None = None
    serial: str = ""
    write_cache: bool = True
    logical_block_size: int | None = None
    ioeventfd: bool = True
    irq: str = "irqfd"
    device_id: str | None = None

    @property
    def placement(self) -> Placement:
        """Which thread processes the queues."""
        if not self.ioeventfd:
            return "vcpu"
        if self.iothread_vq_mapping:
            return "iothread-vq-mapping"
        return "iothread" if self.iothread else "mainloop"

    @property
    def iothreads(self) -> tuple[str, ...]:
        """The iothreads the queues are spread over, each once."""
        if self.iothread:
            return (self.iothread,)
        return tuple(each.iothread for each in self.iothread_vq_mapping)


@dataclass(frozen=True)
class _Name:
    """An id."""

    qapi: str = "str"

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise ValueError("must start with a letter, then letters, digits, '-', '.' or '_'")
        return value


@dataclass(frozen=True)
class _FileName:
    qapi: str = "str"

    def __call__(self, value: object) -> str:
        if not Text()(value):
            raise ValueError("needs a value")
        return str(value)


@dataclass(frozen=True)
class _Format:
    qapi: str = "str"

    def __call__(self, value: object) -> str:
        if value != "raw":
            raise ValueError("only raw images work, qemu-img convert makes one")
        return "raw"


@dataclass(frozen=True)
class _Discard:
    """on or off, or the words of a QEMU node."""

    qapi: str = "BlockdevDiscardOptions"

    def __call__(self, value: object) -> bool:
        words = {"unmap": True, "ignore": False}
        return words[value] if isinstance(value, str) and value in words else Boolean()(value)


@dataclass(frozen=True)
class _Errno:
    qapi: str = "str"

    def __call__(self, value: object) -> int:
        number = {name: code for code, name in errno.errorcode.items()}.get(str(value))
        if number is None:
            raise ValueError("must be an error name such as EIO or ENOSPC")
        return number


@dataclass(frozen=True)
class _MappedNames(VqMappingList):
    """The mapping, its iothreads checked to be ids."""

    def __call__(self, value: Any) -> tuple[VqMapping, ...]:
        if isinstance(value, str) and "[" not in value:
            for name in value.split("+"):
                _Name()(name)
        found = VqMappingList.__call__(self, value)
        for each in found:
            _Name()(each.iothread)
        return found


@dataclass(frozen=True)
class _BlockSize(Integer):
    """A power of two, or 0 for the image's."""

    def __call__(self, value: object) -> int:
        return 0 if parse_number(value) == 0 else Integer.__call__(self, value)


NUM_QUEUES = Integer(1, 1024, "uint16")
QUEUE_SIZE = Integer(4, 1024, "uint16", power_of_two=True)
BOOT_INDEX = Integer(-1, (1 << 31) - 1, "int32")
SERIAL = Text(20, "str")
BLOCK_SIZE = _BlockSize(512, 4096, "size", power_of_two=True)
IRQ_PATH = Choice(("irqfd", "mainloop"), "VirtioIrqPath")
VQ_MAPPING = _MappedNames()

_NODE_TYPES: dict[str, ValueType[Any]] = {
    "file": _FileName(),
    "driver": Choice(("file", "null"), "BlockdevDriver"),
    "format": _Format(),
    "size": Size(low=512, step=512),
    "readonly": Boolean(),
    "cache": Choice(("none", "writeback", "unsafe"), "str"),
    "aio": Choice(("io_uring", "threads"), "BlockdevAioOptions"),
    "discard": _Discard(),
    "locking": Boolean(),
    "delay-us": Integer(0, _MAX_US),
    "error-every": Integer(0, (1 << 31) - 1),
    "error-errno": _Errno(),
    "latency-us": Integer(0, _MAX_US),
    "id": _Name(),
}
_DEVICE_TYPES: dict[str, ValueType[Any]] = {
    "iothread": _Name(),
    "iothread-vq-mapping": VQ_MAPPING,
    "num-queues": NUM_QUEUES,
    "queue-size": QUEUE_SIZE,
    "bootindex": BOOT_INDEX,
    "serial": SERIAL,
    "write-cache": Boolean(),
    "logical-block-size": BLOCK_SIZE,
    "ioeventfd": Boolean(),
    "irq": IRQ_PATH,
}
_TYPES = _NODE_TYPES | _DEVICE_TYPES
_ALIASES = {"read-only": "readonly", "logical_block_size": "logical-block-size"}


def _unknown(key: str, value: object) -> DriveError:
    near = difflib.get_close_matches(key, _TYPES, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(_TYPES)}"
    if value is None:
        hint = f"write file={key}" if key else "write file=PATH"
    return DriveError(f"unknown drive option '{key}': {hint}", key)


def _pairs(text: str) -> dict[str, object]:
    """Split ``key=value,…``; a doubled comma stands for one comma of a value."""
    if "\0" in text:
        raise DriveError("a drive option cannot contain a NUL character")
    pairs: dict[str, object] = {}
    for word, value in keyval.split(text):
        key = _ALIASES.get(word, word)
        if key not in _TYPES:
            raise _unknown(key, value)
        if value is None:
            raise DriveError(f"drive option '{key}' needs a value: {key}=…", key)
        if key in pairs:
            raise DriveError(f"drive option '{key}' is given twice", key)
        pairs[key] = value
    return pairs


def _converted(given: Mapping[str, object]) -> dict[str, Any]:
    """Values by field name. Raises DriveError."""
    values = {}
    for name, value in given.items():
        key = _ALIASES.get(name, name)
        if key not in _TYPES:
            raise _unknown(key, value)
        try:
            values[key.replace("-", "_")] = _TYPES[key](value)
        except (ValueError, TypeError) as error:
            raise DriveError(f"{key}={shown(value)}: {error}", key) from None
    return values


def _check_driver(options: BackendOptions, given: Mapping[str, object]) -> None:
    foreign, other = (_NULL_ONLY, "null") if options.driver == "file" else (_FILE_ONLY, "file")
    for key in foreign:
        if key in given:
            raise DriveError(f"{key}= is for driver={other} only", key)
    if options.driver == "file" and options.file is None:
        raise DriveError("a drive needs file=PATH, or driver=null")
    if "error-errno" in given and not options.error_every:
        raise DriveError("error-errno= needs error-every=N", "error-errno")


def _check_placement(options: DriveOptions) -> None:
    if options.iothread and options.iothread_vq_mapping:
        raise DriveError("iothread= and iothread-vq-mapping= exclude each other", "iothread")
    if options.iothreads and not options.ioeventfd:
        key = "iothread" if options.iothread else "iothread-vq-mapping"
        raise DriveError(f"{key}= needs ioeventfd=on", key)
    if options.num_queues is not None:
        try:
            check_queues(options.iothread_vq_mapping, options.num_queues)
        except ValueError as error:
            raise DriveError(str(error), "iothread-vq-mapping") from None


def backend_options(given: Mapping[str, object]) -> BackendOptions:
    """A node of option keys and values; the id is ``id``.

    Raises:
        DriveError: one that is unknown, a device's, of the wrong type or in contradiction.
    """
    for key in given:
        if key in _DEVICE_TYPES:
            raise DriveError(f"{key}= belongs to -device virtio-blk-device, not to the drive", key)
    options = BackendOptions(**_converted(given))
    _check_driver(options, given)
    return options


def attach(
    node: BackendOptions | str, device: Mapping[str, object], device_id: str | None = None
) -> DriveOptions:
    """The disk that a device with these properties makes of an image, or of a node by its name.

    Raises:
        DriveError: properties that do not go together.
    """
    values = {name.replace("-", "_"): value for name, value in device.items()}
    values["device_id"] = device_id
    if isinstance(node, str):
        values["node"] = node
    else:
        values |= {name: getattr(node, name) for name in backend_fields()}
        values["discard"] = node.discard and bool(device.get("discard", True))
    options = DriveOptions(**values)  # type: ignore[arg-type]
    _check_placement(options)
    return options


def drive_options(given: Mapping[str, object]) -> DriveOptions:
    """Node and device of one set of option keys.

    Raises:
        DriveError: one that is unknown, of the wrong type or in contradiction.
    """
    options = DriveOptions(**_converted(given))
    _check_driver(options, given)
    _check_placement(options)
    return options


def parse_drive(text: str) -> DriveOptions:
    """Parse one ``--drive`` argument.

    The syntax is QEMU's: ``key=value`` pairs with commas between them, a comma inside a value
    doubled. Every key may be given once. Raises DriveError with a one-line text.
    """
    return drive_options(_pairs(text))


def drive_keys() -> tuple[str, ...]:
    """The option keys in their documented order, for help texts."""
    return tuple(_TYPES)


def backend_fields() -> tuple[str, ...]:
    """Attribute names of a node."""
    return tuple(field.name for field in fields(BackendOptions))
