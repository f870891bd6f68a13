# SPDX-License-Identifier: GPL-2.0-or-later
"""From the version to ClientInit, as one generator (RFC 6143 sections 7.1 to 7.3, VeNCrypt 0.2).

It yields a number to ask for that many bytes, and an event to hand it out; what it writes goes
through ``send``. So the states of the handshake are the lines of the code.
"""

import re
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from vmm.display.rfb import events
from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.numbers import Security, VeNCrypt
from vmm.display.rfb.security import CHALLENGE_BYTES, Authenticator, new_challenge

SERVER_VERSION = b"RFB 003.008\n"
_VERSION = re.compile(rb"RFB ([0-9]{3})\.([0-9]{3})\n")
_OK, _FAILED = struct.pack(">I", 0), struct.pack(">I", 1)

Steps = Generator[int | events.Event, bytes, None]


@dataclass(frozen=True)
class SecurityPolicy:
    """The one security type that is offered, and VeNCrypt's subtypes in order of preference.

    Raises:
        ValueError: VeNCrypt without subtypes, or subtypes without it.
    """

    type: Security
    subtypes: tuple[VeNCrypt, ...] = field(default=())

    def __post_init__(self) -> None:
        if (self.type is Security.VENCRYPT) != bool(self.subtypes):
            raise ValueError("VeNCrypt and its subtypes belong together")


class Handshake:
    """The generator's state: protocol version, what is offered, where bytes go."""

    def __init__(
        self, policy: SecurityPolicy, authenticator: Authenticator, send: Callable[[bytes], None]
    ) -> None:
        self.minor = 3
        """Minor version in use: 3, 7 or 8."""
        self._policy = policy
        self._authenticator = authenticator
        self._send = send

    def run(self) -> Steps:
        """The whole handshake.

        Raises:
            RfbError: the client broke the protocol; 3.8 clients have been told why.
        """
        self._send(SERVER_VERSION)
        self.minor = self._parse_version((yield len(SERVER_VERSION)))
        if self.minor == 3:
            yield from self._version_33()
        else:
            yield from self._offer_types()
        shared = yield 1
        yield events.ClientInit(shared[0] != 0)

    def _parse_version(self, data: bytes) -> int:
        """Minor version to speak. Everything unknown of version 3 is 3.3 (RFC 6143 7.1.1)."""
        match = _VERSION.fullmatch(data)
        if match is None:
            raise RfbError(f"not an RFB client: it said {data!r}")
        major, minor = int(match[1]), int(match[2])
        if major != 3:
            self._send_no_types(f"version {major}.{minor} is not supported")
            raise RfbError(f"unsupported version {major}.{minor}")
        return 8 if minor >= 8 else 7 if minor == 7 else 3

    def _version_33(self) -> Steps:
        kind = self._policy.type
        if kind is Security.VENCRYPT:
            self._send_no_types("this server needs TLS, which takes RFB 3.7 or later")
            raise RfbError("an RFB 3.3 client cannot use TLS")
        if kind is Security.NONE:
            self._send(struct.pack(">I", kind))
            return
        yield from self._authenticate(struct.pack(">I", kind))

    def _offer_types(self) -> Steps:
        kind = self._policy.type
        self._send(bytes([1, kind]))
        chosen = (yield 1)[0]
        if chosen != kind:
            self._refuse(f"security type {chosen} was not offered")
            raise RfbError(f"security type {chosen} was not offered")
        if kind is Security.VENCRYPT:
            yield from self._vencrypt()
        else:
            yield from self._security(kind)

    def _vencrypt(self) -> Steps:
        self._send(bytes([0, 2]))
        version = yield 2
        if version != bytes([0, 2]):
            self._send(b"\1")
            raise RfbError(f"unsupported VeNCrypt version {version[0]}.{version[1]}")
        subtypes = self._policy.subtypes
        self._send(b"\0" + struct.pack(f">B{len(subtypes)}I", len(subtypes), *subtypes))
        (chosen,) = struct.unpack(">I", (yield 4))
        if chosen not in subtypes:
            self._send(b"\0")
            raise RfbError(f"VeNCrypt subtype {chosen} was not offered")
        self._send(b"\1")
        subtype = VeNCrypt(chosen)
        yield events.StartTls(subtype)
        yield from self._security(subtype.inner)

    def _security(self, kind: Security) -> Steps:
        if kind is Security.VNC_AUTH:
            yield from self._authenticate(b"")
        elif self.minor >= 8:
            self._send(_OK)

    def _authenticate(self, prefix: bytes) -> Steps:
        """VNC authentication; a failure is an event, after which the generator is not resumed."""
        refusal = self._authenticator.refusal()
        if refusal is not None:
            if prefix:  # RFB 3.3: no type has been sent yet
                self._send_no_types(refusal)
            else:
                self._refuse(refusal)
            yield events.AuthenticationFailed(refusal)
            raise RfbError(refusal)
        challenge = new_challenge()
        self._send(prefix + challenge)
        response = yield CHALLENGE_BYTES
        if not self._authenticator.check(challenge, response):
            reason = "authentication failed"
            self._refuse(reason)
            yield events.AuthenticationFailed(reason)
            raise RfbError(reason)
        self._send(_OK)

    def _refuse(self, reason: str) -> None:
        """SecurityResult: failed, with the reason where the version has room for it."""
        self._send(_FAILED + (_text(reason) if self.minor >= 8 else b""))

    def _send_no_types(self, reason: str) -> None:
        """RFB 3.3's way to refuse: security type 0, then the reason."""
        self._send(struct.pack(">I", Security.INVALID) + _text(reason))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data
