# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted console, a keyboard that notes what it is told, and an RFB client that decodes Raw."""

import asyncio
import ssl
import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vmm.display.pixels import NATIVE, PixelFormat
from vmm.display.rfb.security import encrypt_challenge
from vmm.display.vnc.connection import Limits
from vmm.display.vnc.jobs import JobSink
from vmm.display.vnc.options import parse_vnc
from vmm.display.vnc.ports import ConsoleListener
from vmm.display.vnc.screen import ScreenWatch
from vmm.display.vnc.server import VncServer
from vmm.display.vnc.worker import EncodeWorker, InlineEncoder
from vmm.events import Event, EventBus

RAW, COPY_RECT = 0, 1
PATIENCE_SECONDS = 20.0


@dataclass
class FakeSurface:
    width: int
    height: int
    pixels: NDArray[np.uint32]


@dataclass
class FakeCursor:
    hot_x: int
    hot_y: int
    argb: NDArray[np.uint32]


class FakeConsole:
    """A console whose guest is the test."""

    name = "scripted"

    def __init__(self, width: int = 100, height: int = 60) -> None:
        self.cursor: FakeCursor | None = None
        self.wanted: tuple[int, int] | None = None
        self.listeners: list[ConsoleListener] = []
        self.queries = 0
        self._new_surface(width, height)

    def _new_surface(self, width: int, height: int) -> None:
        self.surface = FakeSurface(width, height, np.zeros((height, width), np.uint32))
        self._dirty = np.ones(height, np.bool_)

    def dirty_rows(self) -> NDArray[np.bool_]:
        self.queries += 1
        rows, self._dirty = self._dirty, np.zeros(self.surface.height, np.bool_)
        return rows

    def add_listener(self, listener: ConsoleListener) -> None:
        self.listeners.append(listener)

    def remove_listener(self, listener: ConsoleListener) -> None:
        self.listeners.remove(listener)

    def request_size(self, width: int, height: int) -> None:
        if width > 4096:
            raise ValueError("too wide")
        self.wanted = (width, height)

    def fill(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        self.surface.pixels[y : y + height, x : x + width] = colour
        self._dirty[y : y + height] = True

    def noise(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        shape = self.surface.pixels.shape
        self.surface.pixels[:] = random.integers(0, 1 << 32, shape, np.uint32)
        self._dirty[:] = True

    def switch(self, width: int, height: int) -> None:
        self._new_surface(width, height)
        for listener in self.listeners:
            listener.surface_switched()

    def define_cursor(self, cursor: FakeCursor | None) -> None:
        self.cursor = cursor
        for listener in self.listeners:
            listener.cursor_defined()


@dataclass
class FakeLeds:
    scroll: bool = False
    num: bool = False
    caps: bool = False


class FakeRouter:
    """Notes what it is told; ``heard`` is set each time."""

    def __init__(self) -> None:
        self.leds = FakeLeds()
        self.calls: list[tuple[Any, ...]] = []
        self.heard = asyncio.Event()
        self.forgotten = 0
        self._callbacks: list[Callable[[Any], None]] = []

    def key(self, qcode: str, down: bool) -> None:
        self.calls.append(("key", qcode, down))

    def key_number(self, number: int, down: bool) -> None:
        self.calls.append(("number", number, down))

    def pointer_abs(self, x: int, y: int, width: int, height: int) -> None:
        self.calls.append(("abs", x, y, width, height))

    def pointer_rel(self, dx: int, dy: int) -> None:
        self.calls.append(("rel", dx, dy))

    def button(self, name: str, down: bool) -> None:
        self.calls.append(("button", name, down))

    def sync(self) -> None:
        self.heard.set()

    def on_leds(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def forget_position(self) -> None:
        self.forgotten += 1

    def light(self, **leds: bool) -> None:
        self.leds = FakeLeds(**leds)
        for callback in self._callbacks:
            callback(self.leds)


@dataclass
class Rectangle:
    x: int
    y: int
    width: int
    height: int
    encoding: int
    payload: bytes = b""


class RfbClient:
    """A client over asyncio streams. Decodes Raw and pseudo-rectangles into ``screen``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.format: PixelFormat = NATIVE
        self.screen = np.zeros((0, 0), np.uint32)
        self.name = ""

    @classmethod
    async def connect(cls, path: Path) -> Self:
        return cls(*await asyncio.open_unix_connection(path))

    async def read(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), PATIENCE_SECONDS)

    async def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(">" + form, await self.read(struct.calcsize(">" + form)))

    def send(self, form: str, *values: Any, tail: bytes = b"") -> None:
        self.writer.write(struct.pack(">" + form, *values) + tail)

    async def handshake(self, password: bytes | None = None, shared: bool = True) -> None:
        """As a 3.8 client, up to ServerInit."""
        assert await self.read(12) == b"RFB 003.008\n"
        self.writer.write(b"RFB 003.008\n")
        count, kind = await self.unpack("BB")
        assert count == 1
        self.writer.write(bytes([kind]))
        if kind == 2:
            assert password is not None
            self.writer.write(encrypt_challenge(password, await self.read(16)))
        assert await self.unpack("I") == (0,)
        await self.initialise(shared)

    async def initialise(self, shared: bool = True) -> None:
        self.writer.write(bytes([shared]))
        width, height = await self.unpack("HH")
        assert PixelFormat.parse(await self.read(16)) == NATIVE
        (length,) = await self.unpack("I")
        self.name = (await self.read(length)).decode()
        self.screen = np.zeros((height, width), np.uint32)

    def set_encodings(self, *encodings: int) -> None:
        self.send(f"BxH{len(encodings)}i", 2, len(encodings), *encodings)

    def request(self, incremental: bool = True, area: tuple[int, ...] | None = None) -> None:
        height, width = self.screen.shape
        self.send("BBHHHH", 3, incremental, *(area or (0, 0, width, height)))

    async def update(self) -> list[Rectangle]:
        """The next message, which is an update."""
        kind, count = await self.unpack("BxH")
        assert kind == 0
        found = []
        while count and (rectangle := await self._rectangle()).encoding != -224:
            found.append(rectangle)
            count -= 1
        return found

    async def pixels(self) -> list[Rectangle]:
        """Request and read updates until one has pixels."""
        while True:
            self.request()
            found = await self.update()
            if any(each.encoding == RAW for each in found):
                return found

    async def _rectangle(self) -> Rectangle:
        each = Rectangle(*await self.unpack("HHHHi"))
        if each.encoding == RAW:
            size = each.width * each.height * self.format.bits_per_pixel // 8
            each.payload = await self.read(size)
            self._draw(each)
        elif each.encoding == COPY_RECT:
            each.payload = await self.read(4)
            x, y = struct.unpack(">HH", each.payload)
            moved = self.screen[y : y + each.height, x : x + each.width].copy()
            assert moved.shape == (each.height, each.width)
            self.screen[each.y : each.y + each.height, each.x : each.x + each.width] = moved
        elif each.encoding == -239:
            mask = (each.width + 7) // 8 * each.height
            each.payload = await self.read(each.width * each.height * 4 + mask)
        elif each.encoding == -314:
            each.payload = await self.read(4 + each.width * each.height * 4)
        elif each.encoding == -261:
            each.payload = await self.read(1)
        elif each.encoding == -307:
            (length,) = await self.unpack("I")
            each.payload = await self.read(length)
        elif each.encoding == -308:
            each.payload = await self.read(4)
            each.payload += await self.read(16 * each.payload[0])
        if each.encoding in (-308, -223) and each.y == 0:
            self.screen = np.zeros((each.height, each.width), np.uint32)
        return each

    def _draw(self, each: Rectangle) -> None:
        order = ">" if self.format.big_endian else "<"
        kind = np.dtype(f"{order}u{self.format.bits_per_pixel // 8}")
        pixels = np.frombuffer(each.payload, kind).reshape(each.height, each.width)
        rows, columns = slice(each.y, each.y + each.height), slice(each.x, each.x + each.width)
        assert self.screen[rows, columns].shape == pixels.shape, "beyond the framebuffer"
        self.screen[rows, columns] = pixels

    async def ended(self) -> bytes:
        """What comes until the server closes the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE_SECONDS)
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):  # the server's last bytes were not read
            return


@dataclass
class Rig:
    """A display on a Unix socket, and everything around it."""

    path: Path
    console: FakeConsole
    router: FakeRouter
    watch: ScreenWatch
    server: VncServer
    jobs: JobSink
    bus: EventBus
    events: list[Event] = field(default_factory=list)
    clients: list[RfbClient] = field(default_factory=list)

    async def raw(self) -> RfbClient:
        """A connected client that has said nothing."""
        client = await RfbClient.connect(self.path)
        self.clients.append(client)
        return client

    async def client(self, *encodings: int, shared: bool = True) -> RfbClient:
        """A client that has been let in."""
        client = await self.raw()
        await client.handshake(shared=shared)
        if encodings:
            client.set_encodings(*encodings)
        return client

    async def until(self, name: str, count: int = 1) -> list[Event]:
        """The events of a name, once there are that many."""
        arrived = asyncio.Event()
        leave = self.bus.subscribe(lambda _: arrived.set())
        try:
            while len(found := [each for each in self.events if each.name == name]) < count:
                arrived.clear()
                await asyncio.wait_for(arrived.wait(), PATIENCE_SECONDS)
        finally:
            leave()
        return found

    def names(self) -> list[str]:
        return [each.name.removeprefix("VNC_") for each in self.events]


def serve(
    folder: Path,
    scenario: Callable[[Rig], Any],
    *,
    options: str = "",
    inline: bool = False,
    size: tuple[int, int] = (100, 60),
    limits: Limits = Limits(refusal_delay=0.0),  # noqa: B008 - frozen
    jobs: Callable[[asyncio.AbstractEventLoop], Any] | None = None,
) -> None:
    """Run a scenario against a display in an asyncio loop of its own."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        console, router, bus = FakeConsole(*size), FakeRouter(), EventBus()
        path = folder / "vnc"
        watch = ScreenWatch(console, loop)
        make = jobs or (lambda loop: InlineEncoder() if inline else EncodeWorker(loop, None))
        sink = make(loop)
        parsed = parse_vnc(f"unix:{path}{options}")
        clients: list[RfbClient] = []
        close_server = ExitStack()
        try:
            server = VncServer(parsed, watch, router, loop, bus, sink, limits)
            close_server.callback(server.close)
            router.on_leds(lambda _: server.leds_changed())
            server.start()
            rig = Rig(path, console, router, watch, server, sink, bus, clients=clients)
            bus.subscribe(rig.events.append)
            await asyncio.wait_for(scenario(rig), 2 * PATIENCE_SECONDS)
        finally:
            close_server.close()
            for client in clients:
                await client.close()
            watch.close()
            sink.close()
            for _ in range(3):
                await asyncio.sleep(0)

    asyncio.run(run())
