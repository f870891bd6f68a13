# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that send more, or sooner, than anybody needs."""

import asyncio
import gc
import socket
import struct
import weakref
from collections import Counter
from pathlib import Path

import pytest

from tests.support.vnc import RAW, RfbClient, Rig, serve
from vmm.display.vnc import connection


async def heard(rig: Rig, count: int) -> None:
    while len(rig.router.calls) < count:
        rig.router.heard.clear()
        await asyncio.wait_for(rig.router.heard.wait(), 20)


@pytest.mark.parametrize("slice_seconds", [0.0, 1e9])
def test_a_flood_of_messages_leaves_the_main_loop_its_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slice_seconds: float
) -> None:
    """By time where each message is costly, by what is read at once where they are cheap."""
    monkeypatch.setattr(connection, "SLICE_SECONDS", slice_seconds)
    most = 1 if slice_seconds == 0.0 else connection.READ_BYTES // 8
    events, turns = 8000, 0
    in_turn: list[int] = []

    async def scenario(rig: Rig) -> None:
        def key(qcode: str, down: bool) -> None:
            rig.router.calls.append((qcode, down))
            in_turn.append(turns)

        def take_a_turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(take_a_turn)

        rig.router.key = key  # type: ignore[method-assign]
        client = await rig.client()
        take_a_turn()
        letters = "abcdefgh"
        for number in range(events):
            client.send("BBxxI", 4, number // 8 % 2 == 0, ord(letters[number % 8]))
        await heard(rig, events)
        assert rig.router.calls == [
            (letters[number % 8], number // 8 % 2 == 0) for number in range(events)
        ]
        assert max(Counter(in_turn).values()) <= most

    serve(tmp_path, scenario)


def test_a_flood_of_websocket_frames_leaves_the_main_loop_its_turns(tmp_path: Path) -> None:
    path, pings = tmp_path / "ws", 4000
    opening = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    async def scenario(rig: Rig) -> None:
        client = await RfbClient.connect(path)
        rig.clients.append(client)
        client.writer.write(opening)
        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.read(14) == b"\x82\x0cRFB 003.008\n"
        server = rig.server._clients[0].connection
        client.writer.write(b"\x89\x80\0\0\0\0" * pings)
        pongs, sent = 0, server.bytes_sent
        while pongs < pings:
            await asyncio.sleep(0)
            new = (server.bytes_sent - sent) // 2
            assert new <= connection.WEBSOCKET_READ_BYTES // 6 + 1
            pongs, sent = pongs + new, server.bytes_sent
        assert await client.read(2 * pings) == b"\x8a\0" * pings

    serve(tmp_path, scenario, options=f",websocket={path}")


def test_who_leaves_slowly_keeps_nobody_out(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        slow = await rig.client(RAW, shared=False)
        await rig.until("VNC_INITIALIZED")
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        rig.console.noise(1)
        slow.request(incremental=False)
        server = rig.server._clients[0].connection
        while not server._backlog():
            await asyncio.sleep(0.001)
        slow.writer.write(b"\x63")
        while not server.closing:
            await asyncio.sleep(0.001)
        assert len(rig.server._clients) == 1
        await rig.client(shared=True)

    serve(tmp_path, scenario, size=(2000, 1000))


def test_who_asks_faster_than_it_reads_is_not_read_from(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        transport = client.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        connection = rig.server._clients[0].connection
        flood = struct.pack(">B3xIB", 248, 1 << 31, 64) + bytes(64)
        while not connection._overloaded:
            if not transport.get_write_buffer_size():
                client.writer.write(flood * 1000)
            await asyncio.sleep(0)
        assert not connection._reading
        assert connection._backlog() < 8 << 20
        transport.resume_reading()  # type: ignore[attr-defined]
        while connection._overloaded:
            await client.read(1 << 16)

    serve(tmp_path, scenario)


def test_a_client_that_resets_its_connection_before_it_is_served_is_just_gone(
    tmp_path: Path,
) -> None:
    async def scenario(rig: Rig) -> None:
        loop, problems = asyncio.get_running_loop(), list[dict[str, object]]()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            accepted, _ = listening.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with pytest.raises(OSError, match="not connected"):
            accepted.getpeername()
        how = connection.Transport(websocket=False, any_origin=True, tls=None)
        await loop.connect_accepted_socket(lambda: rig.server._new_client(how), accepted)
        (event,) = await rig.until("VNC_DISCONNECTED")
        assert event.data["client"]["family"] == "unknown"
        assert rig.names() == ["CONNECTED", "DISCONNECTED"]
        assert problems == []

    serve(tmp_path, scenario)


def test_who_vanishes_amid_a_flood_leaves_nothing_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        client.writer.write((struct.pack(">B3xIB", 248, 1 << 31, 0)) * 400)
        client.writer.transport.abort()
        await rig.until("VNC_DISCONNECTED")

    serve(tmp_path, scenario)
    assert caplog.messages == []


def test_the_memory_of_a_client_goes_with_it(tmp_path: Path) -> None:
    """Not when the garbage collector comes, which counts objects and not their megabytes."""

    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, 1, -223, -308)
        client.request(incremental=False)
        while not await client.pixels():
            pass
        updates = rig.server._clients[0].updates
        assert updates is not None
        large = [weakref.ref(each) for each in (updates, updates._encoder, updates._scroll)]
        updates._pending["size"] = updates._size_rectangle
        del updates
        gc.disable()
        try:
            await client.close()
            await rig.until("VNC_DISCONNECTED")
            while any(each() is not None for each in large):  # the worker may just be done
                await asyncio.sleep(0.001)
        finally:
            gc.enable()

    serve(tmp_path, scenario)
