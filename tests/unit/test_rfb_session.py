# SPDX-License-Identifier: GPL-2.0-or-later
"""The handshake and every client message, byte by byte."""

import struct

import pytest

from vmm.display.pixels import NATIVE, PixelFormat
from vmm.display.rfb import events
from vmm.display.rfb.client_messages import (
    MAX_CUT_TEXT,
    MAX_ENCODINGS,
    MAX_FENCE_PAYLOAD,
)
from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.handshake import SecurityPolicy
from vmm.display.rfb.numbers import Security, VeNCrypt
from vmm.display.rfb.security import encrypt_challenge
from vmm.display.rfb.session import RfbSession

NONE = SecurityPolicy(Security.NONE)
VNC = SecurityPolicy(Security.VNC_AUTH)
X509 = SecurityPolicy(Security.VENCRYPT, (VeNCrypt.X509_VNC, VeNCrypt.X509_NONE))


class Doorkeeper:
    """An authenticator with one password."""

    def __init__(self, password: bytes = b"secret", refusal: str | None = None) -> None:
        self._password, self._refusal = password, refusal

    def refusal(self) -> str | None:
        return self._refusal

    def check(self, challenge: bytes, response: bytes) -> bool:
        return encrypt_challenge(self._password, challenge) == response


def feed(session: RfbSession, data: bytes) -> list[events.Event]:
    session.receive_data(data)
    found = []
    while (event := session.next_event()) is not None:
        found.append(event)
    return found


def open_session(
    policy: SecurityPolicy = NONE, version: bytes = b"RFB 003.008\n", refusal: str | None = None
) -> tuple[RfbSession, bytes]:
    """A session that has seen the client's version, and its answer to that."""
    session = RfbSession(policy, Doorkeeper(refusal=refusal))
    assert session.data_to_send() == b"RFB 003.008\n"
    assert feed(session, version) == []
    return session, session.data_to_send()


def running_session() -> RfbSession:
    session, _ = open_session()
    assert feed(session, b"\1\1") == [events.ClientInit(shared=True)]
    session.start(640, 480, "vm")
    session.data_to_send()
    return session


def test_a_38_client_without_password_gets_type_result_and_server_init() -> None:
    session, offer = open_session()
    assert offer == bytes([1, Security.NONE])
    assert feed(session, b"\1") == []
    assert session.data_to_send() == struct.pack(">I", 0)
    assert feed(session, b"\0") == [events.ClientInit(shared=False)]
    assert not session.running
    session.start(800, 600, "büro")
    name = "büro".encode()
    expected = struct.pack(">HH", 800, 600) + NATIVE.pack() + struct.pack(">I", len(name)) + name
    assert session.data_to_send() == expected
    assert session.running


def test_a_37_client_without_password_gets_no_result() -> None:
    session, offer = open_session(version=b"RFB 003.007\n")
    assert offer == bytes([1, 1])
    assert feed(session, b"\1\1") == [events.ClientInit(shared=True)]
    assert session.data_to_send() == b""


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.005\n", b"RFB 003.006\n"])
def test_an_old_client_is_told_the_type(version: bytes) -> None:
    session, answer = open_session(version=version)
    assert answer == struct.pack(">I", Security.NONE)
    assert session.minor_version == 3
    assert feed(session, b"\1") == [events.ClientInit(shared=True)]


def test_a_client_newer_than_38_is_spoken_to_as_38() -> None:
    session, offer = open_session(version=b"RFB 003.889\n")
    assert (session.minor_version, offer) == (8, bytes([1, 1]))


@pytest.mark.parametrize(
    ("version", "words"),
    [(b"GET / HTTP/1", "not an RFB client"), (b"RFB 004.001\n", "unsupported version 4.1")],
)
def test_what_is_no_client_is_refused(version: bytes, words: str) -> None:
    session = RfbSession(NONE, Doorkeeper())
    session.receive_data(version)
    with pytest.raises(RfbError, match=words):
        session.next_event()
    assert session.next_event() is None
    assert feed(session, b"anything") == []
    assert session.buffered == 0


