# SPDX-License-Identifier: GPL-2.0-or-later
"""Types of property values: each turns what a user gave into the value, or says what it must be.

A value comes from a command line as text, from a machine file or a monitor as JSON does: number,
boolean, list. Each type takes both. A type is called with the value, raises ValueError with a
reason that begins with "must be", and has the name that QAPI and ``qom-list`` give it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

MAX_HOST_CPUS = 1024  # glibc's cpu_set_t
INT64_MAX = (1 << 63) - 1
_SUFFIXES = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
_DIGITS = re.compile(r"-?[0-9]{1,20}")  # ASCII only, and nothing that int() would take for ever

T_co = TypeVar("T_co", covariant=True)


class ValueType(Protocol[T_co]):
    """What a Property needs of its type."""

    @property
    def qapi(self) -> str:
        """QAPI's name of the type: ``bool``, ``int``, ``uint32``, ``size``, ``str``, …"""

    def __call__(self, value: Any) -> T_co:
        """Convert; raises ValueError."""


def parse_bool(value: object) -> bool:
    """Accept on/off, yes/no, true/false and booleans.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word not in _WORDS:
        raise ValueError("must be on or off")
    return _WORDS[word]


def parse_number(value: object) -> int | None:
    """An integer, or the one that a text spells in ASCII digits; None for everything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else None


def parse_size(value: object, unit: int = 1) -> int | None:
    """Bytes of ``4G`` or ``65536k``, or of a number of ``unit`` bytes; None if it is no size."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value * unit
    if not isinstance(value, str):
        return None
    match = re.fullmatch(r"([0-9]{1,19})([bBkKmMgGtT]?)", value)
    return int(match[1]) * (_SUFFIXES[match[2].lower()] if match[2] else unit) if match else None


def host_cpu(value: object) -> int:
    """A CPU number of the host, or -1 for any. Whether it exists shows when a thread starts.

    Raises:
        ValueError: not such a number.
    """
    number = parse_number(value)
    if number is None or not -1 <= number < MAX_HOST_CPUS:
        raise ValueError(f"'{value}' is not a CPU number below {MAX_HOST_CPUS}, or -1")
    return number


@dataclass(frozen=True)
class Boolean:
    """on or off."""

    qapi: str = "bool"

    def __call__(self, value: object) -> bool:
        """Convert; raises ValueError."""
        return parse_bool(value)


@dataclass(frozen=True)
class Integer:
    """A whole number from ``low`` to ``high``."""

    low: int = -INT64_MAX - 1
    high: int = INT64_MAX
    qapi: str = "int"
    power_of_two: bool = False

    def __call__(self, value: object) -> int:
        """Convert; raises ValueError."""
        number = parse_number(value)
        if number is None or not self.low <= number <= self.high or not self._shape(number):
            what = "power of two" if self.power_of_two else "number"
            raise ValueError(f"must be a {what} from {self.low} to {self.high}")
        return number

    def _shape(self, number: int) -> bool:
        return not self.power_of_two or (number > 0 and not number & (number - 1))


@dataclass(frozen=True)
class Size:
    """Bytes, with k, M, G or T after the number; a multiple of ``step``."""

    low: int = 0
    high: int = 1 << 62
    step: int = 1
    qapi: str = "size"

    def __call__(self, value: object) -> int:
        """Convert; raises ValueError."""
        size = parse_size(value)
        if size is None or not self.low <= size <= self.high or size % self.step:
            many = f"a multiple of {self.step} bytes" if self.step > 1 else "a number of bytes"
            raise ValueError(f"must be {many}, with k, M, G or T after it")
        return size


@dataclass(frozen=True)
class Text:
    """A string of at most ``max_bytes`` bytes of UTF-8."""

    max_bytes: int | None = None
    qapi: str = "string"

    def __call__(self, value: object) -> str:
        """Convert; raises ValueError."""
        if not isinstance(value, str):
            raise ValueError("must be a string")
        if "\0" in value:
            raise ValueError("must be a string without NUL characters")
        if self.max_bytes is not None and len(value.encode(errors="replace")) > self.max_bytes:
            raise ValueError(f"must be at most {self.max_bytes} bytes long")
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few words, an enum of QAPI."""

    words: tuple[str, ...]
    qapi: str

    def __call__(self, value: object) -> str:
        """Convert; raises ValueError."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}")
        return value


@dataclass(frozen=True)
class HostCpu:
    """A CPU number of the host, or -1 for any."""

    qapi: str = "int"

    def __call__(self, value: object) -> int:
        """Convert; raises ValueError."""
        return host_cpu(value)


def qapi_name(convert: Callable[[Any], object], default: object) -> str:
    """QAPI's name of a value type; of a plain function, that of the default value."""
    name = getattr(convert, "qapi", None)
    if isinstance(name, str):
        return name
    if isinstance(default, bool):
        return "bool"
    return "int" if isinstance(default, int) else "string"


def shown(value: object) -> str:
    """A value as an error message quotes it, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
