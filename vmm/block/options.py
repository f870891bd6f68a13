# SPDX-License-Identifier: GPL-2.0-or-later
"""One ``--drive`` option string: parsed, checked and frozen before anything is opened."""

import difflib
import errno
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

Placement = Literal["vcpu", "mainloop", "iothread", "iothread-vq-mapping"]

_SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECTOR = 512
_MAX_SIZE = 1 << 62
_MAX_US = 60_000_000
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_FILE_ONLY = ("file", "format", "cache", "aio", "locking")
_NULL_ONLY = ("size", "latency-us")


class DriveError(ValueError):
    """A drive option that makes no sense; the text is one line and names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveOptions:
    """A checked drive description: the image, how it is reached, and the guest's device.

    Attributes are the option keys with ``_`` for ``-``; ``parse_drive`` is the only constructor
    that checks them. Times are in microseconds, sizes in bytes.
    """

    file: str | None = None
    driver: str = "file"
    format: str = "raw"
    size: int = 1 << 30
    readonly: bool = False
    cache: str = "writeback"
    aio: str = "io_uring"
    iothread: str | None = None
    iothread_vq_mapping: tuple[str, ...] = ()
    num_queues: int | None = None
    queue_size: int = 256
    bootindex: int | None = None
    serial: str = ""
    discard: bool = True
    write_cache: bool = True
    logical_block_size: int | None = None
    ioeventfd: bool = True
    irq: str = "irqfd"
    locking: bool = True
    delay_us: int = 0
    error_every: int = 0
    error_errno: int = errno.EIO
    latency_us: int = 0
    id: str | None = None

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
        """The iothreads the queues are spread over, queue i on entry i modulo the length."""
        return (self.iothread,) if self.iothread else self.iothread_vq_mapping


def _text(key: str, value: str) -> str:
    if not value:
        raise DriveError(f"{key}= needs a value")
    return value


def _choice(*allowed: str) -> Callable[[str, str], str]:
    def convert(key: str, value: str) -> str:
        if value not in allowed:
            raise DriveError(f"{key}={value}: must be one of {', '.join(allowed)}")
        return value

    return convert


def _switch(key: str, value: str) -> bool:
    return _choice("on", "off")(key, value) == "on"


def _format(key: str, value: str) -> str:
    if value != "raw":
        raise DriveError(f"{key}={value}: only raw images work, qemu-img convert makes one")
    return value


def _digits(value: str) -> int | None:
    """The number that value spells in at most ten ASCII digits."""
    return int(value) if re.fullmatch(r"[0-9]{1,10}", value) else None


def _number(low: int, high: int) -> Callable[[str, str], int]:
    def convert(key: str, value: str) -> int:
        number = _digits(value)
        if number is None or not low <= number <= high:
            raise DriveError(f"{key}={value}: must be a number from {low} to {high}")
        return number

    return convert


def _power_of_two(low: int, high: int) -> Callable[[str, str], int]:
    def convert(key: str, value: str) -> int:
        number = _digits(value)
        if number is None or not low <= number <= high or number & (number - 1):
            raise DriveError(f"{key}={value}: must be a power of two from {low} to {high}")
        return number

    return convert


def _size(key: str, value: str) -> int:
    match = re.fullmatch(r"([0-9]{1,19})([kKmMgGtT]?)", value)
    size = int(match[1]) * _SUFFIXES[match[2].lower()] if match else 0
    if not 0 < size <= _MAX_SIZE or size % _SECTOR:
        raise DriveError(
            f"{key}={value}: must be a multiple of {_SECTOR} bytes, with k, M, G or T after it"
        )
    return size


def _name(key: str, value: str) -> str:
    if not _ID.fullmatch(value):
        raise DriveError(
            f"{key}={value}: must start with a letter, then letters, digits, '-', '.' or '_'"
        )
    return value


def _names(key: str, value: str) -> tuple[str, ...]:
    names = tuple(_name(key, part) for part in value.split("+"))
    if len(set(names)) != len(names):
        raise DriveError(f"{key}={value}: an iothread is named twice")
    return names


def _serial(key: str, value: str) -> str:
    if len(value.encode()) > 20:
        raise DriveError(f"{key}={value}: must be at most 20 bytes long")
    return value


def _errno(key: str, value: str) -> int:
    number = {name: code for code, name in errno.errorcode.items()}.get(value)
    if number is None:
        raise DriveError(f"{key}={value}: must be an error name such as EIO or ENOSPC")
    return number


_KEYS: dict[str, Callable[[str, str], Any]] = {
    "file": _text,
    "driver": _choice("file", "null"),
    "format": _format,
    "size": _size,
    "readonly": _switch,
    "cache": _choice("none", "writeback", "unsafe"),
    "aio": _choice("io_uring", "threads"),
    "iothread": _name,
    "iothread-vq-mapping": _names,
    "num-queues": _number(1, 1024),
    "queue-size": _power_of_two(4, 1024),
    "bootindex": _number(0, (1 << 31) - 1),
    "serial": _serial,
    "discard": _switch,
    "write-cache": _switch,
    "logical-block-size": _power_of_two(512, 4096),
    "ioeventfd": _switch,
    "irq": _choice("irqfd", "mainloop"),
    "locking": _switch,
    "delay-us": _number(0, _MAX_US),
    "error-every": _number(0, (1 << 31) - 1),
    "error-errno": _errno,
    "latency-us": _number(0, _MAX_US),
    "id": _name,
}


def _pairs(text: str) -> dict[str, str]:
    """Split ``key=value,…``; a doubled comma stands for one comma of a value."""
    if "\0" in text:
        raise DriveError("a drive option cannot contain a NUL character")
    pairs: dict[str, str] = {}
    for part in text.replace(",,", "\0").split(","):
        key, equals, value = part.replace("\0", ",").partition("=")
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(_KEYS)}"
            if not equals:
                hint = f"write file={key}" if key else "write file=PATH"
            raise DriveError(f"unknown drive option '{key}': {hint}")
        if not equals:
            raise DriveError(f"drive option '{key}' needs a value: {key}=…")
        if key in pairs:
            raise DriveError(f"drive option '{key}' is given twice")
        pairs[key] = value
    return pairs


def _check_driver(options: DriveOptions, given: dict[str, str]) -> None:
    foreign, other = (_NULL_ONLY, "null") if options.driver == "file" else (_FILE_ONLY, "file")
    for key in foreign:
        if key in given:
            raise DriveError(f"{key}= is for driver={other} only")
    if options.driver == "file" and options.file is None:
        raise DriveError("a drive needs file=PATH, or driver=null")
    if "error-errno" in given and not options.error_every:
        raise DriveError("error-errno= needs error-every=N")


def _check_placement(options: DriveOptions) -> None:
    if options.iothread and options.iothread_vq_mapping:
        raise DriveError("iothread= and iothread-vq-mapping= exclude each other")
    if options.iothreads and not options.ioeventfd:
        key = "iothread" if options.iothread else "iothread-vq-mapping"
        raise DriveError(f"{key}= needs ioeventfd=on")
    if options.num_queues is not None and len(options.iothreads) > options.num_queues:
        raise DriveError(
            f"iothread-vq-mapping= names {len(options.iothreads)} iothreads for "
            f"num-queues={options.num_queues}: one would have no queue"
        )


def parse_drive(text: str) -> DriveOptions:
    """Parse one ``--drive`` argument.

    The syntax is QEMU's: ``key=value`` pairs with commas between them, a comma inside a value
    doubled. Every key may be given once. Raises DriveError with a one-line text.
    """
    given = _pairs(text)
    values = {key.replace("-", "_"): _KEYS[key](key, value) for key, value in given.items()}
    options = DriveOptions(**values)
    _check_driver(options, given)
    _check_placement(options)
    return options


def drive_keys() -> tuple[str, ...]:
    """The option keys in their documented order, for help texts."""
    return tuple(field.name.replace("_", "-") for field in fields(DriveOptions))
