# SPDX-License-Identifier: GPL-2.0-or-later
"""An RFB client on a Unix socket, plain and blocking, for any server: it decodes, or only counts.

with RfbStream.connect(path) as client:
    client.set_encodings(16, 0)
    client.update()          # ask for the whole screen, decode it onto client.screen
    client.count_update()    # the same, decoding nothing
"""

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tests.support.rfb_decoder import Screen
from tests.support.rfb_reader import DecodeError, Reader, need
from tests.support.rfb_tight_decoder import compact_length
from vmm.display.encodings import EncodedRect
from vmm.display.pixels import NATIVE, PixelFormat

PATIENCE_SECONDS = 30.0
LAST_RECT = -224


class SocketReader(Reader):
    """Bytes from a socket; a connection that ends is a payload cut short."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(b"")
        self.stream = stream
        self.taken = 0

    def take(self, count: int) -> bytes:
        """The next bytes, all of them."""
        found = self.stream.read(count)
        need(len(found) == count, f"the connection ended, {count} bytes wanted")
        self.taken += count
        return found

    def unpack(self, form: str) -> tuple[int, ...]:
        """Integers in network order."""
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))


@dataclass(frozen=True)
class Counted:
    """What an update was made of."""

    pixels: int
    payload_bytes: int
    rectangles: int


class RfbStream:
    """A connection that has been let in, in the server's format until it asks for another."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.reader = SocketReader(cast(BinaryIO, connection.makefile("rb", 1 << 20)))
        self._handshake()

    @classmethod
    @contextlib.contextmanager
    def connect(cls, path: Path) -> Iterator["RfbStream"]:
        """Connect to a server that wants no password."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(path))
            client = cls(connection)
            try:
                yield client
            finally:
                client.reader.stream.close()

    def _handshake(self) -> None:
        need(self.reader.take(12) == b"RFB 003.008\n", "not RFB 3.8")
        self._socket.sendall(b"RFB 003.008\n")
        need(1 in self.reader.take(self.reader.u8()), "a password is wanted")
        self._socket.sendall(b"\1")
        need(self.reader.unpack("I") == (0,), "refused")
        self._socket.sendall(b"\1")
        width, height = self.reader.unpack("HH")
        fmt = PixelFormat.parse(self.reader.take(16))
        self.name = self.reader.take(self.reader.unpack("I")[0]).decode()
        self.screen = Screen(width, height, fmt)

    def set_format(self, fmt: PixelFormat) -> None:
        """SetPixelFormat; what comes from now on is in it, as nothing has been asked for."""
        self._socket.sendall(b"\0\0\0\0" + fmt.pack())
        self.screen.fmt = fmt

    def set_encodings(self, *encodings: int) -> None:
        """SetEncodings."""
        count = len(encodings)
        self._socket.sendall(struct.pack(f">BxH{count}i", 2, count, *encodings))

    def _ask(self) -> Iterator[EncodedRect]:
        """Ask for the whole screen; the rectangles of the answer, each without its payload."""
        height, width = self.screen.values.shape
        self._socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        kind, count = self.reader.unpack("BxH")
        while kind == 1:  # SetColourMapEntries: what the map says is known
            self.reader.take(2 + 6 * self.reader.unpack("H")[0])
            kind, count = self.reader.unpack("BxH")
        need(kind == 0, f"message {kind}")
        for _ in range(count):
            x, y, width, height, encoding = self.reader.unpack("HHHHi")
            rect = EncodedRect(x, y, width, height, encoding, b"")
            if rect.encoding == LAST_RECT:
                return
            yield rect

    def update(self) -> list[EncodedRect]:
        """Get the whole screen and decode it; the rectangles come without their payloads."""
        rects = []
        for rect in self._ask():
            self.screen.draw_from(rect, self.reader)
            rects.append(rect)
        return rects

    def count_update(self) -> Counted:
        """Get the whole screen and drop it, as fast as a client in Python can.

        Works for clients of the format NATIVE without a JPEG quality.
        """
        need(self.screen.fmt == NATIVE, "payloads are measured in the usual format only")
        pixels = rectangles = 0
        before = self.reader.taken
        for rect in self._ask():
            _skip(self.reader, rect)
            pixels += rect.width * rect.height
            rectangles += 1
        return Counted(pixels, self.reader.taken - before, rectangles)


def _skip(reader: SocketReader, rect: EncodedRect) -> None:
    if rect.encoding == 0:
        reader.take(rect.width * rect.height * 4)
    elif rect.encoding in (6, 16):
        reader.take(*reader.unpack("I"))
    elif rect.encoding == 5:
        for y in range(0, rect.height, 16):
            for x in range(0, rect.width, 16):
                _skip_hextile(reader, min(16, rect.width - x) * min(16, rect.height - y))
    elif rect.encoding == 7:
        _skip_tight(reader, rect)
    else:
        raise DecodeError(f"encoding {rect.encoding}")


def _skip_hextile(reader: SocketReader, pixels: int) -> None:
    mask = reader.u8()
    if mask & 1:
        reader.take(pixels * 4)
        return
    reader.take(4 * (mask >> 1 & 1) + 4 * (mask >> 2 & 1))
    if mask & 8:
        reader.take(reader.u8() * (6 if mask & 16 else 2))


def _skip_tight(reader: SocketReader, rect: EncodedRect) -> None:
    control = reader.u8() >> 4
    size = rect.width * rect.height * 3
    if control == 8:
        reader.take(3)
        return
    if control & 4 and reader.u8() == 1:
        colours = reader.u8() + 1
        reader.take(3 * colours)
        size = (rect.width + 7) // 8 * rect.height if colours == 2 else size // 3
    reader.take(size if size < 12 else compact_length(reader))
