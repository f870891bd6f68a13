# SPDX-License-Identifier: GPL-2.0-or-later
"""VNC displays and who looks at them (qapi/ui.json)."""

import time
from typing import TYPE_CHECKING, Any

from vmm.errors import VmmError
from vmm.monitor.errors import MonitorError
from vmm.monitor.qapi import (
    BOOL,
    STR,
    Array,
    Command,
    Enum,
    Event,
    Member,
    Struct,
    optional,
)
from vmm.monitor.registry import Call

if TYPE_CHECKING:
    from vmm.display.vnc.server import VncServer

_FAMILY = Enum("NetworkAddressFamily", ("ipv4", "ipv6", "unix", "vsock", "unknown"))
_BASIC = (
    Member("host", STR, "address"),
    Member("service", STR, "port"),
    Member("family", _FAMILY),
    Member("websocket", BOOL),
)
_BASIC_INFO = Struct("VncBasicInfo", _BASIC)
_CLIENT = Struct(
    "VncClientInfo",
    (*_BASIC, optional("x509_dname", STR, "of its certificate"), optional("sasl_username", STR)),
)
_SERVER = Struct("VncServerInfo", (*_BASIC, optional("auth", STR)))
_AUTH = Enum(
    "VncPrimaryAuth",
    ("none", "vnc", "ra2", "ra2ne", "tight", "ultra", "tls", "vencrypt", "sasl"),
)
_VENCRYPT = Enum(
    "VncVencryptSubAuth",
    (
        "plain",
        "tls-none",
        "x509-none",
        "tls-vnc",
        "x509-vnc",
        "tls-plain",
        "x509-plain",
        "tls-sasl",
        "x509-sasl",
    ),
)
_HOW = (Member("auth", _AUTH), optional("vencrypt", _VENCRYPT))
_INFO = Struct(
    "VncInfo",
    (
        Member("enabled", BOOL, "there is a display"),
        optional("host", STR),
        optional("family", _FAMILY),
        optional("service", STR),
        optional("auth", STR),
        optional("clients", Array(_CLIENT)),
    ),
)
_INFO2 = Struct(
    "VncInfo2",
    (
        Member("id", STR, "of the display"),
        Member("server", Array(Struct("VncServerInfo2", (*_BASIC, *_HOW)))),
        Member("clients", Array(_CLIENT)),
        *_HOW,
        optional("display", STR),
    ),
)
_PROTOCOL = Enum("DisplayProtocol", ("vnc",))
_DISPLAY = optional("display", STR, "id of the display", "the first one")


def _events() -> tuple[Event, ...]:
    with_basic = (Member("server", _SERVER), Member("client", _BASIC_INFO))
    with_client = (Member("server", _SERVER), Member("client", _CLIENT))
    return (
        Event(
            "VNC_CONNECTED", "A client connected.", Struct("q_obj_VNC_CONNECTED-arg", with_basic)
        ),
        Event(
            "VNC_INITIALIZED",
            "A client is in.",
            Struct("q_obj_VNC_INITIALIZED-arg", with_client),
        ),
        Event(
            "VNC_DISCONNECTED",
            "A client left.",
            Struct("q_obj_VNC_DISCONNECTED-arg", with_client),
        ),
    )


def query_vnc(call: Call) -> dict[str, Any]:
    """The first display."""
    displays = call.machine.vnc
    first = displays.find(None) if displays is not None else None
    return first.query_vnc() if first is not None else {"enabled": False}


def query_servers(call: Call) -> list[dict[str, Any]]:
    """All displays."""
    displays = call.machine.vnc
    return [each.query_vnc_server() for each in displays.servers] if displays is not None else []


def _find(call: Call, display: str | None) -> "VncServer":
    """A display; VmmError if there is none."""
    displays = call.machine.vnc
    found = displays.find(display) if displays is not None else None
    if found is None:
        raise VmmError("no such display")
    return found


def _set_password(
    call: Call,
    protocol: str,
    password: str,
    connected: str = "keep",
    display: str | None = None,
) -> None:
    if connected != "keep":
        raise MonitorError("parameter 'connected' must be 'keep' when 'protocol' is 'vnc'")
    try:
        server = _find(call, display)
    except VmmError:
        raise MonitorError("Could not set password") from None
    server.set_password(password)


def _change_password(call: Call, password: str) -> None:
    _set_password(call, "vnc", password)


def _expire(call: Call, protocol: str, time: str, display: str | None = None) -> None:
    try:
        server = _find(call, display)
    except VmmError:
        raise MonitorError("Could not set password expire time") from None
    server.expire_password(_when(time))


def _when(text: str) -> float | None:
    """Seconds since the epoch: ``now``, ``+SECONDS``, ``SECONDS``; None: ``never``."""
    if text == "never":
        return None
    if text == "now":
        return 0.0
    digits = text.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise MonitorError("Parameter 'time' expects now, never, +SECONDS or SECONDS")
    return float(digits) + (time.time() if text.startswith("+") else 0.0)


EVENTS = _events()
COMMANDS = (
    Command("query-vnc", query_vnc, "The first display and its clients.", returns=_INFO),
    Command("query-vnc-servers", query_servers, "All displays and their clients.",
            returns=Array(_INFO2)),
    Command(
        "set_password",
        _set_password,
        "Change a display's password; clients that are in stay.",
        Struct(
            "SetPasswordOptions",
            (
                Member("protocol", _PROTOCOL),
                Member("password", STR, "at most 8 bytes"),
                optional(
                    "connected", Enum("SetPasswordAction", ("keep", "fail", "disconnect")),
                    "what becomes of clients that are in: only `keep`", "keep"
                ),
            ),
            tag="protocol",
            variants={"vnc": Struct("SetPasswordOptionsVnc", (_DISPLAY,))},
        ),
    ),
    Command("change-vnc-password", _change_password, "Change the first display's password.",
            (Member("password", STR, "at most 8 bytes"),)),
    Command(
        "expire_password",
        _expire,
        "Let a display's password expire.",
        Struct(
            "ExpirePasswordOptions",
            (
                Member("protocol", _PROTOCOL),
                Member("time", STR, "`now`, `never`, `+SECONDS` or seconds since the epoch"),
            ),
            tag="protocol",
            variants={"vnc": Struct("ExpirePasswordOptionsVnc", (_DISPLAY,))},
        ),
    ),
)  # fmt: skip
