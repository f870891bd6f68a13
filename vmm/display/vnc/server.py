# SPDX-License-Identifier: GPL-2.0-or-later
"""One display: where it listens, who is connected, who may stay."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from vmm.display.rfb.handshake import SecurityPolicy
from vmm.display.rfb.numbers import Security, VeNCrypt
from vmm.display.vnc import credentials
from vmm.display.vnc.acceptor import Acceptor
from vmm.display.vnc.client import VncClient
from vmm.display.vnc.connection import Connection, Limits, Transport
from vmm.display.vnc.info import ClientInfo, Endpoint, endpoint
from vmm.display.vnc.input import ClientInput
from vmm.display.vnc.jobs import JobSink
from vmm.display.vnc.listen import listen
from vmm.display.vnc.options import Share, VncOptions
from vmm.display.vnc.password import Password
from vmm.display.vnc.ports import InputRouter
from vmm.display.vnc.rectangles import Tiles
from vmm.display.vnc.screen import ScreenWatch
from vmm.display.vnc.updates import ClientUpdates
from vmm.errors import VmmError
from vmm.events import EventBus

log = logging.getLogger("vmm.vnc")

WATCH_SECONDS = 1.0
"""How often sockets that do not drain are looked for."""
_SUBTYPE_NAMES: Mapping[VeNCrypt, str] = {
    VeNCrypt.TLS_NONE: "tls-none",
    VeNCrypt.TLS_VNC: "tls-vnc",
    VeNCrypt.X509_NONE: "x509-none",
    VeNCrypt.X509_VNC: "x509-vnc",
}


class VncServer:
    """A VNC display. Main thread, BQL held.

    Args:
        options: what ``--vnc`` said.
        watch: the screen, shared by all displays of a console.
        router: where input goes.
        loop: the main loop.
        events: who is told of clients.
        jobs: where updates are encoded.
        limits: seconds that things may take.

    Raises:
        VmmError: certificates or the password file are not good.
    """

    def __init__(
        self,
        options: VncOptions,
        watch: ScreenWatch,
        router: InputRouter,
        loop: asyncio.AbstractEventLoop,
        events: EventBus,
        jobs: JobSink,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.options = options
        self.id = options.id
        self._watch, self._router, self._loop = watch, router, loop
        self._events, self._jobs, self._limits = events, jobs, limits
        self._tls = credentials.tls_context(options)
        self._password = Password(loop.time)
        if options.password_file is not None:
            self._password.read(options.password_file)
        self._acceptors: list[tuple[Acceptor, Transport]] = []
        self._clients: list[VncClient] = []
        self._timer: asyncio.TimerHandle | None = None

    # Life.

    def start(self) -> None:
        """Listen. Raises VmmError: an address cannot be had; then nothing listens."""
        self._watch.add(self)
        try:
            self._listen()
        except VmmError:
            self.close()
            raise

    def _listen(self) -> None:
        offset = None
        if self.options.address is not None:
            # A WebSocket inside TLS needs no VeNCrypt, so each kind of client has its own way.
            plain = Transport(websocket=False, any_origin=True, tls=self._tls)
            offset = self._accept_on(self.options.address, plain, None)
        if self.options.websocket is not None:
            any_origin = self.options.authenticated
            how = Transport(websocket=True, any_origin=any_origin, tls=self._tls)
            follow = offset if self.options.websocket_follows else None
            self._accept_on(self.options.websocket, how, follow)

    def _accept_on(self, address: Any, how: Transport, offset: int | None) -> int:
        listener = listen(address, offset)
        acceptor = Acceptor(self._loop, listener, lambda: self._new_client(how))
        self._acceptors.append((acceptor, how))
        return listener.offset

    def close(self) -> None:
        """Stop listening and drop all clients. Idempotent."""
        for acceptor, _ in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        for client in tuple(self._clients):
            client.connection.abort("the display is closed")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watch.remove(self)

    # For monitors.

    @property
    def addresses(self) -> list[Endpoint]:
        """Where it listens; with port 0 replaced by what the host chose."""
        return [
            endpoint(each.family, each.getsockname(), how.websocket)
            for acceptor, how in self._acceptors
            for each in acceptor.listener.sockets
        ]

    @property
    def auth(self) -> str:
        """Name of QAPI's VncPrimaryAuth: none, vnc or vencrypt."""
        if self._tls is not None:
            return "vencrypt"
        return "vnc" if self.options.password else "none"

    @property
    def vencrypt(self) -> str | None:
        """Name of QAPI's VncVencryptSubAuth, or None without TLS."""
        if self._tls is None:
            return None
        return _SUBTYPE_NAMES[credentials.subtypes(self.options)[0]]

    @property
    def auth_words(self) -> str:
        """How query-vnc says it: none, vnc, vencrypt+x509+vnc and so on."""
        subtype = self.vencrypt
        return self.auth if subtype is None else f"vencrypt+{subtype.replace('-', '+')}"

    def clients(self) -> list[ClientInfo]:
        """Everybody who is connected, also before authentication."""
        return [client.info() for client in self._clients]

    def set_password(self, text: str | None) -> None:
        """Use another password from now on; None: nobody gets in.

        Raises:
            VmmError: this display has no password, or it is too long.
        """
        if not self.options.password:
            raise VmmError(f"VNC display {self.id} has no password: start it with password=on")
        self._password.set(text)

    def expire_password(self, when: float | None) -> None:
        """Not valid from then on (seconds since the epoch); None: it does not expire."""
        self._password.expire(when)

    def query_vnc(self) -> dict[str, Any]:
        """QAPI's VncInfo."""
        addresses = self.addresses
        if not addresses:
            return {"enabled": False}
        first = addresses[0].as_qapi()
        del first["websocket"]
        clients = [client.as_qapi() for client in self.clients()]
        return {"enabled": True, **first, "auth": self.auth_words, "clients": clients}

    def query_vnc_server(self) -> dict[str, Any]:
        """QAPI's VncInfo2."""
        how: dict[str, Any] = {"auth": self.auth}
        if self.vencrypt is not None:
            how["vencrypt"] = self.vencrypt
        servers = [{**each.as_qapi(), **how} for each in self.addresses]
        clients = [client.as_qapi() for client in self.clients()]
        return {"id": self.id, "server": servers, "clients": clients, **how}

    # As the screen's viewer.

    def is_active(self) -> bool:
        """Whether a client sees the screen."""
        return any(client.updates is not None for client in self._clients)

    def tiles_changed(self, tiles: Tiles) -> int:
        """Mark and send."""
        return sum(updates.mark(tiles) for updates in self._updates())

    def screen_replaced(self) -> None:
        """Tell the clients of the new size."""
        for updates in self._updates():
            updates.screen_replaced()

    def cursor_defined(self) -> None:
        """Tell the clients of the guest's pointer."""
        for updates in self._updates():
            updates.cursor_defined()

    def title_changed(self) -> None:
        """Tell the clients what the desktop is called."""
        for updates in self._updates():
            updates.title_changed()

    def leds_changed(self) -> None:
        """Tell the clients of the guest's keyboard lights."""
        for updates in self._updates():
            updates.leds_changed()

    def _updates(self) -> list[ClientUpdates]:
        return [client.updates for client in self._clients if client.updates is not None]

    # As the clients' display.

    def _new_client(self, how: Transport) -> Connection:
        return VncClient(self, self._policy(how), how, self._limits, self._loop).connection

    def _policy(self, how: Transport) -> SecurityPolicy:
        if how.tls is not None and not how.websocket:
            return SecurityPolicy(Security.VENCRYPT, credentials.subtypes(self.options))
        return SecurityPolicy(Security.VNC_AUTH if self.options.password else Security.NONE)

    def client_connected(self, client: VncClient) -> None:
        """Add it; if that is one too many, the oldest that has not authenticated must go."""
        self._clients.append(client)
        self._emit("VNC_CONNECTED", client)
        self._schedule_watch()
        if len(self._clients) <= self.options.connections:
            return
        connecting = (each for each in self._clients if each.updates is None)
        next(connecting).connection.abort("too many connections")

    def client_initialised(self, client: VncClient, shared: bool) -> bool:
        """Apply the sharing policy, QEMU's; False: the client may not stay."""
        others = [
            each
            for each in self._clients
            if each is not client and each.updates is not None and not each.connection.closing
        ]
        policy = self.options.share
        if policy is Share.FORCE_SHARED and not shared:
            client.connection.close("this display is shared, the client wants it for itself")
            return False
        if policy is Share.ALLOW_EXCLUSIVE:
            if not shared:
                for other in others:
                    other.connection.close("another client wants the display for itself")
            elif any(not other.shared for other in others):
                client.connection.close("another client has the display for itself")
                return False
        return True

    def begin_updates(self, client: VncClient) -> tuple[ClientUpdates, ClientInput]:
        """Answer ClientInit and make what the client needs."""
        watch, options = self._watch, self.options
        watch.refresh()  # without an active client the copy has become old
        updates = ClientUpdates(client.connection, self._jobs, watch, self._router, options.lossy)
        self._router.forget_position()
        client.connection.start(*updates.size, watch.title)
        self._emit("VNC_INITIALIZED", client)
        self._loop.call_soon(watch.poke)  # when this has returned, it counts as active
        return updates, ClientInput(self._router, options.lock_key_sync)

    def client_gone(self, client: VncClient, reason: str) -> None:
        """Forget it."""
        log.info(
            "VNC client %s:%s: %s",
            client.connection.peer.host,
            client.connection.peer.service,
            reason,
        )
        self._clients.remove(client)
        self._emit("VNC_DISCONNECTED", client)

    def input_arrived(self) -> None:
        """The screen is about to change."""
        self._watch.poke()

    def password_refusal(self, host: str) -> str | None:
        """Why this host may not try a password now."""
        return self._password.refusal(host)

    def password_check(self, host: str, challenge: bytes, response: bytes) -> bool:
        """Whether the response fits."""
        return self._password.check(host, challenge, response)

    def _emit(self, name: str, client: VncClient) -> None:
        server = {**client.connection.local.as_qapi(), "auth": self.auth}
        self._events.emit(name, {"server": server, "client": client.info().as_qapi()})

    def _schedule_watch(self) -> None:
        if self._timer is None and self._clients:
            self._timer = self._loop.call_later(WATCH_SECONDS, self._look_for_stalls)

    def _look_for_stalls(self) -> None:
        self._timer = None
        for client in tuple(self._clients):
            client.connection.check_stall()
        self._schedule_watch()
