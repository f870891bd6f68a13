# SPDX-License-Identifier: GPL-2.0-or-later
"""One client of a display: what it does goes to its input, its updates, or the display."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from vmm.display.rfb import events
from vmm.display.rfb.handshake import SecurityPolicy
from vmm.display.rfb.session import RfbSession
from vmm.display.vnc.connection import Connection, Limits, Transport
from vmm.display.vnc.info import ClientInfo, ClientStatistics
from vmm.display.vnc.input import ClientInput
from vmm.display.vnc.updates import ClientUpdates


class Display(Protocol):
    """The server that a client belongs to."""

    def client_connected(self, client: "VncClient") -> None:
        """Addresses are known; it may be one client too many."""

    def client_initialised(self, client: "VncClient", shared: bool) -> bool:
        """It has authenticated. False: it may not stay, and has been told so."""

    def client_gone(self, client: "VncClient", reason: str) -> None:
        """It is no more."""

    def begin_updates(self, client: "VncClient") -> tuple[ClientUpdates, ClientInput]:
        """What a client that stays needs."""

    def input_arrived(self) -> None:
        """Somebody typed or moved: the screen is about to change."""

    def password_refusal(self, host: str) -> str | None:
        """Why this host may not try a password now."""

    def password_check(self, host: str, challenge: bytes, response: bytes) -> bool:
        """Whether the response fits."""


class VncClient:
    """A client from its connection on. Main thread, BQL held."""

    def __init__(
        self, display: Display, policy: SecurityPolicy, how: Transport, limits: Limits, loop: Any
    ) -> None:
        self._display = display
        self.connection = Connection(loop, RfbSession(policy, self), how, limits, self)
        self.updates: ClientUpdates | None = None
        """None until it has authenticated and may stay."""
        self.shared = True
        self._input: ClientInput | None = None

    def info(self) -> ClientInfo:
        """Who it is, and what it got."""
        statistics = self.updates.statistics if self.updates is not None else ClientStatistics()
        since = self.updates.since_ns if self.updates is not None else None
        return ClientInfo(self.connection.peer, self.connection.x509_dname, statistics, since)

    # As the connection's owner.

    def connected(self) -> None:
        """The addresses are known."""
        self._display.client_connected(self)

    def handle(self, event: events.Event) -> None:
        """Do what the client asks. Raises RfbError: it asked too much."""
        if isinstance(event, events.ClientInit):
            self._initialise(event.shared)
            return
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        if not isinstance(event, events.ClientFence) and self.updates is not None:
            self.updates.message_done()

    def drained(self) -> None:
        """There is room again."""
        if self.updates is not None:
            self.updates.push()

    def disconnected(self, reason: str) -> None:
        """Release what it holds."""
        if self.updates is not None:
            self.updates.cancel()
        if self._input is not None:
            self._input.release_all()
        self._display.client_gone(self, reason)
        # Megabytes, which would wait for the garbage collector: a connection and its client know
        # each other.
        self.updates = None

    # As the session's authenticator.

    def refusal(self) -> str | None:
        """Why it may not try a password now."""
        return self._display.password_refusal(self.connection.peer.host)

    def check(self, challenge: bytes, response: bytes) -> bool:
        """Whether the response fits the password."""
        return self._display.password_check(self.connection.peer.host, challenge, response)

    # Events.

    def _initialise(self, shared: bool) -> None:
        self.shared = shared
        if self._display.client_initialised(self, shared):
            self.updates, self._input = self._display.begin_updates(self)

    def _set_pixel_format(self, event: Any) -> None:
        self._running.set_format(event.format)

    def _set_encodings(self, event: Any) -> None:
        self._running.set_encodings(event.encodings)

    def _key(self, event: Any) -> None:
        self._typing.key(event)
        self._display.input_arrived()

    def _qemu_key(self, event: Any) -> None:
        self._typing.qemu_key(event)
        self._display.input_arrived()

    def _pointer(self, event: Any) -> None:
        width, height = self._running.size
        self._typing.pointer(event, width, height, self._running.relative_pointer)
        self._display.input_arrived()

    @property
    def _running(self) -> ClientUpdates:
        assert self.updates is not None  # messages follow ClientInit, or the session is broken
        return self.updates

    @property
    def _typing(self) -> ClientInput:
        assert self._input is not None
        return self._input


def _to_updates(method: Callable[[ClientUpdates, Any], None]) -> Callable[[VncClient, Any], None]:
    @functools.wraps(method)
    def call(client: VncClient, event: Any) -> None:
        method(client._running, event)

    return call


# What is not here has no effect: cut text (the guest has no clipboard), audio, xvp.
_HANDLERS: Mapping[type, Callable[[VncClient, Any], None]] = MappingProxyType(
    {
        events.SetPixelFormat: VncClient._set_pixel_format,
        events.SetEncodings: VncClient._set_encodings,
        events.KeyEvent: VncClient._key,
        events.QemuKeyEvent: VncClient._qemu_key,
        events.PointerEvent: VncClient._pointer,
        events.UpdateRequest: _to_updates(ClientUpdates.request),
        events.EnableContinuousUpdates: _to_updates(ClientUpdates.continuous),
        events.ClientFence: _to_updates(ClientUpdates.fence),
        events.SetDesktopSize: _to_updates(ClientUpdates.desktop_size),
    }
)
