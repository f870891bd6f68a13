# SPDX-License-Identifier: GPL-2.0-or-later
"""A display, its worker and real sockets, with a scripted console."""

import asyncio
import os
import socket
import stat
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support.rig import thread_names
from tests.support.vnc import RAW, FakeCursor, Rig, serve
from vmm.display.vnc.connection import Limits

DESKTOP_SIZE, LAST_RECT, CURSOR, EXTENDED_SIZE = -223, -224, -239, -308
EXTENDED_KEY, LED_STATE, POINTER_MOTION, FENCE, CONTINUOUS = -258, -261, -257, -312, -313


@pytest.fixture(params=[False, True], ids=["worker", "mainloop"])
def inline(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_client_sees_the_screen_and_then_what_changes(tmp_path: Path, inline: bool) -> None:
    async def scenario(rig: Rig) -> None:
        rig.console.noise(1)
        client = await rig.client(RAW)
        assert client.name == "scripted"
        assert rig.watch.console is rig.console
        client.request(incremental=False)
        await client.update()
        np.testing.assert_array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF)
        rig.console.fill(20, 33, 3, 2, 0x123456)
        found = await client.pixels()
        # One tile, cut at nothing: what is dirty and not a pixel more than a tile around it.
        assert [(r.x, r.y, r.width, r.height) for r in found] == [(16, 32, 16, 16)]
        np.testing.assert_array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF)
        (info,) = rig.server.clients()
        assert info.statistics.updates == 2
        assert info.statistics.encode_ns > 0
        assert info.statistics.bytes > 100 * 60 * 4

    serve(tmp_path, scenario, inline=inline)


def test_nothing_is_sent_that_was_not_asked_for(tmp_path: Path, inline: bool) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        rig.watch.refresh()
        rig.console.noise(2)
        rig.watch.refresh()
        client.send("B3xIB", 248, 1 << 31, 1, tail=b"f")
        assert (await client.unpack("B3xIB"))[0] == 248  # a fence, no update before it
        await client.read(1)
        client.request(area=(0, 0, 16, 16))
        found = await client.update()
        assert [(r.x, r.y, r.width, r.height) for r in found] == [(0, 0, 16, 16)]
        client.request()
        rest = await client.update()
        assert sum(r.width * r.height for r in rest) == 100 * 60 - 256
        np.testing.assert_array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF)

    serve(tmp_path, scenario, inline=inline)


def test_pixels_come_in_the_format_the_client_sets(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.console.fill(0, 0, 100, 60, 0xFF8040)
        client = await rig.client(RAW)
        form = struct.pack(">BBBBHHHBBB3x", 16, 16, 1, 1, 31, 63, 31, 11, 5, 0)
        client.send("B3x", 0, tail=form)
        client.format = type(client.format).parse(form)
        client.request(incremental=False)
        await client.update()
        pixel = int(client.screen[0, 0])
        assert (pixel >> 11, pixel >> 5 & 63, pixel & 31) == (31, 32, 8)

    serve(tmp_path, scenario)


def test_a_client_with_a_colour_map_gets_a_fixed_one(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.console.fill(0, 0, 100, 60, 0xFF0000)
        client = await rig.client(RAW)
        form = struct.pack(">BBBBHHHBBB3x", 8, 8, 0, 0, 0, 0, 0, 0, 0, 0)
        client.send("B3x", 0, tail=form)
        assert await client.unpack("BxHH") == (1, 0, 256)
        colours = np.frombuffer(await client.read(256 * 6), ">u2").reshape(256, 3)
        client.request(incremental=False)
        kind, count, *where = await client.unpack("BxHHHHHi")
        assert (kind, count, where) == (0, 1, [0, 0, 100, 60, RAW])
        pixel = (await client.read(100 * 60))[0]
        assert colours[pixel].tolist() == [65535, 0, 0]

    serve(tmp_path, scenario)


def test_a_client_that_can_last_rect_gets_it(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, LAST_RECT)
        client.request(incremental=False)
        kind, count = await client.unpack("BxH")
        assert (kind, count) == (0, 0xFFFF)

    serve(tmp_path, scenario)


@pytest.mark.parametrize("pseudo", [DESKTOP_SIZE, EXTENDED_SIZE])
def test_a_mode_change_reaches_the_client_before_its_pixels(
    tmp_path: Path, pseudo: int, inline: bool
) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, pseudo)
        if pseudo == EXTENDED_SIZE:
            (announced,) = await client.update()
            assert (announced.encoding, announced.payload[0]) == (EXTENDED_SIZE, 1)
        client.request(incremental=False)
        await client.update()
        rig.console.switch(161, 47)
        rig.console.noise(3)
        rig.watch.refresh()
        (size,) = await client.update()
        assert (size.encoding, size.width, size.height) == (pseudo, 161, 47)
        client.request(incremental=False)
        await client.pixels()
        np.testing.assert_array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF)

    serve(tmp_path, scenario, inline=inline)