@pytest.mark.parametrize("minor", [3, 7, 8])
def test_the_right_password_opens(minor: int) -> None:
    session, offer = open_session(VNC, f"RFB 003.00{minor}\n".encode())
    if minor == 3:
        assert offer[:4] == struct.pack(">I", Security.VNC_AUTH)
        challenge = offer[4:]
    else:
        assert offer == bytes([1, Security.VNC_AUTH])
        assert feed(session, bytes([Security.VNC_AUTH])) == []
        challenge = session.data_to_send()
    assert len(challenge) == 16
    assert feed(session, encrypt_challenge(b"secret", challenge)) == []
    assert session.data_to_send() == struct.pack(">I", 0)
    assert feed(session, b"\1") == [events.ClientInit(shared=True)]


@pytest.mark.parametrize("minor", [3, 7, 8])
def test_a_wrong_password_gets_a_reason_where_the_version_has_one(minor: int) -> None:
    session, _ = open_session(VNC, f"RFB 003.00{minor}\n".encode())
    if minor != 3:
        feed(session, bytes([Security.VNC_AUTH]))
        session.data_to_send()
    found = feed(session, bytes(16))
    assert found == [events.AuthenticationFailed("authentication failed")]
    reason = b"authentication failed"
    tail = struct.pack(">I", len(reason)) + reason if minor == 8 else b""
    assert session.data_to_send() == struct.pack(">I", 1) + tail
    assert feed(session, b"\1" * 100) == []
    assert session.buffered == 0


@pytest.mark.parametrize("minor", [3, 8])
def test_a_host_that_guessed_too_often_gets_no_challenge(minor: int) -> None:
    session = RfbSession(VNC, Doorkeeper(refusal="too many attempts"))
    session.data_to_send()
    found = feed(session, f"RFB 003.00{minor}\n".encode() + (b"\2" if minor == 8 else b""))
    assert found == [events.AuthenticationFailed("too many attempts")]
    reason = struct.pack(">I", 17) + b"too many attempts"
    first = b"\1\2" + struct.pack(">I", 1) if minor == 8 else struct.pack(">I", 0)
    assert session.data_to_send() == first + reason


def test_a_type_that_was_not_offered_is_refused_with_a_reason() -> None:
    session, _ = open_session(VNC)
    session.receive_data(bytes([Security.NONE]))
    with pytest.raises(RfbError, match="type 1 was not offered"):
        session.next_event()
    assert b"was not offered" in session.data_to_send()


def test_vencrypt_asks_for_tls_and_goes_on_inside_it() -> None:
    session, offer = open_session(X509)
    assert offer == bytes([1, Security.VENCRYPT])
    assert feed(session, bytes([Security.VENCRYPT])) == []
    assert session.data_to_send() == bytes([0, 2])
    assert feed(session, bytes([0, 2])) == []
    assert session.data_to_send() == b"\0\2" + struct.pack(">II", 261, 260)
    session.receive_data(struct.pack(">I", 261) + b"TLS follows")
    assert session.next_event() == events.StartTls(VeNCrypt.X509_VNC)
    assert session.data_to_send() == b"\1"
    assert session.take_rest() == b"TLS follows"
    assert session.next_event() is None
    assert len(session.data_to_send()) == 16  # the challenge, for inside


def test_vencrypt_refuses_other_versions_and_subtypes() -> None:
    session, _ = open_session(X509)
    session.receive_data(bytes([Security.VENCRYPT, 0, 1]))
    with pytest.raises(RfbError, match=r"VeNCrypt version 0\.1"):
        session.next_event()
    assert session.data_to_send() == bytes([0, 2, 1])
    session, _ = open_session(X509)
    session.receive_data(bytes([Security.VENCRYPT, 0, 2]) + struct.pack(">I", 257))
    with pytest.raises(RfbError, match="subtype 257"):
        session.next_event()
    assert session.data_to_send()[-1:] == b"\0"


def test_a_33_client_cannot_use_tls_and_hears_why() -> None:
    session = RfbSession(X509, Doorkeeper())
    session.receive_data(b"RFB 003.003\n")
    with pytest.raises(RfbError, match=r"3\.3"):
        session.next_event()
    assert b"TLS" in session.data_to_send()


def test_vencrypt_and_its_subtypes_belong_together() -> None:
    with pytest.raises(ValueError, match="belong together"):
        SecurityPolicy(Security.VENCRYPT)
    with pytest.raises(ValueError, match="belong together"):
        SecurityPolicy(Security.NONE, (VeNCrypt.X509_NONE,))


