# SPDX-License-Identifier: GPL-2.0-or-later
"""A display, its worker and real sockets, with a scripted console."""

import asyncio
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.support.rig import thread_names
from tests.support.vnc import RAW, FakeCursor, Rig, serve
from vmm.display.encodings import ClientEncoder
from vmm.display.vnc import jobs
from vmm.display.vnc.rectangles import Rect
from vmm.display.vnc.wishes import Wishes

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


def test_a_client_that_knows_alpha_gets_the_cursor_with_it(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.console.define_cursor(FakeCursor(0, 0, np.array([[0x80FF0000]], np.uint32)))
        client = await rig.client(RAW, CURSOR, -314)
        (cursor,) = await client.update()
        assert (cursor.encoding, cursor.payload) == (-314, bytes([0, 0, 0, 0, 128, 0, 0, 128]))

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


def test_a_client_that_can_show_a_title_gets_it_now_and_when_it_changes(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, -307)
        (title,) = await client.update()
        assert (title.encoding, title.payload.decode()) == (-307, rig.console.name)
        rig.watch.title = "größer [Stopped]"
        rig.server.title_changed()
        (title,) = await client.update()
        assert title.payload.decode() == "größer [Stopped]"

    serve(tmp_path, scenario)


async def heard(rig: Rig, count: int) -> None:
    while len(rig.router.calls) < count:
        rig.router.heard.clear()
        await asyncio.wait_for(rig.router.heard.wait(), 20)


def test_continuous_updates_need_no_requests(tmp_path: Path, inline: bool) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, CONTINUOUS)
        assert await client.read(1) == bytes([150])  # it is known here
        client.send("BBHHHH", 150, 1, 0, 0, 100, 60)
        await client.update()
        for colour in (1, 2, 3):
            rig.console.fill(0, 0, 1, 1, colour)
            rig.watch.refresh()
            await client.update()
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


def test_a_size_asked_for_by_a_client_that_knows_no_sizes_is_not_answered(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        client.send("BxHHBx", 251, 80, 50, 1, tail=bytes(16))
        client.send("B3xIB", 248, 1 << 31, 0)
        assert (await client.unpack("B3xIB"))[0] == 248
        assert rig.console.wanted is None

    serve(tmp_path, scenario)


def test_a_refresh_that_found_the_worker_busy_comes_before_its_next_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "REFRESH_BASE_SECONDS", 20.0)

    async def scenario(rig: Rig) -> None:
        await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        screen = rig.watch.screen
        job = jobs.Job(
            screen, [Rect(0, 0, 100, 60)], ClientEncoder(), Wishes().settings(False), print
        )
        with ThreadPoolExecutor(1) as worker:
            with screen.lock:
                rig.console.noise(5)
                rig.watch.refresh()
                result = worker.submit(jobs.run_job, job)
            rig.watch.catch_up()
            pixels = np.frombuffer(result.result(20).data, "<u4", 100 * 60, 16).reshape(60, 100)
        np.testing.assert_array_equal(pixels, rig.console.surface.pixels & 0xFFFFFF)
        refreshes = rig.watch.refreshes
        rig.watch.catch_up()
        assert rig.watch.refreshes == refreshes, "there is nothing to catch up with"

    serve(tmp_path, scenario)


def test_a_job_of_a_screen_that_is_no_more_waits_for_nothing(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        old = rig.watch.screen
        with old.lock:
            rig.watch.refresh()
        assert not old.turn.is_set()
        rig.console.switch(33, 44)
        assert old.turn.is_set()

    serve(tmp_path, scenario)


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
