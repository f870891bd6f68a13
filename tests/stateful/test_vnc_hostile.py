# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a client sends, and however little it reads: its own connection ends, nothing else."""

import asyncio
import socket
import struct
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.stateful.test_rfb_session import HOSTILE, chunks
from tests.support.vnc import FakeConsole, FakeRouter
from vmm.display.vnc.connection import MIN_ROOM, Connection, Transport
from vmm.display.vnc.credentials import tls_context
from vmm.display.vnc.options import parse_vnc
from vmm.display.vnc.screen import ScreenWatch
from vmm.display.vnc.server import VncServer
from vmm.display.vnc.worker import InlineEncoder
from vmm.events import Event, EventBus

GREETING = b"RFB 003.008\n\1\1"
FLOODS = st.sampled_from(
    [
        struct.pack(">B3xIB", 248, 1 << 31, 64) + bytes(64),
        struct.pack(">BBHHHH", 3, 0, 0, 0, 65535, 65535),
        struct.pack(">BBHHHH", 150, 1, 0, 0, 65535, 65535),
        struct.pack(">BBHHHH", 150, 0, 0, 0, 0, 0),
        struct.pack(">BxHHBx", 251, 9, 9, 1) + bytes(16),
        struct.pack(">BxH9i", 2, 9, 0, 1, 7, -223, -308, -312, -313, -261, -239),
        struct.pack(">BxHi", 2, 1, 16),
        b"\0\0\0\0" + struct.pack(">BBBBHHHBBB3x", 8, 8, 0, 0, 0, 0, 0, 0, 0, 0),
        struct.pack(">BBxxI", 4, 1, 0x61),
        struct.pack(">BBHII", 255, 0, 1, 0x61, 30),
        struct.pack(">BBHH", 5, 255, 65535, 65535),
    ]
)
PARTS = st.lists(
    st.one_of(HOSTILE, st.tuples(FLOODS, st.integers(1, 300)).map(lambda f: f[0] * f[1])),
    max_size=8,
)


class NoSocket:
    """What asyncio's transports tell of their socket."""

    family = socket.AF_UNIX


class Pipe(asyncio.Transport):
    """A transport whose peer reads when it is told to."""

    def __init__(self) -> None:
        super().__init__({"socket": NoSocket, "peername": "", "sockname": "/vnc"})
        self.waiting = bytearray()
        self.reading, self.closed = True, False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.waiting += data

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = True

    abort = close


class Rig:
    """A display without sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.console, self.router = FakeConsole(50, 40), FakeRouter()
        self.watch = ScreenWatch(self.console, loop)
        self.events: list[Event] = []
        bus = EventBus()
        bus.subscribe(self.events.append)
        options = parse_vnc("none")
        self.server = VncServer(options, self.watch, self.router, loop, bus, InlineEncoder())
        self.server.start()

    def connect(self) -> tuple[Connection, Pipe]:
        connection = self.server._new_client(Transport(False, True, None))
        pipe = Pipe()
        connection.connection_made(pipe)
        return connection, pipe

    def close(self) -> None:
        self.server.close()
        self.watch.close()


@given(PARTS, st.lists(st.integers(0, 1 << 16), max_size=10), st.booleans(), st.booleans())
def test_a_client_can_harm_nobody_but_itself(
    parts: list[bytes], cuts: list[int], greets: bool, reads: bool
) -> None:
    async def scenario() -> None:
        rig = Rig(asyncio.get_running_loop())
        good, good_pipe = rig.connect()
        good.data_received(GREETING)
        bad, pipe = rig.connect()
        data = (GREETING if greets else b"") + b"".join(parts)
        for number, part in enumerate(chunks(data, cuts)):
            if pipe.closed or not pipe.reading:
                break
            bad.data_received(part)
            while bad._rest is not None:
                await asyncio.sleep(0)
            rig.console.fill(0, 0, 50, 40, number)
            rig.watch.refresh()
            # One chunk of messages may overshoot; then it is not read from any more.
            assert len(pipe.waiting) <= 2 * MIN_ROOM + MIN_ROOM + (1 << 20)
            assert bad.session.buffered <= (1 << 20) + 8
            if reads:
                pipe.waiting.clear()
                bad.resume_writing()
        bad.connection_lost(None)
        assert [client.connection for client in rig.server._clients] == [good]
        held = {call[:2] for call in rig.router.calls if call[-1] is True}
        released = {call[:2] for call in rig.router.calls if call[-1] is False}
        assert held <= released
        good_pipe.waiting.clear()
        good.data_received(struct.pack(">BBHHHH", 3, 0, 0, 0, 50, 40))
        pixels = np.frombuffer(bytes(good_pipe.waiting[-8000:]), "<u4").reshape(40, 50)
        np.testing.assert_array_equal(pixels, rig.console.surface.pixels & 0xFFFFFF)
        good.connection_lost(None)
        rig.close()

    asyncio.run(scenario())


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_on_a_websocket_raise(data: bytes, over_tls: bool) -> None:
    async def scenario() -> None:
        rig = Rig(asyncio.get_running_loop())
        context = tls_context(parse_vnc(":1,tls-creds=anon")) if over_tls else None
        connection = rig.server._new_client(Transport(True, False, context))
        pipe = Pipe()
        connection.connection_made(pipe)
        for part in chunks(data, [7, 100]):
            connection.data_received(part)
        connection.connection_lost(None)
        rig.close()

    asyncio.run(scenario())
