# SPDX-License-Identifier: GPL-2.0-or-later
"""One client's RFB connection, sans I/O: bytes in, events out; calls in, bytes out.

``receive_data`` stores, ``next_event`` parses one thing at a time, so that what the caller does
about one event (start TLS, answer ClientInit) comes before the bytes that follow it are looked at.

Rule 1  Call ``next_event`` until it returns None after each ``receive_data``; what stays stored
        then is one incomplete message, at most MAX_CUT_TEXT and a header.
Rule 2  After RfbError or AuthenticationFailed send what ``data_to_send`` has, then close.
"""

import struct

from vmm.display.pixels import NATIVE
from vmm.display.rfb import events
from vmm.display.rfb.client_messages import take_message
from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.handshake import Handshake, SecurityPolicy, Steps
from vmm.display.rfb.security import Authenticator

MAX_NAME_BYTES = 1024


class RfbSession:
    """The server's side of a connection.

    Args:
        policy: the security type to offer.
        authenticator: asked when that involves a password.
    """

    def __init__(self, policy: SecurityPolicy, authenticator: Authenticator) -> None:
        self._input = bytearray()
        self._output = bytearray()
        self._handshake = Handshake(policy, authenticator, self._output.extend)
        self._steps: Steps | None = self._handshake.run()
        self._wanted = 0
        """Bytes the handshake waits for."""
        self._waiting_for_start = False
        self._failed = False
        self._wanted = self._first_step()

    @property
    def running(self) -> bool:
        """Whether ServerInit has been sent: updates may follow."""
        return self._steps is None and not self._waiting_for_start and not self._failed

    @property
    def minor_version(self) -> int:
        """3, 7 or 8."""
        return self._handshake.minor

    @property
    def buffered(self) -> int:
        """Bytes that were received and not parsed."""
        return len(self._input)

    def receive_data(self, data: bytes) -> None:
        """Store what the client sent; a session that failed forgets it."""
        if not self._failed:
            self._input += data

    def take_rest(self) -> bytes:
        """Remove what is not parsed: after StartTls it belongs to TLS."""
        rest = bytes(self._input)
        self._input.clear()
        return rest

    def data_to_send(self) -> bytes:
        """Remove and return what the client must get."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def next_event(self) -> events.Event | None:
        """The next thing the client did; None: more bytes are needed, or start().

        Raises:
            RfbError: the client broke the protocol; the session is over.
        """
        if self._failed or self._waiting_for_start:
            return None
        try:
            event = take_message(self._input) if self._steps is None else self._handshake_event()
        except RfbError:
            self._fail()
            raise
        if isinstance(event, events.AuthenticationFailed):
            self._fail()
        return event

    def start(self, width: int, height: int, name: str) -> None:
        """Answer ClientInit with ServerInit (RFC 6143 section 7.3.2); sizes in pixels."""
        if not self._waiting_for_start:
            raise RuntimeError("start() answers ClientInit, once")
        text = name.encode()[:MAX_NAME_BYTES]
        self._output += struct.pack(">HH", width, height) + NATIVE.pack()
        self._output += struct.pack(">I", len(text)) + text
        self._waiting_for_start = False

    def _first_step(self) -> int:
        assert self._steps is not None
        wanted = next(self._steps)
        assert isinstance(wanted, int)
        return wanted

    def _handshake_event(self) -> events.Event | None:
        while self._steps is not None:
            if self._wanted > len(self._input):
                return None
            data = bytes(self._input[: self._wanted])
            del self._input[: self._wanted]
            item = self._advance(data)
            if item is not None:
                return item
        return None

    def _advance(self, data: bytes) -> events.Event | None:
        assert self._steps is not None
        item = self._steps.send(data)
        if isinstance(item, int):
            self._wanted = item
            return None
        self._wanted = 0
        if isinstance(item, events.ClientInit):  # the last thing a handshake yields
            self._steps = None
            self._waiting_for_start = True
        return item

    def _fail(self) -> None:
        self._failed = True
        self._input.clear()
