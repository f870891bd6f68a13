# SPDX-License-Identifier: GPL-2.0-or-later
"""One client's socket: an asyncio protocol that feeds layers and session and watches its limits.

Memory of a connection is bounded by: what the session keeps (one message), what the transport has
not sent (``room`` decides about new updates, and a client that asks faster than it reads is not
read from), and time (handshake, a socket that does not drain, a close that does not end).

The main loop's time is bounded as well, for it has the BQL meanwhile: a client that floods is read
a little at a time, and what that says is obeyed for SLICE_SECONDS before everybody else has a turn.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vmm.display.rfb import events
from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.layers import LayerStack
from vmm.display.rfb.session import RfbSession
from vmm.display.rfb.tls import TlsLayer
from vmm.display.rfb.websocket import WebSocketLayer
from vmm.display.vnc.info import Endpoint, endpoint

READ_BYTES = 4096
"""Taken from the socket at once, as in QEMU; asyncio's own 256 KiB are 40 000 messages."""
WEBSOCKET_READ_BYTES = 512
"""The same of a WebSocket, where an empty frame of six bytes costs wsproto some 30 µs."""
SLICE_SECONDS = 0.002
"""How long messages of one client are obeyed before the main loop goes on."""
MIN_ROOM = 1 << 20
"""Bytes that may wait for the socket before updates pause; a whole frame if that is more."""


@dataclass(frozen=True)
class Limits:
    """Seconds."""

    handshake: float = 30.0
    """From the connection to ClientInit."""
    stall: float = 30.0
    """How long a socket may take nothing while something waits for it."""
    refusal_delay: float = 1.0
    """Between a wrong password and the answer."""
    close: float = 5.0
    """For the last bytes to leave."""


@dataclass(frozen=True)
class Transport:
    """How clients of a listening socket talk. tls: context for VeNCrypt, or for wss."""

    websocket: bool
    any_origin: bool
    tls: ssl.SSLContext | None


class Owner(Protocol):
    """Who is told what happens on a connection."""

    def connected(self) -> None:
        """The addresses are known."""

    def handle(self, event: events.Event) -> None:
        """The client did something. Raises RfbError to end the connection."""

    def drained(self) -> None:
        """There is room again."""

    def disconnected(self, reason: str) -> None:
        """It has ended. Called once, after ``connected``."""


