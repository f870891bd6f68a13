# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's ``-vnc`` syntax: ``:1,password=on,websocket=on``.

Two differences from QEMU, both for safety: a bare ``:N`` listens on the loopback address only, and
an address that others reach needs authentication, or ``insecure=on``.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from vmm.errors import VmmError
from vmm.qom import parse_bool

VNC_BASE_PORT = 5900
WEBSOCKET_BASE_PORT = 5700
LOOPBACK = "127.0.0.1"
ANONYMOUS = "anon"
"""``tls-creds=anon``: encrypted, but nobody knows with whom (anonymous key exchange, TLS 1.2)."""
_MAX_PORT = 65535


class EncodeIn(Enum):
    """Where updates are encoded: in vnc_worker off the BQL, or in the main loop under it."""

    WORKER = "worker"
    MAIN_LOOP = "mainloop"


class Share(Enum):
    """What happens when clients meet: QEMU's VncSharePolicy."""

    ALLOW_EXCLUSIVE = "allow-exclusive"
    FORCE_SHARED = "force-shared"
    IGNORE = "ignore"


@dataclass(frozen=True)
class TcpAddress:
    """Listen on the first free port of ``port`` to ``last``."""

    host: str
    port: int
    last: int

    def is_loopback(self) -> bool:
        """Whether only this host reaches it. A name other than localhost counts as no."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class UnixAddress:
    """A socket in the file system, for its owner alone (mode 0600)."""

    path: Path

    def is_loopback(self) -> bool:
        """True: the file's mode decides who reaches it."""
        return True

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


@dataclass(frozen=True, kw_only=True)
class VncOptions:
    """One ``--vnc``. ``address`` None: ``none``, nothing listens until a monitor says so."""

    text: str
    address: Address | None
    websocket: Address | None = None
    websocket_follows: bool = False
    """``websocket=on``: its port is that of the display in use, counted from 5700."""
    password: bool = False
    password_file: Path | None = None
    tls_creds: str | None = None
    verify_peer: bool = True
    share: Share = Share.ALLOW_EXCLUSIVE
    lock_key_sync: bool = True
    lossy: bool = False
    connections: int = 32
    insecure: bool = False
    id: str = field(default="default")

    @property
    def authenticated(self) -> bool:
        """Whether a client must prove who it is: a password, or a certificate of its own."""
        with_certificate = self.tls_creds not in (None, ANONYMOUS) and self.verify_peer
        return self.password or with_certificate


def parse_displays(texts: tuple[str, ...]) -> tuple[VncOptions, ...]:
    """All ``--vnc`` strings; their ids are QEMU's, ``default``, ``vnc2`` and so on.

    Raises:
        VmmError: one of them is wrong, or two have one id.
    """
    displays: list[VncOptions] = []
    for number, text in enumerate(texts, 1):
        display = parse_vnc(text, "default" if number == 1 else f"vnc{number}")
        if any(each.id == display.id for each in displays):
            raise VmmError(f"--vnc {text}: there is another display with the id '{display.id}'")
        displays.append(display)
    return tuple(displays)


def parse_vnc(text: str, display_id: str = "default") -> VncOptions:
    """Parse one ``--vnc``.

    Raises:
        VmmError: not of that form, or an open door; the message names the way out.
    """
    try:
        return _parse(text, display_id)
    except ValueError as error:
        raise VmmError(f"--vnc {text}: {error}") from None


def _parse(text: str, display_id: str) -> VncOptions:
    # QEMU's way to have a comma in a value is to write it twice.
    first, *rest = (part.replace("\0", ",") for part in text.replace(",,", "\0").split(","))
    values = _pairs(rest)
    last = values.pop("to", None)
    address = None if first == "none" else _address(first, last)
    if address is None and last is not None:
        raise ValueError("to= needs a display number before it")
    if "non-adaptive" in values:  # encodings here adapt to nothing, so either is how it is
        _boolean(values.pop("non-adaptive"))
    websocket, follows = _websocket(values.pop("websocket", None), address)
    fields = {
        name: convert(values.pop(key)) for key, (name, convert) in _FIELDS.items() if key in values
    }
    if values:
        known = ", ".join(sorted([*_FIELDS, "to", "websocket"]))
        raise ValueError(f"unknown option '{next(iter(values))}' (known: {known})")
    fields.setdefault("id", display_id)
    if fields.get("password_file"):
        fields["password"] = True
    options = VncOptions(
        text=text, address=address, websocket=websocket, websocket_follows=follows, **fields
    )
    _check(options)
    return options


