# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTTP server: threads for clients that nobody has to trust.

Rules
 1. The thread that accepts does nothing else: a TLS handshake, a request and an answer happen in a
    thread of the connection. A client that says nothing costs one of MOST_CONNECTIONS places.
 2. Every connection has a deadline from its beginning, whatever trickles in; one that passes it is
    cut off. A long profile asks for more time first.
 3. Over the limit a connection is closed at once, and counted.
 4. What a client does wrong is counted, never printed as a traceback.
"""

import io
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from exporters.app import PATIENCE
from exporters.health import Health
from profiler.errors import UserError

MOST_CONNECTIONS = 32
DEADLINE_SECONDS = 15.0


@dataclass(frozen=True)
class Tls:
    """Certificate and key of the server; `client_ca`: clients must show one that it signed."""

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A context for the server's side. Raises UserError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or str(error)
            files = ", ".join(map(str, filter(None, (self.certificate, self.key, self.client_ca))))
            raise UserError(f"TLS files cannot be used ({files}): {reason}") from error
        return context


@dataclass(frozen=True)
class Listen:
    """An address to listen on; port 0 takes any."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """`127.0.0.1:9752`, `[::1]:9752`, or a port of 127.0.0.1 alone. Raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon:
            host = "127.0.0.1"
        if not host or (":" in host and not host.startswith("[")):
            raise ValueError("an address and a port, as 127.0.0.1:9752 or [::1]:9752")
        if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ValueError(f"{port!r} is not a port")
        return cls(host.strip("[]"), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Answer(ServerHandler):
    """Runs the application. What goes wrong goes to the server, not to standard error."""

    request_handler: "_Handler"  # the base class uses it, and leaves it to us to set

    def log_exception(self, exc_info: Any) -> None:
        self.request_handler.server.note_error(exc_info[1], self.request_handler.client_address)

    def error_output(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class _Handler(WSGIRequestHandler):
    """One request for a connection. The server's `patience` is offered to the application."""

    server: "Server"

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
        elif self.raw_requestline and self.parse_request():
            streams: tuple[Any, Any] = (self.rfile, self.wfile)
            answer = _Answer(*streams, io.StringIO(), self.get_environ())
            answer.request_handler = self
            answer.run(self.server.get_app())  # type: ignore[arg-type]

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[PATIENCE] = lambda more: self.server.patience(self.connection, more)
        return environ

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not logged."""


class Server(ThreadingMixIn, WSGIServer):
    """Serves an application until it is stopped. A context manager."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self,
        listen: Listen,
        health: Health,
        tls: Tls | None = None,
        clock: Callable[[], float] = time.monotonic,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        """Bind and listen. Raises UserError if the address or the TLS files cannot be used."""
        self._context = tls.context() if tls else None
        self._health, self._clock, self._deadline = health, clock, deadline_seconds
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._guard = threading.Lock()
        self._deadlines: dict[int, tuple[socket.socket, float]] = {}
        self.address_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        try:
            super().__init__((listen.host, listen.port), _Handler)
        except (OSError, OverflowError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise UserError(f"cannot listen on {listen}: {reason}") from error
        self.listen = Listen(listen.host, self.server_address[1])

    def server_bind(self) -> None:
        """Bind, without asking the name service who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{'https' if self._context else 'http'}://{self.listen}"

    def patience(self, connection: socket.socket, more: float) -> None:
        """Allow the answer on a connection some seconds more."""
        with self._guard:
            known = self._deadlines.get(connection.fileno())
            if known is not None:
                self._deadlines[connection.fileno()] = (known[0], known[1] + more)
        connection.settimeout(self._deadline + more)

    def service_actions(self) -> None:
        """Between connections, at least twice a second: cut off who is overdue."""
        now = self._clock()
        with self._guard:
            late = [known for known, deadline in self._deadlines.values() if deadline <= now]
            for connection in late:
                with suppress(OSError):
                    # Not TLS's own shutdown, which would pull its state from under the thread.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread, if there is a place for one more."""
        if not self._places.acquire(blocking=False):
            self._health.fail("refused", f"over {MOST_CONNECTIONS} connections: refused")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:  # no thread to be had
            self._places.release()
            self._health.fail("refused", f"no thread for a connection: {error}")
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The life of a connection, in its thread."""
        number = request.fileno()
        with self._guard:
            self._deadlines[number] = (request, self._clock() + self._deadline)
        try:
            request.settimeout(self._deadline)
            if self._context is not None:
                request = self._secured(request, number, self._context)
                request.do_handshake()
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            with self._guard:
                self._deadlines.pop(number, None)
            self.shutdown_request(request)
            self._places.release()

    def _secured(
        self, request: socket.socket, number: int, context: ssl.SSLContext
    ) -> ssl.SSLSocket:
        secured = context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with self._guard:
            self._deadlines[number] = (secured, self._deadlines[number][1])
        return secured

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Count what went wrong with a client."""
        self.note_error(sys.exc_info()[1], client_address)

    def note_error(self, error: BaseException | None, client_address: Any) -> None:
        """Count an error of a client, or of ours."""
        kind = "client" if isinstance(error, OSError | ValueError) else "internal"
        self._health.fail(kind, f"client {client_address[0]}: {type(error).__name__}: {error}")
