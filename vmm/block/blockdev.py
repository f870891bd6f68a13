# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP's ``blockdev-add`` options: parsed, checked and frozen before anything is opened.

Source: BlockdevOptions of QEMU's qapi/block-core.json, as far as there is a backend here. The
driver ``filter`` is our own: it delays and fails requests as ``--drive delay-us=,error-every=``
does.
"""

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmm.block.backend import FileOptions
from vmm.block.qapi import Fields
from vmm.errors import KeyedError, VmmError

DRIVERS = ("file", "filter", "host_device", "null-aio", "null-co", "raw")
_SECTOR = 512
_MAX_SIZE = 1 << 62
_MAX_NS = 60_000_000_000
_MAX_DEPTH = 8
_ERRNOS = {name: code for code, name in errno.errorcode.items()}
_NODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,30}")


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """One node. Sizes in bytes, times in ns (null) and us (filter).

    Attributes:
        child: name of an existing node, or options of a new one (raw, filter).
        read_only: None: not said, a child's is its parent's.
    """

    driver: str
    name: str | None
    read_only: bool | None = None
    auto_read_only: bool = False
    direct: bool = False
    file: FileOptions | None = None
    size: int = 1 << 30
    latency_ns: int = 0
    delay_us: int = 0
    error_every: int = 0
    error_errno: int = errno.EIO
    child: "str | NodeOptions | None" = None


def parse_blockdev(options: Mapping[str, Any], *, text: bool = False) -> NodeOptions:
    """Check the arguments of ``blockdev-add``, ``-blockdev`` or ``[[blockdev]]``.

    Args:
        options: by QAPI's names, nested.
        text: booleans and numbers may be text, as on a command line.

    Raises:
        VmmError: in QEMU's words, where QEMU has them.
    """
    parsed = _parse(Fields(options, text=text), depth=0)
    if parsed.name is None:
        raise VmmError("'node-name' must be specified for the root node")
    return parsed


def _parse(fields: Fields, depth: int) -> NodeOptions:
    if depth > _MAX_DEPTH:
        raise VmmError(f"block nodes are nested more than {_MAX_DEPTH} deep")
    driver = fields.need("driver", str)
    if driver not in DRIVERS:
        text = f"Parameter 'driver' does not accept value '{driver}' (known: {', '.join(DRIVERS)})"
        raise KeyedError(text, "driver")
    common = _common(fields)
    if driver in ("file", "host_device"):
        parsed = _file(fields, driver, common)
    elif driver in ("null-co", "null-aio"):
        parsed = _null(fields, driver, common)
    else:
        parsed = _over_a_child(fields, driver, common, depth)
    fields.finish()
    return parsed


def _common(fields: Fields) -> dict[str, Any]:
    name = fields.take("node-name", str, "") or None
    if name is not None and not _NODE_NAME.fullmatch(name):
        raise KeyedError(f"Invalid node-name: '{name}'", "node-name")
    fields.choice("detect-zeroes", "off", ("off",))
    if fields.take("force-share", bool, False):
        raise VmmError("force-share=on can only be used with read-only images, and not here")
    read_only = fields.take("read-only", bool, False) if "read-only" in fields else None
    return {
        "name": name,
        "read_only": read_only,
        "auto_read_only": fields.take("auto-read-only", bool, False),
    }


def _file(fields: Fields, driver: str, common: dict[str, Any]) -> NodeOptions:
    cache = fields.child("cache")
    filename = fields.need("filename", str)
    if not filename or "\0" in filename:
        raise KeyedError("Parameter 'filename' is not the name of a file", "filename")
    aio = fields.choice("aio", "io_uring", ("io_uring", "threads", "native"))
    if aio == "native":
        raise KeyedError("aio=native was specified, but is not supported in this build.", "aio")
    direct = cache.take("direct", bool, False)
    file = FileOptions(
        filename=filename,
        direct=direct,
        no_flush=cache.take("no-flush", bool, False),
        aio=aio,
        discard=fields.choice("discard", "ignore", ("ignore", "unmap")) == "unmap",
        locking=fields.choice("locking", "auto", ("auto", "on", "off")) != "off",
    )
    cache.finish()
    return NodeOptions(driver=driver, file=file, direct=direct, **common)


def _null(fields: Fields, driver: str, common: dict[str, Any]) -> NodeOptions:
    fields.take("read-zeroes", bool, True)  # reads give zeroes, asked for or not
    size = fields.natural("size", 1 << 30, _MAX_SIZE)
    if size == 0 or size % _SECTOR:
        raise KeyedError(f"Parameter 'size' expects a multiple of {_SECTOR} above 0", "size")
    latency = fields.natural("latency-ns", 0, _MAX_NS)
    fields.choice("discard", "ignore", ("ignore", "unmap"))
    _plain_cache(fields)
    return NodeOptions(driver=driver, size=size, latency_ns=latency, **common)


def _plain_cache(fields: Fields) -> None:
    """Accept what a node without a cache of its own is told about it; clients repeat it."""
    cache = fields.child("cache")
    cache.take("direct", bool, False)
    cache.take("no-flush", bool, False)
    cache.finish()


def _over_a_child(fields: Fields, driver: str, common: dict[str, Any], depth: int) -> NodeOptions:
    _plain_cache(fields)
    fields.choice("discard", "ignore", ("ignore", "unmap"))
    own: dict[str, Any] = {}
    if driver == "filter":
        own["delay_us"] = fields.natural("delay-us", 0, _MAX_NS // 1000)
        own["error_every"] = fields.natural("error-every", 0, (1 << 31) - 1)
        word = fields.take("error-errno", str, "EIO")
        if word not in _ERRNOS:
            raise VmmError(f"Parameter 'error-errno' does not accept value '{word}'")
        own["error_errno"] = _ERRNOS[word]
    child = fields.reference("file")
    parsed = child if isinstance(child, str) else _parse(child, depth + 1)
    return NodeOptions(driver=driver, child=parsed, **own, **common)
