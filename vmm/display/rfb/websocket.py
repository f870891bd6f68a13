# SPDX-License-Identifier: GPL-2.0-or-later
"""A WebSocket server as a layer (RFC 6455), so that noVNC connects without a proxy.

wsproto has the protocol; here is what this server wants of it: binary messages as a byte stream,
pings answered, no extension, bounded requests, and no access from strangers' web pages.
"""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from vmm.display.rfb.errors import RfbError

SUBPROTOCOL = "binary"
"""What old noVNC and websockify ask for; new ones ask for none."""
MAX_REQUEST_BYTES = 16 * 1024
"""Of the HTTP request and its headers."""
_MAX_HELD = 1 << 16


def is_loopback_origin(origin: str) -> bool:
    """Whether a web page's origin is this host: localhost or a loopback address."""
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class WebSocketLayer:
    """The server's side of a WebSocket connection.

    Args:
        any_origin: let pages of any web site connect. Without a password, a page that somebody
            merely looks at could otherwise reach the screen through the browser on this host.
    """

    def __init__(self, any_origin: bool) -> None:
        self._ws = WSConnection(ConnectionType.SERVER)
        self.ended: str | None = None
        self._any_origin = any_origin
        self._open = False
        self._request_bytes = 0
        self._held: list[bytes] = []
        self._output = bytearray()

    def receive(self, data: bytes) -> bytes:
        """Decode frames. Raises RfbError: no WebSocket request, or a message that is text."""
        if not self._open:
            self._request_bytes += len(data)
            if self._request_bytes > MAX_REQUEST_BYTES:
                raise RfbError(f"WebSocket: a request of more than {MAX_REQUEST_BYTES} bytes")
        try:
            self._ws.receive_data(data)
            return b"".join(self._handle(event) for event in self._ws.events())
        except RemoteProtocolError as error:
            self._reject(error)
            raise RfbError(f"WebSocket: {error}") from None
        except UnicodeError:  # headers that are not text
            raise RfbError("WebSocket: a header that is not text") from None

    def _handle(self, event: Event) -> bytes:
        if isinstance(event, BytesMessage):
            return bytes(event.data)
        if isinstance(event, Request):
            self._accept(event)
        elif isinstance(event, Ping):
            self._output += self._ws.send(event.response())
        elif isinstance(event, TextMessage):
            self._say_goodbye(CloseReason.UNSUPPORTED_DATA)
            raise RfbError("WebSocket: a text message; RFB is binary")
        elif isinstance(event, CloseConnection):
            # The client's wish, or a broken frame that wsproto turned into a reason.
            self._say_goodbye(event.code)
            self.ended = f"WebSocket: closed ({event.reason or int(event.code)})"
        return b""

    def _accept(self, request: Request) -> None:
        origins = _values(request.extra_headers, b"origin")
        if not self._any_origin and not all(map(is_loopback_origin, origins)):
            self._output += self._ws.send(RejectConnection(status_code=403))
            raise RfbError(f"WebSocket: pages of {origins[0]!r} may not connect without a password")
        chosen = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
        self._output += self._ws.send(AcceptConnection(subprotocol=chosen))
        self._open = True
        for data in self._held:
            self._output += self._ws.send(BytesMessage(data=data))
        self._held.clear()

    def _reject(self, error: RemoteProtocolError) -> None:
        """Tell the peer, in HTTP before the upgrade and in a close frame after it."""
        if self._open:
            self._say_goodbye(CloseReason.PROTOCOL_ERROR)
        elif isinstance(error.event_hint, RejectConnection):
            hint = error.event_hint
            answers: list[Event] = [hint]
            if hint.has_body:
                answers.append(RejectData(data=b""))
            self._output += b"".join(map(self._ws.send, answers))

    def _say_goodbye(self, code: int) -> None:
        try:
            self._output += self._ws.send(CloseConnection(code=code))
        except LocalProtocolError:  # it is closed already
            return

    def send(self, data: bytes) -> bytes:
        """One binary message; before the upgrade the data waits for it."""
        if not self._open:
            if sum(map(len, self._held)) + len(data) > _MAX_HELD:
                raise RfbError("WebSocket: the handshake does not end")
            self._held.append(data)
            return b""
        try:
            return self._ws.send(BytesMessage(data=data))
        except LocalProtocolError:  # closing: the rest is not wanted
            return b""

    def take_output(self) -> bytes:
        """Handshake, pongs, close frames."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def close(self) -> bytes:
        """A close frame."""
        if self._open:
            self._say_goodbye(CloseReason.NORMAL_CLOSURE)
        return self.take_output()


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]