class Connection(asyncio.BufferedProtocol):
    """See the module. All methods run in the main loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        session: RfbSession,
        how: Transport,
        limits: Limits,
        owner: Owner,
    ) -> None:
        self.session = session
        self.closing = False
        self.bytes_sent = 0
        self.peer = self.local = Endpoint("", "", "unknown", how.websocket)
        self._loop, self._how, self._limits, self._owner = loop, how, limits, owner
        self._layers = LayerStack()
        self._tls: TlsLayer | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reason = "closed by the client"
        self._room = MIN_ROOM
        self._read_buffer = bytearray(WEBSOCKET_READ_BYTES if how.websocket else READ_BYTES)
        self._reading = True
        self._overloaded = False
        self._refused = False
        self._rest: asyncio.Handle | None = None
        """The turn in which the messages that are stored are obeyed, if there is to be one."""
        self._drained_bytes, self._drained_at = 0, 0.0

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        websocket = self._how.websocket
        self.peer = endpoint(sock.family, transport.get_extra_info("peername"), websocket)
        self.local = endpoint(sock.family, transport.get_extra_info("sockname"), websocket)
        self._drained_at = self._loop.time()
        self.set_room(0)
        if websocket:
            if self._how.tls is not None:
                self._push_tls(self._how.tls)
            self._layers.push(WebSocketLayer(self._how.any_origin))
        self._after(self._limits.handshake, lambda: self.abort("the handshake took too long"))
        self._owner.connected()
        self._guarded(self._flush)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where asyncio puts what it reads next."""
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """It has read something."""
        self.data_received(bytes(self._read_buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Bytes from the socket."""
        if self.closing or self._refused:
            return
        self._guarded(lambda: self._feed(self._layers.receive(data)))
        self._choose_reading()

    def pause_writing(self) -> None:
        """More than ``room`` waits."""

    def resume_writing(self) -> None:
        """The socket has taken most of what waited."""
        if self.closing:
            return
        self._overloaded = False
        self._guarded(self._owner.drained)
        self._choose_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        if exc is not None and not self.closing:
            self._reason = str(exc)
        self.closing = True
        self._transport = None
        self._cancel_timer()
        if self._rest is not None:
            self._rest.cancel()
        self._owner.disconnected(self._reason)
        self._layers, self._tls = LayerStack(), None

    # For the owner.

    @property
    def has_room(self) -> bool:
        """Whether another update may be made."""
        return not self.closing and self._backlog() <= self._room

    @property
    def x509_dname(self) -> str | None:
        """The distinguished name of the client's certificate."""
        return self._tls.peer_name() if self._tls is not None else None

    def set_room(self, frame_bytes: int) -> None:
        """Let about one frame of that many bytes wait for the socket."""
        self._room = max(frame_bytes, MIN_ROOM)
        if self._transport is not None and not self.closing:
            self._transport.set_write_buffer_limits(self._room, self._room // 2)

    def start(self, width: int, height: int, name: str) -> None:
        """Answer ClientInit; the handshake is over."""
        self.session.start(width, height, name)
        self._cancel_timer()
        self._flush()

    def send(self, data: bytes) -> None:
        """Send server messages; after close() nothing."""
        if not self.closing and data:
            self._layers.send(data)
            self._write()

    def close(self, reason: str) -> None:
        """Send what there is to send and end the connection."""
        if self.closing or self._transport is None:
            return
        self.closing = True
        self._reason = reason
        self._layers.send(self.session.data_to_send())
        self._layers.close()
        self._write()
        self._transport.close()
        self._after(self._limits.close, self._abort)

    def abort(self, reason: str) -> None:
        """End the connection; what waits is lost."""
        if not self.closing:
            self.closing = True
            self._reason = reason
            self._abort()

    def check_stall(self) -> None:
        """Drop a client whose socket takes nothing although something waits."""
        now = self._loop.time()
        backlog = self._backlog()
        drained = self.bytes_sent - backlog
        if not backlog or drained != self._drained_bytes:
            self._drained_bytes, self._drained_at = drained, now
        elif now - self._drained_at > self._limits.stall:
            self.abort("it does not read what it is sent")

    # Inside.

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run; a broken protocol ends the connection, with the last words of each layer."""
        try:
            action()
        except RfbError as error:
            try:
                self.close(str(error))
            except RfbError:  # not even that fits: a layer's handshake is not done
                self._write()
                self._abort()

    def _feed(self, data: bytes) -> None:
        session = self.session
        session.receive_data(data)
        end = self._loop.time() + SLICE_SECONDS
        while not self.closing and (event := session.next_event()) is not None:
            if isinstance(event, events.StartTls):
                self._flush()  # the answer before TLS is in plain text
                assert self._how.tls is not None
                session.receive_data(self._push_tls(self._how.tls, session.take_rest()))
            elif isinstance(event, events.AuthenticationFailed):
                self._refuse(event.reason)
                return
            else:
                self._owner.handle(event)
                if self._loop.time() >= end:
                    self._flush()
                    self._rest = self._rest or self._loop.call_soon(self._obey_rest)
                    return
        if not self.closing:
            self._flush()
        if (reason := self._layers.ended) is not None:
            self.close(reason)

    def _obey_rest(self) -> None:
        self._rest = None
        self._guarded(lambda: self._feed(b""))
        self._choose_reading()

    def _push_tls(self, context: ssl.SSLContext, rest: bytes = b"") -> bytes:
        self._tls = TlsLayer(context)
        data = self._layers.push_and_feed(self._tls, rest)
        self._write()
        return data

    def _refuse(self, reason: str) -> None:
        """Answer later: it costs who guesses time, and nobody else anything."""
        self._refused = True
        self._choose_reading()
        self._after(self._limits.refusal_delay, lambda: self._guarded(lambda: self.close(reason)))

    def _flush(self) -> None:
        self.send(self.session.data_to_send())
        self._write()

    def _write(self) -> None:
        for data in self._layers.take_output():
            # Where a write has failed asyncio closes in its next turn, and complains until then.
            if self._transport is not None and not self._transport.is_closing():
                self.bytes_sent += len(data)
                self._transport.write(data)

    def _backlog(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def _choose_reading(self) -> None:
        """Read on, unless what has been read is enough for now."""
        if self._backlog() > 2 * self._room + MIN_ROOM:
            self._overloaded = True  # it asks faster than it reads the answers
        reading = not (self._overloaded or self._refused or self._rest is not None)
        if self._transport is None or self.closing or reading == self._reading:
            return
        self._reading = reading
        (self._transport.resume_reading if reading else self._transport.pause_reading)()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        """One timer at a time: handshake, then refusal or close."""
        self._cancel_timer()
        self._timer = self._loop.call_later(seconds, action)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
