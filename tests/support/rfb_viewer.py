# SPDX-License-Identifier: GPL-2.0-or-later
"""A VNC viewer over a blocking socket, with the tests' own decoders: what it sees is compared.

with Viewer(path, encodings=(7, -224)) as viewer:
    viewer.watch_until(expected)
"""

import socket
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tests.support.rfb_decoder import Screen
from tests.support.rfb_reader import Reader, need
from vmm.display.encodings import EncodedRect
from vmm.display.pixels import NATIVE, PixelFormat, convert

PATIENCE_SECONDS = 60.0
LAST_RECT, DESKTOP_SIZE, COLOUR_MAP = -224, -223, 1


class SocketReader(Reader):
    """Takes what it needs from a socket, byte by byte if the decoder asks so."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(b"")
        self._file = connection.makefile("rb", 1 << 20)

    def take(self, count: int) -> bytes:
        data: bytes = self._file.read(count)
        need(len(data) == count, f"the server closed the connection, {count} bytes were wanted")
        return data

    def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))

    def close(self) -> None:
        self._file.close()


class Viewer:
    """One client of a display on a Unix socket, without a password."""

    def __init__(self, path: Path, encodings: tuple[int, ...], fmt: PixelFormat = NATIVE) -> None:
        self.fmt = fmt
        self.updates = 0
        self.rectangles: dict[int, int] = {}
        """Number of rectangles by encoding."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.connect(str(path))
        self._reader = SocketReader(self._socket)
        self._handshake()
        if fmt != NATIVE:
            self.send("B3x", 0, tail=fmt.pack())
        self.send(f"BxH{len(encodings)}i", 2, len(encodings), *encodings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reader.close()
        self._socket.close()

    def send(self, form: str, *values: Any, tail: bytes = b"") -> None:
        """One message."""
        self._socket.sendall(struct.pack(">" + form, *values) + tail)

    def request(self, incremental: bool) -> None:
        """Ask for an update of everything."""
        height, width = self.screen.values.shape
        self.send("BBHHHH", 3, incremental, 0, 0, width, height)

    def update(self) -> None:
        """Read messages up to the end of an update."""
        while (kind := self._reader.take(1)[0]) == COLOUR_MAP:
            _, _, count = self._reader.unpack("BHH")
            self._reader.take(6 * count)
        need(kind == 0, f"message {kind}")
        (count,) = self._reader.unpack("xH")
        self.updates += 1
        while count and self._rectangle():
            count -= 1

    def watch_until(self, expected: NDArray[np.uint32]) -> None:
        """Update until the screen shows ``expected`` (0x00RRGGBB), pixel by pixel.

        Raises AssertionError when that takes too long.
        """
        wanted = convert(expected, self.fmt).astype(np.uint64)
        if self.fmt.bits_per_pixel == 32:
            wanted &= np.uint64(self.fmt.used_bits)
        deadline = time.monotonic() + PATIENCE_SECONDS
        self.request(incremental=False)
        while True:
            self.update()
            if np.array_equal(self.screen.values, wanted):
                return
            wrong = np.count_nonzero(self.screen.values != wanted)
            assert time.monotonic() < deadline, f"{wrong} pixels are not as drawn"
            self.request(incremental=True)

    def _handshake(self) -> None:
        reader = self._reader
        assert reader.take(12) == b"RFB 003.008\n"
        self._socket.sendall(b"RFB 003.008\n")
        assert reader.unpack("BB") == (1, 1)
        self._socket.sendall(b"\1")
        assert reader.unpack("I") == (0,)
        self._socket.sendall(b"\1")
        width, height = reader.unpack("HH")
        reader.take(16)
        reader.take(reader.unpack("I")[0])
        self.screen = Screen(width, height, self.fmt)

    def _rectangle(self) -> bool:
        x, y, width, height, encoding = self._reader.unpack("HHHHi")
        self.rectangles[encoding] = self.rectangles.get(encoding, 0) + 1
        if encoding == LAST_RECT:
            return False
        if encoding == DESKTOP_SIZE:
            self.screen = Screen(width, height, self.fmt)
            return True
        rect = EncodedRect(x, y, width, height, encoding, b"")
        found, _ = self.screen._decode(rect, self._reader)
        self.screen.values[y : y + height, x : x + width] = found
        return True
