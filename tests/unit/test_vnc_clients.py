# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of a display: who may stay, what they type, and those that misbehave."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import numpy as np
import pytest

from tests.support.vnc import RAW, Rig, serve
from vmm.display.vnc.connection import Limits

DESKTOP_SIZE, LAST_RECT, CURSOR, EXTENDED_SIZE = -223, -224, -239, -308
EXTENDED_KEY, LED_STATE, POINTER_MOTION, FENCE, CONTINUOUS = -258, -261, -257, -312, -313


@pytest.fixture(params=[False, True], ids=["worker", "mainloop"])
def inline(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


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


@pytest.mark.parametrize(
    ("keysym", "num", "options", "presses"),
    [
        (0xFFB7, False, "", True),  # KP_7
        (0xFF95, True, "", True),  # KP_Home
        (0xFFB7, True, "", False),
        (0xFF95, False, "", False),
        (0xFFAB, False, "", False),  # KP_Add means the same in any case
        (0xFFB7, False, ",lock-key-sync=off", False),
    ],
)
def test_num_lock_of_client_and_guest_agree(
    tmp_path: Path, keysym: int, num: bool, options: str, presses: bool
) -> None:
    async def scenario(rig: Rig) -> None:
        rig.router.leds.num = num
        client = await rig.client()
        client.send("BBxxI", 4, 1, keysym)
        await heard(rig, 3 if presses else 1)
        assert (("key", "num_lock", True) in rig.router.calls) is presses
        assert rig.router.calls[-1][1].startswith("kp_")

    serve(tmp_path, scenario, options=options)


def test_shift_turns_the_keypad_round_and_num_lock_stays(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client()
        client.send("BBxxI", 4, 1, 0xFFE1)
        client.send("BBxxI", 4, 1, 0xFFB7)
        await heard(rig, 2)
        assert rig.router.calls == [("key", "shift", True), ("key", "kp_7", True)]

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
