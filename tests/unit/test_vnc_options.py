# SPDX-License-Identifier: GPL-2.0-or-later
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.display.vnc.options import (
    Share,
    TcpAddress,
    UnixAddress,
    parse_displays,
    parse_vnc,
)
from vmm.errors import VmmError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":1", TcpAddress("127.0.0.1", 5901, 5901)),
        (":0,to=9", TcpAddress("127.0.0.1", 5900, 5909)),
        ("localhost:2", TcpAddress("localhost", 5902, 5902)),
        ("[::1]:2", TcpAddress("::1", 5902, 5902)),
        ("0.0.0.0:3,password=on", TcpAddress("0.0.0.0", 5903, 5903)),
        ("0.0.0.0:3,insecure=on", TcpAddress("0.0.0.0", 5903, 5903)),
        ("[::]:3,tls-creds=/pki", TcpAddress("::", 5903, 5903)),
        ("unix:/tmp/a,,b", UnixAddress(Path("/tmp/a,b"))),
        ("none", None),
    ],
)
def test_addresses_are_qemus_but_for_the_loopback(text: str, address: object) -> None:
    assert parse_vnc(text).address == address


def test_every_option_has_its_place() -> None:
    options = parse_vnc(
        ":1,password,share=force-shared,lock-key-sync=off,lossy=on,connections=4,"
        "tls-creds=/pki,verify-peer=off,id=left,non-adaptive=on"
    )
    assert options.password
    assert options.share is Share.FORCE_SHARED
    assert not options.lock_key_sync
    assert options.lossy
    assert options.connections == 4
    assert (options.tls_creds, options.verify_peer, options.id) == ("/pki", False, "left")
    plain = parse_vnc(":1", "vnc2")
    assert (plain.id, plain.share, plain.connections) == ("vnc2", Share.ALLOW_EXCLUSIVE, 32)
    assert parse_vnc(":1,password-file=/p").password


@pytest.mark.parametrize(
    ("text", "address", "follows"),
    [
        (":1,to=3,websocket=on", TcpAddress("127.0.0.1", 5701, 5703), True),
        (":1,websocket=8080", TcpAddress("127.0.0.1", 8080, 8080), False),
        (":1,websocket=localhost:8080", TcpAddress("localhost", 8080, 8080), False),
        (":1,websocket=[::1]:8080", TcpAddress("::1", 8080, 8080), False),
        (":1,websocket=/tmp/w", UnixAddress(Path("/tmp/w")), False),
        ("unix:/tmp/v,websocket=unix:/tmp/w", UnixAddress(Path("/tmp/w")), False),
        ("none,websocket=8080", TcpAddress("127.0.0.1", 8080, 8080), False),
        (":1,websocket=off", None, False),
    ],
)
def test_a_websocket_has_a_port_a_path_or_the_displays_number(
    text: str, address: object, follows: bool
) -> None:
    options = parse_vnc(text)
    assert (options.websocket, options.websocket_follows) == (address, follows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected :N, HOST:N"),
        ("1", "expected :N, HOST:N"),
        (":x", "expected :N"),
        (":99999", "display 99999: must be from 0 to 59635"),
        (":5,to=4", "to=4 must be a number from 5 to"),
        ("unix:", "expected unix:PATH"),
        ("unix:/a,to=3", "to= is for display numbers"),
        ("none,to=3", "to= needs a display"),
        (":1,password=maybe", "neither on nor off"),
        (":1,password=on,password=on", "'password' is there twice"),
        (":1,share=all", "must be one of allow-exclusive, force-shared, ignore"),
        (":1,sasl=on", "unknown option 'sasl' .known: connections, id, insecure"),
        (":1,websocket=0", "websocket=0 must be a number from 1 to 65535"),
        ("unix:/a,websocket=on", "websocket=on needs a display number"),
        (":1,connections=0", "connections=0 must be"),
        (":1,id=7", "id=7 must be a letter"),
        (":1,", "expected option=value"),
        (":1,tls-creds=", "needs a directory"),
        ("0.0.0.0:1", "whoever reaches 0.0.0.0:5901 gets screen and keyboard: add password=on"),
        ("[::]:1", r"\[::\]:5901"),
        ("example.com:1", "example.com:5901"),
        ("0.0.0.0:1,tls-creds=/pki,verify-peer=off", "whoever reaches"),
        ("0.0.0.0:1,tls-creds=anon", "whoever reaches"),
        (":1,websocket=0.0.0.0:80", "whoever reaches 0.0.0.0:80 "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, words: str) -> None:
    with pytest.raises(VmmError, match=words) as caught:
        parse_vnc(text)
    assert str(caught.value).startswith(f"--vnc {text}: ")
    assert "\n" not in str(caught.value)


def test_displays_have_qemus_ids_unless_they_are_named() -> None:
    found = parse_displays((":1", ":2,id=left", ":3"))
    assert [each.id for each in found] == ["default", "left", "vnc3"]
    with pytest.raises(VmmError, match="another display with the id 'vnc2'"):
        parse_displays((":1,id=vnc2", ":2"))


@given(st.text(alphabet=":,=.[]unix/on0123password\0é", max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        parse_vnc(text)
    except VmmError:
        return
