# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions whose bytes are split and merged anywhere, from honest clients and from others."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from vmm.display.rfb import events
from vmm.display.rfb.client_messages import MAX_CUT_TEXT
from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.handshake import SecurityPolicy
from vmm.display.rfb.numbers import Security, VeNCrypt
from vmm.display.rfb.session import RfbSession

POLICIES = (
    SecurityPolicy(Security.NONE),
    SecurityPolicy(Security.VNC_AUTH),
    SecurityPolicy(Security.VENCRYPT, (VeNCrypt.X509_NONE,)),
    SecurityPolicy(Security.VENCRYPT, (VeNCrypt.TLS_VNC, VeNCrypt.X509_VNC)),
)
U8, U16, U32 = st.integers(0, 255), st.integers(0, 65535), st.integers(0, (1 << 32) - 1)
AREA = st.tuples(st.booleans(), U16, U16, U16, U16)


def message(form: str, *fields: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    return st.tuples(*fields).map(lambda values: struct.pack(">" + form, *values))


PIXEL_FORMAT = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
MESSAGES = st.one_of(
    st.just(bytes(4) + PIXEL_FORMAT),
    st.lists(st.integers(-400, 20), max_size=20).map(
        lambda found: struct.pack(f">BxH{len(found)}i", 2, len(found), *found)
    ),
    AREA.map(lambda area: struct.pack(">BBHHHH", 3, *area)),
    AREA.map(lambda area: struct.pack(">BBHHHH", 150, *area)),
    message("BBxxI", st.just(4), U8, U32),
    message("BBHH", st.just(5), U8, U16, U16),
    st.binary(max_size=100).map(lambda text: struct.pack(">BxxxI", 6, len(text)) + text),
    st.tuples(U32, st.binary(max_size=64)).map(
        lambda f: struct.pack(">B3xIB", 248, f[0], len(f[1])) + f[1]
    ),
    message("BxBB", st.just(250), U8, U8),
    st.tuples(U16, U16, st.integers(0, 3)).map(
        lambda f: struct.pack(">BxHHBx", 251, *f) + bytes(16 * f[2])
    ),
    message("BBHII", st.just(255), st.just(0), U16, U32, U32),
)


class Doorkeeper:
    """Lets everybody in."""

    def refusal(self) -> str | None:
        return None

    def check(self, challenge: bytes, response: bytes) -> bool:
        return True


def collect(session: RfbSession, data: bytes) -> list[events.Event]:
    """Feed, and play the server's part: TLS that changes nothing, ServerInit."""
    found = []
    session.receive_data(data)
    while (event := session.next_event()) is not None:
        found.append(event)
        if isinstance(event, events.StartTls):
            session.receive_data(session.take_rest())
        if isinstance(event, events.ClientInit):
            session.start(64, 48, "vm")
    return found


def greeting(policy: SecurityPolicy, shared: bool) -> bytes:
    """All that a 3.8 client says before its first message."""
    data = b"RFB 003.008\n" + bytes([policy.type])
    inner = policy.type
    if policy.subtypes:
        data += bytes([0, 2]) + struct.pack(">I", policy.subtypes[-1])
        inner = policy.subtypes[-1].inner
    return data + (bytes(16) if inner is Security.VNC_AUTH else b"") + bytes([shared])


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(
    st.sampled_from(POLICIES),
    st.booleans(),
    st.lists(MESSAGES, max_size=12),
    st.lists(st.integers(0, 1 << 16), max_size=20),
)
def test_events_do_not_depend_on_how_bytes_arrive(
    policy: SecurityPolicy, shared: bool, messages: list[bytes], cuts: list[int]
) -> None:
    data = greeting(policy, shared) + b"".join(messages)
    whole, split = (RfbSession(policy, Doorkeeper()) for _ in range(2))
    expected = collect(whole, data)
    found = [event for part in chunks(data, cuts) for event in collect(split, part)]
    assert found == expected
    assert len(expected) == len(messages) + 1 + bool(policy.subtypes)
    assert whole.buffered == split.buffered == 0
    assert len(whole.data_to_send()) == len(split.data_to_send())


HOSTILE = st.one_of(
    MESSAGES,
    st.binary(max_size=40),
    st.sampled_from([b"\2\0\xff\xff", b"\6\0\0\0\xff\xff\xff\xff", b"\6\0\0\0\0\x10\0\0"]),
    st.just(bytes(5000)),
)


@given(
    st.sampled_from(POLICIES),
    st.booleans(),
    st.lists(HOSTILE, max_size=12),
    st.lists(st.integers(0, 1 << 16), max_size=10),
)
def test_whatever_arrives_a_session_raises_its_own_error_and_keeps_little(
    policy: SecurityPolicy, greets: bool, messages: list[bytes], cuts: list[int]
) -> None:
    data = (greeting(policy, True) if greets else b"") + b"".join(messages)
    session = RfbSession(policy, Doorkeeper())
    ended = False
    for part in chunks(data, cuts):
        try:
            found = collect(session, part)
        except RfbError:
            ended = True
        else:
            assert not (ended and found)
        assert session.buffered <= MAX_CUT_TEXT + 8
        assert not ended or session.buffered == 0
    assert len(session.data_to_send()) < 4096
