# SPDX-License-Identifier: GPL-2.0-or-later
"""Who listens and who is connected, with the fields of QAPI's ui.json."""

import socket
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """One end of a connection, or a listening socket: QAPI's VncBasicInfo."""

    host: str
    service: str
    family: str
    """NetworkAddressFamily: ipv4, ipv6, unix or unknown."""
    websocket: bool

    def __str__(self) -> str:
        if self.family == "unix":
            return f"unix:{self.service}"
        return (
            f"[{self.host}]:{self.service}" if ":" in self.host else f"{self.host}:{self.service}"
        )

    def as_qapi(self) -> dict[str, Any]:
        """The fields under QAPI's names."""
        return {
            "host": self.host,
            "service": self.service,
            "family": self.family,
            "websocket": self.websocket,
        }


def endpoint(family: int, address: Any, websocket: bool) -> Endpoint:
    """An Endpoint from a socket's family and address, both as Python's socket module has them.

    Args:
        address: None of a peer that went before it was asked who it is.
    """
    if address is None:
        return Endpoint("", "", "unknown", websocket)
    if family in (socket.AF_INET, socket.AF_INET6):
        name = "ipv4" if family == socket.AF_INET else "ipv6"
        return Endpoint(str(address[0]), str(address[1]), name, websocket)
    if family == socket.AF_UNIX:
        path = address.decode(errors="replace") if isinstance(address, bytes) else str(address)
        return Endpoint("", path, "unix", websocket)
    return Endpoint("", "", "unknown", websocket)


@dataclass(frozen=True)
class ClientStatistics:
    """What a client got so far; encode_ns: time spent on encoding for it, in nanoseconds."""

    updates: int = 0
    rectangles: int = 0
    bytes: int = 0
    encode_ns: int = 0


@dataclass(frozen=True)
class ClientInfo:
    """A connected client: QAPI's VncClientInfo, and statistics."""

    peer: Endpoint
    x509_dname: str | None
    statistics: ClientStatistics
    since_ns: int | None = None
    """When it was let in, by the monotonic clock; None: not yet."""

    def as_qapi(self) -> dict[str, Any]:
        """The fields under QAPI's names; x509_dname only where there is one."""
        data = self.peer.as_qapi()
        if self.x509_dname is not None:
            data["x509_dname"] = self.x509_dname
        return data
