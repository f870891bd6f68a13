# SPDX-License-Identifier: GPL-2.0-or-later
"""Who gets in, and how: passwords, TLS and WebSockets on real sockets."""

import asyncio
import ssl
import struct
from pathlib import Path

import numpy as np
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws

from tests.support.certificates import Authority
from tests.support.vnc import RAW, RfbClient, Rig, serve
from vmm.display.rfb.security import encrypt_challenge
from vmm.errors import VmmError

PASSWORD = ",password=on"


def test_the_password_opens_and_another_one_does_not(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.server.set_password("secret")
        client = await rig.raw()
        await client.handshake(b"secret")
        bad = await rig.raw()
        assert await bad.read(12)
        bad.writer.write(b"RFB 003.008\n\2")
        assert await bad.unpack("BB") == (1, 2)
        bad.writer.write(encrypt_challenge(b"wrong", await bad.read(16)))
        assert await bad.unpack("II") == (1, 21)
        assert await bad.ended() == b"authentication failed"
        assert rig.names().count("INITIALIZED") == 1

    serve(tmp_path, scenario, options=PASSWORD)


async def attempt(rig: Rig, password: bytes) -> int:
    """The security result of one attempt; -1: there was no challenge."""
    client = await rig.raw()
    await client.read(12)
    client.writer.write(b"RFB 003.008\n\2")
    await client.unpack("BB")
    challenge = await client.read(8)
    if challenge[:4] == struct.pack(">I", 1):
        return -1
    challenge += await client.read(8)
    client.writer.write(encrypt_challenge(password, challenge))
    (result,) = await client.unpack("I")
    return int(result)


def test_until_a_password_is_set_nobody_gets_in(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        assert await attempt(rig, b"") == 1
        rig.server.set_password("x")
        assert await attempt(rig, b"x") == 0
        rig.server.set_password(None)
        assert await attempt(rig, b"x") == 1

    serve(tmp_path, scenario, options=PASSWORD)


def test_who_guesses_must_wait(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.server.set_password("secret")
        results = [await attempt(rig, b"guess") for _ in range(6)]
        assert results == [1] * 5 + [-1]
        assert await attempt(rig, b"secret") == -1  # also when the next guess is right

    serve(tmp_path, scenario, options=PASSWORD)


def test_a_password_expires(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.server.set_password("secret")
        rig.server.expire_password(0.0)
        assert await attempt(rig, b"secret") == 1
        rig.server.expire_password(None)
        assert await attempt(rig, b"secret") == 0

    serve(tmp_path, scenario, options=PASSWORD)


def test_a_password_needs_a_display_that_asks_for_one(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        with pytest.raises(VmmError, match="start it with password=on"):
            rig.server.set_password("secret")

    serve(tmp_path, scenario)


def test_a_password_is_at_most_eight_bytes_long(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        with pytest.raises(VmmError, match="at most 8 bytes"):
            rig.server.set_password("ninebytes")

    serve(tmp_path, scenario, options=PASSWORD)


def test_a_password_comes_from_the_first_line_of_a_file(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        assert await attempt(rig, b"secret") == 0

    file = tmp_path / "password"
    file.write_bytes(b"secret\r\nmore\n")
    serve(tmp_path, scenario, options=f",password-file={file}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n", "first line is empty"),
        (b"\xff", "not text"),
        (b"123456789", "at most 8 bytes"),
        (None, "No such file"),
    ],
)
def test_a_bad_password_file_is_an_error(tmp_path: Path, content: bytes | None, words: str) -> None:
    async def scenario(rig: Rig) -> None:
        raise AssertionError("it started")

    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(VmmError, match=words):
        serve(tmp_path, scenario, options=f",password-file={file}")


def client_context(folder: Path, certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca-cert.pem"))
    if certificate:
        context.load_cert_chain(folder / "client-cert.pem", folder / "client-key.pem")
    return context


@pytest.mark.parametrize("certificate", [False, True])
def test_vencrypt_leads_through_tls_to_the_screen(tmp_path: Path, certificate: bool) -> None:
    authority = Authority()
    for name in ("server", "client"):
        authority.write(tmp_path, name)

    async def scenario(rig: Rig) -> None:
        if not certificate:
            rig.server.set_password("secret")
        rig.console.noise(7)
        client = await rig.raw()
        await client.read(12)
        client.writer.write(b"RFB 003.008\n")
        assert await client.unpack("BB") == (1, 19)
        client.writer.write(bytes([19]))
        assert await client.unpack("BB") == (0, 2)
        client.writer.write(bytes([0, 2]))
        zero, count, subtype = await client.unpack("BBI")
        assert (zero, count, subtype) == (0, 1, 260 if certificate else 261)
        client.send("I", subtype)
        assert await client.read(1) == b"\1"
        context = client_context(tmp_path, certificate)
        await client.writer.start_tls(context, server_hostname="localhost")
        if not certificate:
            client.writer.write(encrypt_challenge(b"secret", await client.read(16)))
        assert await client.unpack("I") == (0,)
        await client.initialise()
        client.request(incremental=False)
        await client.update()
        np.testing.assert_array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF)
        (info,) = rig.server.clients()
        assert info.x509_dname == ("commonName=client" if certificate else None)
        assert rig.server.query_vnc()["auth"] == f"vencrypt+x509+{'none' if certificate else 'vnc'}"

    how = "" if certificate else ",verify-peer=off,password=on"
    serve(tmp_path, scenario, options=f",tls-creds={tmp_path}{how}")


class WebSocketStream:
    """A WebSocket client that the RFB client can use as its reader and writer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.transport = reader, writer
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._got = bytearray()
        request = ws.Request(host="localhost", target="/", subprotocols=["binary"])
        writer.write(self._ws.send(request))

    async def _more(self) -> None:
        data = await self._reader.read(1 << 16)
        self._ws.receive_data(data or None)
        for event in self._ws.events():
            if isinstance(event, ws.BytesMessage):
                self._got += event.data
            else:
                assert isinstance(event, ws.AcceptConnection), event
                assert event.subprotocol == "binary"

    async def readexactly(self, count: int) -> bytes:
        while len(self._got) < count:
            await self._more()
        data = bytes(self._got[:count])
        del self._got[:count]
        return data

    def write(self, data: bytes) -> None:
        self.transport.write(self._ws.send(ws.BytesMessage(data=data)))

    def close(self) -> None:
        self.transport.close()

    async def wait_closed(self) -> None:
        await self.transport.wait_closed()


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_websocket_shows_the_screen(tmp_path: Path, tls: bool) -> None:
    Authority().write(tmp_path, "server")

    async def scenario(rig: Rig) -> None:
        rig.console.noise(5)
        context = client_context(tmp_path, False) if tls else None
        pair = await asyncio.open_unix_connection(
            tmp_path / "ws", ssl=context, server_hostname="localhost" if tls else None
        )
        stream = WebSocketStream(*pair)
        client = RfbClient(stream, stream)  # type: ignore[arg-type]
        rig.clients.append(client)
        await client.handshake()
        client.set_encodings(RAW)
        client.request(incremental=False)
        await client.update()
        np.testing.assert_array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF)
        (info,) = rig.server.clients()
        assert info.peer.websocket
        assert [each.websocket for each in rig.server.addresses] == [False, True]

    how = f",tls-creds={tmp_path},verify-peer=off" if tls else ""
    serve(tmp_path, scenario, options=f",websocket={tmp_path}/ws{how}")


def test_a_strange_page_hears_why_it_may_not_connect(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "ws")
        connection = WSConnection(ConnectionType.CLIENT)
        headers = [(b"Origin", b"https://example.com")]
        writer.write(connection.send(ws.Request(host="x", target="/", extra_headers=headers)))
        assert (await reader.read()).startswith(b"HTTP/1.1 403")
        writer.close()
        await writer.wait_closed()
        await rig.until("VNC_DISCONNECTED")

    serve(tmp_path, scenario, options=f",websocket={tmp_path}/ws")
