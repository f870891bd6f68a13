# SPDX-License-Identifier: GPL-2.0-or-later
"""``-blockdev`` and ``blockdev-add``: QEMU's block node options (QAPI's BlockdevOptions).

A raw image is one node here. A ``raw`` format node over a ``file`` node, nested or by reference,
becomes that one node under the name of the upper.
"""

from collections.abc import Mapping

from vmm.block.options import BackendOptions, DriveError, backend_fields, backend_options
from vmm.qom.types import Integer, parse_bool

_DRIVERS = {
    "file": "file",
    "host_device": "file",
    "null": "null",
    "null-co": "null",
    "null-aio": "null",
}
_RENAMED = {"node-name": "id", "filename": "file", "read-only": "readonly"}
_FIXED = {"detect-zeroes": ("off",), "auto-read-only": ("on", "off"), "force-share": ("off",)}
"""Accepted where they ask for what is so: a node is never reopened read-only behind your back."""
_OVER = ("id", "readonly", "discard", "cache")
"""What a format node may say over its file node."""


def flatten(options: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested objects as dotted keys, as -blockdev spells them: ``cache.direct``."""
    flat: dict[str, object] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def blockdev_node(
    options: Mapping[str, object], known: Mapping[str, BackendOptions]
) -> tuple[BackendOptions, str | None]:
    """The node that a set of options describes, and the name of the known node it replaces.

    Args:
        options: as of blockdev-add; values text or JSON.
        known: nodes by name, for a reference in ``file``.

    Raises:
        DriveError: no such driver, an option that is unknown or wrong, no node-name.
    """
    flat = flatten(options)
    if not flat.get("node-name", flat.get("id")):
        raise DriveError("a block node needs a name: node-name=NAME")
    if flat.get("driver") == "raw":
        return _format_node(flat, known)
    return backend_options(_translated(flat)), None


def _format_node(
    flat: dict[str, object], known: Mapping[str, BackendOptions]
) -> tuple[BackendOptions, str | None]:
    """A raw node over a file node."""
    del flat["driver"]
    inner = {key[5:]: flat.pop(key) for key in list(flat) if key.startswith("file.")}
    reference = flat.pop("file", None)
    over = _translated(flat | {"driver": "file"})
    over.pop("driver")
    foreign = next((key for key in over if key not in _OVER), None)
    if foreign is not None:
        raise DriveError(f"{foreign}= belongs to the file below driver=raw", foreign)
    if reference is None:
        return backend_options(_translated(inner) | over), None
    if inner or not isinstance(reference, str) or reference not in known:
        names = ", ".join(known) or "none is defined"
        raise DriveError(f"file={reference}: no such block node (known: {names})", "file")
    below = known[reference]
    values = {name: getattr(below, name) for name in backend_fields()}
    return BackendOptions(**values | _over_values(over)), reference


def _over_values(over: Mapping[str, object]) -> dict[str, object]:
    """The converted values of what a format node says."""
    checked = backend_options({"driver": "file", "file": "checked with its own node", **over})
    return {key: getattr(checked, key) for key in over}


def _translated(flat: Mapping[str, object]) -> dict[str, object]:
    """QEMU's keys and values as those of backend_options(). Raises DriveError."""
    values: dict[str, object] = {}
    direct = no_flush = False
    for key, value in flat.items():
        if key == "driver":
            values["driver"] = _driver(value)
        elif key == "cache.direct":
            direct = _switch(key, value)
        elif key == "cache.no-flush":
            no_flush = _switch(key, value)
        elif key in _FIXED:
            _check_fixed(key, value)
        elif key == "latency-ns":
            values["latency-us"] = _microseconds(value)
        elif key == "locking" and value == "auto":
            values["locking"] = True
        else:
            values[_RENAMED.get(key, key)] = value
    if direct and no_flush:
        raise DriveError("cache.direct=on and cache.no-flush=on cannot be combined: leave one out")
    if direct or no_flush:
        values["cache"] = "none" if direct else "unsafe"
    return values


def _driver(value: object) -> str:
    driver = _DRIVERS.get(value) if isinstance(value, str) else None
    if driver is None:
        known = ", ".join(("raw", *_DRIVERS))
        raise DriveError(f"driver={value}: must be one of {known}; images are raw", "driver")
    return driver


def _switch(key: str, value: object) -> bool:
    try:
        return parse_bool(value)
    except ValueError as error:
        raise DriveError(f"{key}={value}: {error}", key) from None


def _check_fixed(key: str, value: object) -> None:
    word = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
    if word not in _FIXED[key]:
        raise DriveError(f"{key}={word}: must be {' or '.join(_FIXED[key])} here", key)


def _microseconds(value: object) -> int:
    try:
        nanoseconds = Integer(0, 60_000_000_000)(value)
    except ValueError as error:
        raise DriveError(f"latency-ns={value}: {error}", "latency-ns") from None
    if nanoseconds % 1000:
        raise DriveError(f"latency-ns={value}: must be a multiple of 1000", "latency-ns")
    return nanoseconds // 1000