def test_a_client_that_cannot_resize_keeps_its_size(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        rig.console.switch(200, 30)
        rig.console.noise(3)
        rig.watch.refresh()
        client.request(incremental=False)
        await client.pixels()
        np.testing.assert_array_equal(
            client.screen[:30], rig.console.surface.pixels[:, :100] & 0xFFFFFF
        )
        assert not client.screen[30:].any()

    serve(tmp_path, scenario)


def test_the_size_a_client_wishes_is_passed_on(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, EXTENDED_SIZE)
        await client.update()
        for width, screens, status in ((1024, 1, 4), (1024, 2, 3), (5000, 1, 3)):
            client.send("BxHHBx", 251, width, 768, screens, tail=bytes(16 * screens))
            (answer,) = await client.update()
            assert (answer.x, answer.y, answer.width) == (1, status, 100)
        assert rig.console.wanted == (1024, 768)

    serve(tmp_path, scenario)


def test_the_guests_cursor_is_shown_and_taken_away(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, CURSOR)
        argb = np.array([[0xFF112233, 0x00FFFFFF, 0x80000001]], np.uint32)
        rig.console.define_cursor(FakeCursor(2, 0, argb))
        (cursor,) = await client.update()
        assert (cursor.x, cursor.y, cursor.width, cursor.height) == (2, 0, 3, 1)
        pixels = struct.pack("<3I", 0x112233, 0xFFFFFF, 1)
        assert cursor.payload == pixels + bytes([0b10100000])
        rig.console.define_cursor(None)
        (cursor,) = await client.update()
        assert (cursor.width, cursor.height, cursor.encoding) == (0, 0, CURSOR)

    serve(tmp_path, scenario)


def test_keyboard_lights_reach_the_client(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, LED_STATE, EXTENDED_KEY)
        first = {r.encoding: r.payload for r in await client.update()}
        assert first == {LED_STATE: b"\0", EXTENDED_KEY: b""}
        rig.router.light(caps=True, scroll=True)
        (leds,) = await client.update()
        assert leds.payload == bytes([0b101])

    serve(tmp_path, scenario)


async def heard(rig: Rig, count: int) -> None:
    while len(rig.router.calls) < count:
        rig.router.heard.clear()
        await asyncio.wait_for(rig.router.heard.wait(), 20)


def test_keys_and_pointer_reach_the_guest_and_are_released_in_the_end(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client()
        client.send("BBxxI", 4, 1, 0xFF0D)
        client.send("BBHII", 255, 0, 1, 0x61, 30)
        client.send("BBHH", 5, 1, 7, 9)
        client.send("BBHH", 5, 0b1000, 7, 70)
        await heard(rig, 7)
        assert rig.router.calls == [
            ("key", "ret", True),
            ("number", 30, True),
            ("abs", 7, 9, 100, 60),
            ("button", "left", True),
            ("abs", 7, 59, 100, 60),
            ("button", "left", False),
            ("button", "wheel-up", True),
        ]
        rig.router.calls.clear()
        await client.close()
        await rig.until("VNC_DISCONNECTED")
        assert set(rig.router.calls) == {
            ("key", "ret", False),
            ("number", 30, False),
            ("button", "wheel-up", False),
        }

    serve(tmp_path, scenario)


def test_a_client_that_can_sends_movements(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(POINTER_MOTION)
        (answer,) = await client.update()
        assert (answer.x, answer.encoding) == (0, POINTER_MOTION)
        client.send("BBHH", 5, 0, 0x7FFF + 3, 0x7FFF - 2)
        await heard(rig, 1)
        assert rig.router.calls == [("rel", 3, -2)]

    serve(tmp_path, scenario)


@pytest.mark.parametrize(
    ("keysym", "caps", "options", "presses"),
    [
        (0x41, False, "", True),
        (0x61, True, "", True),
        (0x41, True, "", False),
        (0x61, False, "", False),
        (0x41, False, ",lock-key-sync=off", False),
    ],
)
def test_caps_lock_of_client_and_guest_agree(
    tmp_path: Path, keysym: int, caps: bool, options: str, presses: bool
) -> None:
    async def scenario(rig: Rig) -> None:
        rig.router.leds.caps = caps
        client = await rig.client()
        client.send("BBxxI", 4, 1, keysym)
        await heard(rig, 3 if presses else 1)
        assert (("key", "caps_lock", True) in rig.router.calls) is presses
        assert rig.router.calls[-1] == ("key", "a", True)

    serve(tmp_path, scenario, options=options)


def test_continuous_updates_need_no_requests(tmp_path: Path, inline: bool) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, CONTINUOUS)
        assert await client.read(1) == bytes([150])  # it is known here
        client.send("BBHHHH", 150, 1, 0, 0, 100, 60)
        await client.update()
        for colour in (1, 2, 3):
            rig.console.fill(0, 0, 1, 1, colour)
            rig.watch.refresh()
            (_tile,) = await client.update()
            assert client.screen[0, 0] == colour
        client.send("BBHHHH", 150, 0, 0, 0, 0, 0)
        assert await client.read(1) == bytes([150])

    serve(tmp_path, scenario, inline=inline)


def test_a_fence_for_the_next_message_holds_updates_back(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, FENCE)
        assert await client.unpack("B3xIB") == (248, 1 << 31, 0)
        client.request(incremental=False)
        await client.update()
        client.request()
        client.send("B3xIB", 248, 1 << 31 | 4 | 0x100, 1, tail=b"x")
        client.send("B3xIB", 248, 1 << 31, 1, tail=b"y")
        # The second, plain fence is answered; the first waits for a message that is no fence.
        assert await client.unpack("B3xIBc") == (248, 0, 1, b"y")
        rig.console.fill(0, 0, 1, 1, 5)
        rig.watch.refresh()
        client.send("B3xIB", 248, 1 << 31, 1, tail=b"z")
        assert await client.unpack("B3xIBc") == (248, 0, 1, b"z")  # and no update before it
        client.send("BBxxI", 4, 0, 0xFF0D)
        assert await client.unpack("B3xIBc") == (248, 4, 1, b"x")
        await client.update()
        assert client.screen[0, 0] == 5

    serve(tmp_path, scenario)


def test_clients_come_and_go_with_qapis_events(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client()
        (event,) = await rig.until("VNC_INITIALIZED")
        assert event.data == {
            "server": {
                "host": "",
                "service": str(rig.path),
                "family": "unix",
                "websocket": False,
                "auth": "none",
            },
            "client": {"host": "", "service": "", "family": "unix", "websocket": False},
        }
        assert rig.server.query_vnc() == {
            "enabled": True,
            "host": "",
            "service": str(rig.path),
            "family": "unix",
            "auth": "none",
            "clients": [{"host": "", "service": "", "family": "unix", "websocket": False}],
        }
        await client.close()
        await rig.until("VNC_DISCONNECTED")
        assert rig.names() == ["CONNECTED", "INITIALIZED", "DISCONNECTED"]
        assert rig.server.clients() == []

    serve(tmp_path, scenario)


def test_the_server_answers_query_vnc_servers(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        assert rig.server.query_vnc_server() == {
            "id": "default",
            "server": [
                {
                    "host": "",
                    "service": str(rig.path),
                    "family": "unix",
                    "websocket": False,
                    "auth": "vnc",
                }
            ],
            "clients": [],
            "auth": "vnc",
        }

    serve(tmp_path, scenario, options=",password=on")


def test_without_a_client_nothing_is_refreshed(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.watch.poke()
        assert (rig.console.queries, rig.watch.refreshes) == (0, 0)
        client = await rig.client()
        await rig.until("VNC_INITIALIZED")
        await client.pixels()
        assert rig.watch.refreshes > 0
        await client.close()
        await rig.until("VNC_DISCONNECTED")
        rig.watch._tick()
        assert rig.watch._timer is None

    serve(tmp_path, scenario)


def test_the_interval_grows_while_nothing_changes_and_shrinks_again(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        client.request(incremental=False)
        await client.update()
        rig.watch.interval = 0.03
        for _ in range(3):
            rig.watch.refresh()
        assert rig.watch.interval == pytest.approx(0.18)
        for _ in range(60):
            rig.watch.refresh()
        assert rig.watch.interval == 3.0
        client.send("BBHHHH", 150, 1, 0, 0, 100, 60)
        client.send("BBHH", 5, 0, 1, 1)
        await heard(rig, 1)
        assert rig.watch.interval == pytest.approx(0.03)  # input: something will change
        rig.watch.interval = 2.0
        rig.console.fill(0, 0, 1, 1, 9)
        rig.watch.refresh()
        assert rig.watch.interval == 1.0

    serve(tmp_path, scenario, inline=True)


def test_a_refresh_does_not_wait_for_the_worker(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        rig.watch.refresh()
        queries = rig.console.queries
        with rig.watch.screen.lock:
            rig.watch.refresh()
        assert rig.watch.lock_misses == 1
        assert rig.console.queries == queries  # dirty rows stay where they are
        assert rig.watch.interval == pytest.approx(0.03)

    serve(tmp_path, scenario)


def test_the_worker_is_a_thread_of_its_own(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        assert thread_names().count("vnc_worker") == 1

    serve(tmp_path, scenario)
    assert "vnc_worker" not in thread_names()


def test_the_socket_is_its_owners_alone_and_goes_in_the_end(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        assert stat.S_IMODE(rig.path.stat().st_mode) == 0o600

    serve(tmp_path, scenario)
    assert not (tmp_path / "vnc").exists()


def test_an_exclusive_client_sends_the_others_away(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        first = await rig.client()
        second = await rig.client(shared=False)
        assert await first.ended() == b""
        third = await rig.raw()
        with pytest.raises(asyncio.IncompleteReadError):
            await third.handshake()
        second.request(incremental=False)
        await second.update()

    serve(tmp_path, scenario)


def test_force_shared_refuses_who_wants_the_display_alone(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.client()
        second = await rig.raw()
        with pytest.raises(asyncio.IncompleteReadError):
            await second.handshake(shared=False)
        assert len(rig.server.clients()) == 1

    serve(tmp_path, scenario, options=",share=force-shared")


def test_share_ignore_lets_everybody_stay(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for client in (await rig.client(), await rig.client(shared=False), await rig.client()):
            client.request(incremental=False)
        for client in rig.clients:
            await client.update()

    serve(tmp_path, scenario, options=",share=ignore")


def test_one_connection_too_many_costs_the_oldest_that_waits(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        good = await rig.client()
        idle = await rig.raw()
        await rig.until("VNC_CONNECTED", 2)
        await rig.client()
        await idle.ended()
        assert len(rig.server.clients()) == 2
        last = await rig.raw()  # nobody else waits: it is the one too many
        await last.ended()
        good.request(incremental=False)
        await good.update()

    serve(tmp_path, scenario, options=",connections=2")


def test_a_handshake_that_does_not_end_is_ended(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.raw()
        await client.ended()
        await rig.until("VNC_DISCONNECTED")

    serve(tmp_path, scenario, limits=Limits(handshake=0.0))


def test_a_client_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        rig.watch.screen  # noqa: B018
        for round_ in range(40):
            client.request(incremental=False)
            rig.console.noise(round_)
            rig.watch.refresh()
            await asyncio.sleep(0)
        await rig.until("VNC_DISCONNECTED")

    serve(tmp_path, scenario, size=(1600, 1200), inline=True, limits=Limits(stall=0.0))


def test_a_slow_client_gets_fewer_updates_and_loses_nothing(tmp_path: Path, inline: bool) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send("BBHHHH", 150, 1, 0, 0, 800, 600)
        for round_ in range(30):
            rig.console.noise(round_)
            rig.watch.refresh()
            await asyncio.sleep(0)
        (info,) = rig.server.clients()
        assert info.statistics.updates < 10  # about what two frames and the kernel hold
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        rig.watch.refresh()
        while not np.array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF):
            await client.update()

    serve(tmp_path, scenario, size=(800, 600), inline=inline)


def test_who_asks_faster_than_it_reads_is_not_read_from(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        transport = client.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        connection = rig.server._clients[0].connection
        flood = struct.pack(">B3xIB", 248, 1 << 31, 64) + bytes(64)
        for _ in range(300):
            client.writer.write(flood * 1000)
            await asyncio.sleep(0)
            if not connection._reading:
                break
        assert not connection._reading
        assert connection._backlog() < 8 << 20
        transport.resume_reading()  # type: ignore[attr-defined]
        while not connection._reading:
            await client.read(1 << 16)

    serve(tmp_path, scenario)


def test_a_broken_message_costs_one_client(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        good = await rig.client(RAW)
        bad = await rig.client(RAW)
        bad.writer.write(b"\x63")
        assert await bad.ended() == b""
        good.request(incremental=False)
        await good.update()

    serve(tmp_path, scenario)


def test_an_encoder_that_fails_costs_its_client(
    tmp_path: Path, inline: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        bad = await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        updates = rig.server._clients[0].updates
        assert updates is not None
        updates._encoder = None  # type: ignore[assignment]
        bad.request(incremental=False)
        assert await bad.ended() == b""
        good = await rig.client(RAW)
        good.request(incremental=False)
        await good.update()

    serve(tmp_path, scenario, inline=inline)
    assert "encoding 0 failed" in caplog.text


def test_a_stale_socket_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.client()

    path = tmp_path / "vnc"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(path))
    serve(tmp_path, scenario)
