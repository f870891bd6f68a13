# SPDX-License-Identifier: GPL-2.0-or-later
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws

from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.websocket import (
    MAX_REQUEST_BYTES,
    WebSocketLayer,
    is_loopback_origin,
)

REQUEST = (
    b"GET /websockify HTTP/1.1\r\nHost: localhost:5701\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
END = b"\r\n"
MASK = b"\x11\x22\x33\x44"


def frame(opcode: int, payload: bytes, fin: bool = True, mask: bool = True) -> bytes:
    """A client's frame, made by hand (RFC 6455 section 5.2)."""
    assert len(payload) < 126
    head = bytes([fin << 7 | opcode, mask << 7 | len(payload)])
    if not mask:
        return head + payload
    return head + MASK + bytes(b ^ MASK[i % 4] for i, b in enumerate(payload))


def opened(extra: bytes = b"", any_origin: bool = False) -> tuple[WebSocketLayer, bytes]:
    layer = WebSocketLayer(any_origin)
    assert layer.receive(REQUEST + extra + END) == b""
    return layer, layer.take_output()


def test_the_upgrade_answers_with_the_key_of_the_rfc() -> None:
    _, answer = opened()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert b"Protocol" not in answer.split(b"\r\n", 1)[1]


def test_the_binary_subprotocol_is_chosen_when_it_is_offered() -> None:
    _, answer = opened(b"Sec-WebSocket-Protocol: base64, binary\r\n")
    assert b"sec-websocket-protocol: binary" in answer.lower()
    _, answer = opened(b"Sec-WebSocket-Protocol: chat\r\n")
    assert b"sec-websocket-protocol" not in answer.lower()


def test_no_extension_is_agreed_to() -> None:
    _, answer = opened(b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert b"extensions" not in answer.lower()


def test_what_is_sent_before_the_upgrade_follows_it() -> None:
    layer = WebSocketLayer(False)
    assert layer.send(b"RFB 003.008\n") == b""
    layer.receive(REQUEST + END)
    assert layer.take_output().endswith(b"\r\n\r\n\x82\x0cRFB 003.008\n")
    assert layer.send(b"x" * 200) == b"\x82\x7e\x00\xc8" + b"x" * 200
    assert layer.send(b"x" * 70000)[:10] == b"\x82\x7f" + (70000).to_bytes(8, "big")


def test_too_much_before_the_upgrade_is_refused() -> None:
    layer = WebSocketLayer(False)
    with pytest.raises(RfbError, match="does not end"):
        layer.send(bytes(1 << 17))


def test_frames_and_fragments_are_one_stream() -> None:
    layer, _ = opened()
    data = frame(2, b"ab", fin=False) + frame(9, b"ping") + frame(0, b"cd") + frame(2, b"ef")
    assert layer.receive(data) == b"abcdef"
    assert layer.take_output() == b"\x8a\x04ping"


def test_a_close_is_answered_and_ends_it() -> None:
    layer, _ = opened()
    assert layer.ended is None
    assert layer.receive(frame(2, b"last") + frame(8, b"\x03\xe8")) == b"last"
    assert layer.ended == "WebSocket: closed (1000)"
    assert layer.take_output()[:2] == b"\x88\x02"
    assert layer.send(b"more") == b""
    assert layer.close() == b""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame(2, b"ab", mask=False), "unmasked"),
        (frame(3, b""), "opcode"),
        (frame(9, b"x", fin=False), "fragment"),
        (frame(0, b"x"), "CONTINUATION"),
        (bytes([0xC2, 0x80]) + MASK, "Reserved bit"),
        (b"\x82\xff" + b"\xff" * 8 + MASK, "MSB"),
    ],
)
def test_a_broken_frame_ends_it_with_a_close_frame(data: bytes, words: str) -> None:
    layer, _ = opened()
    assert layer.receive(frame(2, b"before") + data + frame(2, b"after")) == b"before"
    assert layer.ended is not None
    assert words in layer.ended
    assert layer.take_output()[:1] == b"\x88"


def test_text_is_refused() -> None:
    layer, _ = opened()
    with pytest.raises(RfbError, match="text message"):
        layer.receive(frame(1, b"text"))
    assert layer.take_output()[:1] == b"\x88"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        REQUEST.replace(b"13", b"8") + END,
        b"RFB 003.008\n" + b"\r\n\r\n",
    ],
)
def test_what_is_no_websocket_request_gets_an_http_answer(request_: bytes) -> None:
    layer = WebSocketLayer(False)
    with pytest.raises(RfbError, match="WebSocket"):
        layer.receive(request_)
    assert layer.take_output().startswith((b"HTTP/1.1 400", b"HTTP/1.1 426"))


def test_an_endless_request_is_refused() -> None:
    layer = WebSocketLayer(False)
    line = b"X-Filler: " + b"x" * 100 + b"\r\n"
    layer.receive(REQUEST + line * (MAX_REQUEST_BYTES // len(line) - 3))
    with pytest.raises(RfbError, match="more than 16384 bytes"):
        layer.receive(line * 3)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:6080", True),
        ("http://127.0.0.1", True),
        ("https://[::1]:443", True),
        ("http://novnc.localhost", True),
        ("https://example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("null", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_pages_of_strangers_need_a_password(origin: str, allowed: bool) -> None:
    assert is_loopback_origin(origin) is allowed
    extra = b"Origin: " + origin.encode() + b"\r\n"
    opened(extra, any_origin=True)
    if allowed:
        opened(extra)
        return
    layer = WebSocketLayer(any_origin=False)
    with pytest.raises(RfbError, match="without a password"):
        layer.receive(REQUEST + extra + END)
    assert layer.take_output().startswith(b"HTTP/1.1 403")


@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_nothing_but_its_own_error(data: bytes, after_upgrade: bool) -> None:
    layer = opened()[0] if after_upgrade else WebSocketLayer(False)
    with contextlib.suppress(RfbError):
        layer.receive(data)
    layer.take_output()
    layer.close()


@given(st.binary(max_size=60))
def test_a_header_of_any_bytes_raises_nothing_but_its_own_error(value: bytes) -> None:
    for name in (b"Host", b"Origin", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"):
        layer = WebSocketLayer(False)
        with contextlib.suppress(RfbError):
            layer.receive(REQUEST.replace(b"Host: localhost:5701\r\n", b"") + name + b": " + value)
            layer.receive(END + END)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 7))
def test_another_implementation_agrees_on_split_streams(parts: list[bytes], step: int) -> None:
    client = WSConnection(ConnectionType.CLIENT)
    wire = client.send(ws.Request(host="localhost", target="/"))
    layer = WebSocketLayer(False)
    layer.receive(wire)
    client.receive_data(layer.take_output())
    assert isinstance(next(iter(client.events())), ws.AcceptConnection)
    wire = b"".join(client.send(ws.BytesMessage(data=part)) for part in parts)
    got = b"".join(layer.receive(wire[i : i + step]) for i in range(0, len(wire), step))
    assert got == b"".join(parts)
