# SPDX-License-Identifier: GPL-2.0-or-later
"""One QMP client, without its socket: bytes in, requests out; what is sent back is made here.

Source: QEMU's docs/interop/qmp-spec.rst and monitor/qmp.c.

    feed(bytes) -> next() -> Request --oob--> answered at once, may overtake
                                     '------> one of at most QUEUE_LENGTH, answered in order
    done()  gives its place back; as long as there is none, nothing more is read

Rules
 1. In-band requests are answered in order, errors of syntax among them.
 2. Without the capability ``oob`` one request is in flight at most: the next one is not even
    looked at, as in QEMU, since the client may yet be negotiating.
 3. Everything that is sent ends in CRLF and is ASCII.
"""

import json
from dataclasses import dataclass
from typing import Any

from vmm.monitor.errors import MonitorError
from vmm.monitor.json_stream import JsonStream, Parsed

QUEUE_LENGTH = 8
QEMU_VERSION = (10, 2, 2)
"""Version of QEMU (major, minor, micro) whose protocol this is; clients choose their ways by it."""


def version_info(package: str) -> dict[str, Any]:
    """QAPI's VersionInfo: the protocol's version, and ``package``, who really answers."""
    major, minor, micro = QEMU_VERSION
    return {"qemu": {"micro": micro, "minor": minor, "major": major}, "package": package}


def encode(message: dict[str, Any]) -> bytes:
    """A message on the wire."""
    return json.dumps(message, allow_nan=False).encode("ascii") + b"\r\n"


def error_reply(error: MonitorError) -> dict[str, Any]:
    """The answer to a request that failed, without its id."""
    return {"error": {"class": error.error_class.value, "desc": str(error)}}


@dataclass(frozen=True)
class Request:
    """One message of the client: a value, or ``error``, why it is none."""

    value: Any
    error: str | None = None

    @property
    def out_of_band(self) -> bool:
        """Whether it is to be run at once, in the monitor's thread."""
        return isinstance(self.value, dict) and "exec-oob" in self.value and not self._in_band

    @property
    def _in_band(self) -> bool:
        return "execute" in self.value

    def reply(self, reply: dict[str, Any]) -> bytes:
        """The answer on the wire, with the request's id if it has one."""
        if isinstance(self.value, dict) and "id" in self.value:
            reply = reply | {"id": self.value["id"]}
        return encode(reply)


class Session:
    """The state of one client. ``negotiated`` and ``oob`` are set by qmp_capabilities."""

    def __init__(self, package: str) -> None:
        self.negotiated = False
        self.oob = False
        self._package = package
        self._stream = JsonStream()
        self._in_flight = 0

    def greeting(self) -> bytes:
        """What the client is told first."""
        version = version_info(self._package)
        return encode({"QMP": {"version": version, "capabilities": ["oob"]}})

    def feed(self, data: bytes) -> None:
        """Take bytes, even if :attr:`full`: they are kept."""
        self._stream.feed(data)

    @property
    def full(self) -> bool:
        """Whether no more requests are taken until :meth:`done`."""
        return self._in_flight >= (QUEUE_LENGTH if self.oob else 1)

    @property
    def wants_bytes(self) -> bool:
        """Whether to go on reading the socket."""
        return not (self.full or self._stream.pending)

    def next(self) -> Request | None:
        """The next request; None when it needs bytes, or :attr:`full`."""
        if self.full:
            return None
        parsed = self._stream.next()
        if parsed is None:
            return None
        request = _request(parsed)
        if not request.out_of_band:
            self._in_flight += 1
        return request

    def done(self) -> None:
        """An in-band request was answered."""
        self._in_flight -= 1


def _request(parsed: Parsed) -> Request:
    return Request(parsed.value, str(parsed.error) if parsed.error is not None else None)
