# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS and layers over it, through memory."""

import contextlib
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import Authority
from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.layers import LayerStack
from vmm.display.rfb.tls import TlsLayer
from vmm.display.vnc.credentials import tls_context
from vmm.display.vnc.options import parse_vnc
from vmm.errors import VmmError


class Peer:
    """A TLS client in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def shake(self, stack: LayerStack) -> None:
        """Handshake until both are done."""
        for _ in range(8):
            try:
                self.tls.do_handshake()
                self.exchange(stack)
                return
            except ssl.SSLWantReadError:
                self.exchange(stack)

    def exchange(self, stack: LayerStack) -> bytes:
        data = self.outgoing.read()
        try:
            return stack.receive(data) if data else b""
        finally:
            self.incoming.write(b"".join(stack.take_output()))


def context(text: str) -> ssl.SSLContext:
    made = tls_context(parse_vnc(f":1,{text}"))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pki")
    authority = Authority()
    authority.write(made, "server")
    authority.write(made, "client")
    return made


def client_context(folder: Path, with_certificate: bool = False) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(folder / "ca-cert.pem"))
    if with_certificate:
        made.load_cert_chain(folder / "client-cert.pem", folder / "client-key.pem")
    return made


def test_bytes_pass_both_ways_and_what_came_early_waits(folder: Path) -> None:
    stack = LayerStack()
    stack.push(TlsLayer(context(f"tls-creds={folder},verify-peer=off")))
    stack.send(b"early")
    peer = Peer(client_context(folder))
    peer.shake(stack)
    assert peer.tls.read() == b"early"
    peer.tls.write(b"hello")
    assert peer.exchange(stack) == b"hello"
    stack.send(b"x" * 100_000)
    peer.incoming.write(b"".join(stack.take_output()))
    got = b""
    while len(got) < 100_000:
        got += peer.tls.read(1 << 17)
    assert got == b"x" * 100_000
    stack.close()
    peer.incoming.write(b"".join(stack.take_output()))
    assert peer.tls.read() == b""  # an end, not a cut


def test_what_comes_before_the_peers_goodbye_is_not_lost(folder: Path) -> None:
    stack = LayerStack()
    stack.push(TlsLayer(context(f"tls-creds={folder},verify-peer=off")))
    peer = Peer(client_context(folder))
    peer.shake(stack)
    assert stack.ended is None
    peer.tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    assert peer.exchange(stack) == b"last words"
    assert stack.ended == "closed by the client"


def test_the_clients_certificate_has_a_name(folder: Path) -> None:
    layer = TlsLayer(context(f"tls-creds={folder}"))
    stack = LayerStack()
    stack.push(layer)
    assert layer.peer_name() is None
    Peer(client_context(folder, with_certificate=True)).shake(stack)
    assert layer.peer_name() == "commonName=client"


def test_a_client_without_a_certificate_is_refused(folder: Path) -> None:
    stack = LayerStack()
    stack.push(TlsLayer(context(f"tls-creds={folder}")))
    with pytest.raises(RfbError, match="TLS: PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        Peer(client_context(folder)).shake(stack)


def test_anonymous_tls_needs_no_files() -> None:
    stack = LayerStack()
    stack.push(TlsLayer(context("tls-creds=anon")))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_ciphers("aNULL:@SECLEVEL=0")
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    peer = Peer(made)
    peer.shake(stack)
    peer.tls.write(b"hello")
    assert peer.exchange(stack) == b"hello"


def test_no_ticket_comes_before_the_first_message(folder: Path) -> None:
    stack = LayerStack()
    stack.push(TlsLayer(context(f"tls-creds={folder},verify-peer=off")))
    peer = Peer(client_context(folder))
    peer.shake(stack)
    assert peer.tls.version() == "TLSv1.3"
    assert stack.take_output() == []
    assert peer.incoming.pending == 0


def test_old_versions_of_tls_are_refused(folder: Path) -> None:
    assert context(f"tls-creds={folder},verify-peer=off").minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("removed", ["server-cert.pem", "server-key.pem", "ca-cert.pem"])
def test_a_missing_file_is_named(tmp_path: Path, removed: str) -> None:
    Authority().write(tmp_path, "server")
    (tmp_path / removed).unlink()
    with pytest.raises(VmmError, match=removed) as caught:
        tls_context(parse_vnc(f":1,tls-creds={tmp_path}"))
    assert "No such file" in str(caught.value)
    (tmp_path / removed).write_text("nonsense")
    with pytest.raises(VmmError, match=removed):
        tls_context(parse_vnc(f":1,tls-creds={tmp_path}"))


@given(st.binary(min_size=1, max_size=200))
def test_garbage_raises_nothing_but_its_own_error(data: bytes) -> None:
    layer = TlsLayer(context("tls-creds=anon"))
    with contextlib.suppress(RfbError):
        assert layer.receive(data) == b""
    layer.take_output()
    layer.close()


def test_too_much_before_the_handshake_is_refused() -> None:
    layer = TlsLayer(context("tls-creds=anon"))
    with pytest.raises(RfbError, match="does not end"):
        layer.send(bytes(1 << 17))