def test_messages_before_server_init_wait_for_it() -> None:
    session, _ = open_session()
    assert feed(session, b"\1\1" + struct.pack(">BBHH", 5, 1, 2, 3)) == [
        events.ClientInit(shared=True)
    ]
    session.start(10, 10, "")
    assert session.next_event() == events.PointerEvent(1, 2, 3)
    with pytest.raises(RuntimeError):
        session.start(10, 10, "")


RGB565 = PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0)
MESSAGES = [
    (b"\0\0\0\0" + RGB565.pack(), events.SetPixelFormat(RGB565)),
    (struct.pack(">BxH4i", 2, 4, 7, -223, 7, 0), events.SetEncodings((7, -223, 0))),
    (struct.pack(">BxH", 2, 0), events.SetEncodings(())),
    (struct.pack(">BBHHHH", 3, 1, 1, 2, 3, 4), events.UpdateRequest(True, 1, 2, 3, 4)),
    (struct.pack(">BBHHHH", 3, 0, 1, 2, 3, 4), events.UpdateRequest(False, 1, 2, 3, 4)),
    (struct.pack(">BBxxI", 4, 1, 0xFF0D), events.KeyEvent(True, 0xFF0D)),
    (struct.pack(">BBHH", 5, 5, 65535, 0), events.PointerEvent(5, 65535, 0)),
    (struct.pack(">BxxxI", 6, 3) + b"abc", events.ClientCutText(b"abc")),
    (struct.pack(">BxxxI", 6, 0), events.ClientCutText(b"")),
    (
        struct.pack(">BBHHHH", 150, 1, 1, 2, 3, 4),
        events.EnableContinuousUpdates(True, 1, 2, 3, 4),
    ),
    (struct.pack(">B3xIB", 248, 0x80000001, 2) + b"xy", events.ClientFence(0x80000001, b"xy")),
    (struct.pack(">BxBB", 250, 1, 2), events.Ignored("xvp operation 2")),
    (
        struct.pack(">BxHHBx", 251, 1024, 768, 1) + bytes(16),
        events.SetDesktopSize(1024, 768, 1),
    ),
    (struct.pack(">BxHHBx", 251, 1, 2, 0), events.SetDesktopSize(1, 2, 0)),
    (struct.pack(">BBHII", 255, 0, 1, 0x61, 30), events.QemuKeyEvent(True, 0x61, 30)),
    (struct.pack(">BBH", 255, 1, 0), events.Ignored("audio, which this server did not offer")),
    (
        struct.pack(">BBHBBI", 255, 1, 2, 3, 2, 44100),
        events.Ignored("audio, which this server did not offer"),
    ),
]


@pytest.mark.parametrize(("data", "event"), MESSAGES)
def test_every_message_is_understood_whole_and_byte_by_byte(
    data: bytes, event: events.Event
) -> None:
    assert feed(running_session(), data * 2) == [event, event]
    session = running_session()
    found = [each for byte in data for each in feed(session, bytes([byte]))]
    assert found == [event]
    assert session.buffered == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x07", "unknown message type 7"),
        (struct.pack(">BxH", 2, MAX_ENCODINGS + 1), "names 1025 encodings"),
        (struct.pack(">BxxxI", 6, MAX_CUT_TEXT + 1), "ClientCutText of 1048577 bytes"),
        (struct.pack(">Bxxxi", 6, -4), "ClientCutText of 4294967292"),
        (struct.pack(">B3xIB", 248, 0, MAX_FENCE_PAYLOAD + 1), "fence with 65 bytes"),
        (struct.pack(">BBH", 255, 1, 3), "unknown QEMU message 1"),
        (struct.pack(">BBH", 255, 9, 0), "unknown QEMU message 9"),
        (b"\0\0\0\0" + struct.pack(">BBBBHHHBBB3x", 24, 24, 0, 1, 255, 255, 255, 0, 8, 16), "Set"),
    ],
)
def test_what_is_broken_or_too_long_ends_the_session(data: bytes, words: str) -> None:
    session = running_session()
    session.receive_data(data)
    with pytest.raises(RfbError, match=words):
        session.next_event()
    assert session.next_event() is None
    assert not session.running