def _pairs(parts: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if key in values:
            raise ValueError(f"'{key}' is there twice")
        if not key:
            raise ValueError("expected option=value after the comma")
        values[key] = value if equals else "on"  # QEMU's old short form: ",password"
    return values


def _address(text: str, last: str | None) -> Address:
    if text.startswith("unix:"):
        if last is not None:
            raise ValueError("to= is for display numbers")
        return _unix(text)
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%a-z]+\]|[^:\[\]]*):([0-9]{1,5})", text)
    if match is None:
        raise ValueError("expected :N, HOST:N, unix:PATH or none")
    number = int(match[2])
    end = number if last is None else _number("to", last, number, _MAX_PORT - VNC_BASE_PORT)
    if number > _MAX_PORT - VNC_BASE_PORT:
        raise ValueError(f"display {number}: must be from 0 to {_MAX_PORT - VNC_BASE_PORT}")
    host = match[1].strip("[]") or LOOPBACK
    return TcpAddress(host, VNC_BASE_PORT + number, VNC_BASE_PORT + end)


def _unix(text: str) -> UnixAddress:
    path = text.removeprefix("unix:")
    if not path or "\0" in path:
        raise ValueError("expected unix:PATH")
    return UnixAddress(Path(path))


def _websocket(text: str | None, address: Address | None) -> tuple[Address | None, bool]:
    """The WebSocket's address, and whether it follows the display's number."""
    if text is None or text == "off":
        return None, False
    if text == "on":
        if not isinstance(address, TcpAddress):
            raise ValueError("websocket=on needs a display number; say websocket=PORT or a path")
        shift = VNC_BASE_PORT - WEBSOCKET_BASE_PORT
        return TcpAddress(address.host, address.port - shift, address.last - shift), True
    if text.startswith(("unix:", "/")):
        return _unix(text), False
    host = address.host if isinstance(address, TcpAddress) else LOOPBACK
    if ":" in text:
        host, _, text = text.rpartition(":")
        host = host.strip("[]") or LOOPBACK
    port = _number("websocket", text, 1, _MAX_PORT)
    return TcpAddress(host, port, port), False


def _number(name: str, text: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise ValueError(f"{name}={text} must be a number from {low} to {high}")
    return int(text)


def _boolean(text: str) -> bool:
    try:
        return parse_bool(text)
    except ValueError:
        raise ValueError(f"'{text}' is neither on nor off") from None


def _share(text: str) -> Share:
    try:
        return Share(text)
    except ValueError:
        words = ", ".join(each.value for each in Share)
        raise ValueError(f"share={text} must be one of {words}") from None


def _connections(text: str) -> int:
    return _number("connections", text, 1, 1024)


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,63}", text):
        raise ValueError(f"id={text} must be a letter, then letters, digits, '-', '.' or '_'")
    return text


_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "password": ("password", _boolean),
    "password-file": ("password_file", Path),
    "tls-creds": ("tls_creds", str),
    "verify-peer": ("verify_peer", _boolean),
    "share": ("share", _share),
    "lock-key-sync": ("lock_key_sync", _boolean),
    "lossy": ("lossy", _boolean),
    "connections": ("connections", _connections),
    "insecure": ("insecure", _boolean),
    "id": ("id", _identifier),
}


def _check(options: VncOptions) -> None:
    """Refuse what would be an open door, and combinations without a meaning."""
    if options.tls_creds == "":
        raise ValueError("tls-creds= needs a directory, or anon")
    if options.authenticated or options.insecure:
        return
    for address in (options.address, options.websocket):
        if address is not None and not address.is_loopback():
            raise ValueError(
                f"whoever reaches {address} gets screen and keyboard: add password=on or "
                "tls-creds=DIR with verify-peer=on, or accept that with insecure=on"
            )
