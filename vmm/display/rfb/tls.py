# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS as a layer, over ssl's memory buffers: the same code serves sockets and tests."""

import contextlib
import ssl
from typing import Any

from vmm.display.rfb.errors import RfbError

_CHUNK = 1 << 16
_MAX_HELD = 1 << 16
"""Bytes of plain text that may wait for the end of the TLS handshake."""


class TlsLayer:
    """The server's side of a TLS connection.

    Args:
        context: certificates, versions, whether the client must have a certificate.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ended: str | None = None
        self._ready = False
        self._held = bytearray()

    def receive(self, data: bytes) -> bytes:
        """Decrypt. Raises RfbError: not TLS, or the client's certificate is not good."""
        self._incoming.write(data)
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
                self._write(bytes(self._held))
                self._held.clear()
            return self._read()
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            raise RfbError(f"TLS: {error.reason or error}") from None

    def _read(self) -> bytes:
        parts = []
        try:
            while part := self._tls.read(_CHUNK):
                parts.append(part)
            self.ended = "closed by the client"
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the same, after our own goodbye
            self.ended = "closed by the client"
        return b"".join(parts)

    def send(self, data: bytes) -> bytes:
        """Encrypt; before the handshake is done the data waits for it."""
        if not self._ready:
            if len(self._held) + len(data) > _MAX_HELD:
                raise RfbError("TLS: the handshake does not end")
            self._held += data
            return b""
        self._write(data)
        return self._outgoing.read()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]

    def take_output(self) -> bytes:
        """Handshake messages and alerts."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """The close_notify alert."""
        if self._ready:
            with contextlib.suppress(ssl.SSLError):  # it wants an answer, for which nobody waits
                self._tls.unwrap()
        return self._outgoing.read()

    def peer_name(self) -> str | None:
        """The distinguished name of the client's certificate, or None without one."""
        certificate: Any = self._tls.getpeercert() if self._ready else None
        if not certificate:
            return None
        parts = (part for group in certificate["subject"] for part in group)
        return ",".join(f"{key}={value}" for key, value in parts)
