# SPDX-License-Identifier: GPL-2.0-or-later
"""Client messages: the length of one, then its fields (RFC 6143 section 7.5, rfbproto).

The length is known from the first bytes of a message, so an incomplete message is never parsed
twice, and a length beyond its limit is refused before the bytes it announces are waited for.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from vmm.display.pixels import PixelFormat
from vmm.display.rfb import events
from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.numbers import ClientType

MAX_ENCODINGS = 1024
MAX_CUT_TEXT = 1 << 20
"""Bytes, QEMU's limit."""
MAX_FENCE_PAYLOAD = 64
MAX_SCREENS = 255
_SCREEN_BYTES = 16


@dataclass(frozen=True)
class _Message:
    """header: bytes that tell the length; length: of the whole, from the header."""

    header: int
    length: Callable[[bytes], int]
    parse: Callable[[bytes], events.Event]


def _fixed(size: int, parse: Callable[[bytes], events.Event]) -> _Message:
    return _Message(size, lambda _: size, parse)


def _set_pixel_format(data: bytes) -> events.Event:
    try:
        return events.SetPixelFormat(PixelFormat.parse(data[4:20]))
    except ValueError as error:
        raise RfbError(f"SetPixelFormat: {error}") from None


def _encodings_length(header: bytes) -> int:
    (count,) = struct.unpack_from(">H", header, 2)
    if count > MAX_ENCODINGS:
        raise RfbError(f"SetEncodings names {count} encodings, the limit is {MAX_ENCODINGS}")
    return 4 + 4 * int(count)


def _set_encodings(data: bytes) -> events.Event:
    numbers = struct.unpack(f">{(len(data) - 4) // 4}i", data[4:])
    return events.SetEncodings(tuple(dict.fromkeys(numbers)))


def _update_request(data: bytes) -> events.Event:
    _, incremental, x, y, width, height = struct.unpack(">BBHHHH", data)
    return events.UpdateRequest(incremental != 0, x, y, width, height)


def _key_event(data: bytes) -> events.Event:
    _, down, keysym = struct.unpack(">BBxxI", data)
    return events.KeyEvent(down != 0, keysym)


def _pointer_event(data: bytes) -> events.Event:
    _, buttons, x, y = struct.unpack(">BBHH", data)
    return events.PointerEvent(buttons, x, y)


def _cut_text_length(header: bytes) -> int:
    # A negative length is the extended clipboard, which is only allowed where a server offers it.
    (length,) = struct.unpack_from(">I", header, 4)
    if length > MAX_CUT_TEXT:
        raise RfbError(f"ClientCutText of {length} bytes, the limit is {MAX_CUT_TEXT}")
    return 8 + int(length)


def _cut_text(data: bytes) -> events.Event:
    return events.ClientCutText(data[8:])


def _continuous_updates(data: bytes) -> events.Event:
    _, enable, x, y, width, height = struct.unpack(">BBHHHH", data)
    return events.EnableContinuousUpdates(enable != 0, x, y, width, height)


def _fence_length(header: bytes) -> int:
    length = header[8]
    if length > MAX_FENCE_PAYLOAD:
        raise RfbError(f"a fence with {length} bytes, the limit is {MAX_FENCE_PAYLOAD}")
    return 9 + length


def _fence(data: bytes) -> events.Event:
    (flags,) = struct.unpack_from(">I", data, 4)
    return events.ClientFence(flags, data[9:])


def _xvp(data: bytes) -> events.Event:
    return events.Ignored(f"xvp operation {data[3]}")


def _desktop_size_length(header: bytes) -> int:
    return 8 + _SCREEN_BYTES * header[6]


def _desktop_size(data: bytes) -> events.Event:
    _, width, height, screens = struct.unpack_from(">BxHHB", data)
    return events.SetDesktopSize(width, height, screens)


_QEMU_KEY, _QEMU_AUDIO = 0, 1
_AUDIO_LENGTHS = {0: 4, 1: 4, 2: 10}  # enable, disable, set the format


def _qemu_length(header: bytes) -> int:
    _, submessage, operation = struct.unpack(">BBH", header)
    if submessage == _QEMU_KEY:
        return 12
    if submessage == _QEMU_AUDIO and operation in _AUDIO_LENGTHS:
        return _AUDIO_LENGTHS[operation]
    raise RfbError(f"unknown QEMU message {submessage}, operation {operation}")


def _qemu(data: bytes) -> events.Event:
    if data[1] == _QEMU_AUDIO:
        return events.Ignored("audio, which this server did not offer")
    down, keysym, number = struct.unpack_from(">HII", data, 2)
    return events.QemuKeyEvent(down != 0, keysym, number)


_MESSAGES = {
    ClientType.SET_PIXEL_FORMAT: _fixed(20, _set_pixel_format),
    ClientType.SET_ENCODINGS: _Message(4, _encodings_length, _set_encodings),
    ClientType.UPDATE_REQUEST: _fixed(10, _update_request),
    ClientType.KEY_EVENT: _fixed(8, _key_event),
    ClientType.POINTER_EVENT: _fixed(6, _pointer_event),
    ClientType.CUT_TEXT: _Message(8, _cut_text_length, _cut_text),
    ClientType.ENABLE_CONTINUOUS_UPDATES: _fixed(10, _continuous_updates),
    ClientType.FENCE: _Message(9, _fence_length, _fence),
    ClientType.XVP: _fixed(4, _xvp),
    ClientType.SET_DESKTOP_SIZE: _Message(8, _desktop_size_length, _desktop_size),
    ClientType.QEMU: _Message(4, _qemu_length, _qemu),
}


def take_message(buffer: bytearray) -> events.Event | None:
    """Remove the first message from a buffer and return it; None: it is not complete yet.

    Raises:
        RfbError: an unknown type, a broken field or a length beyond its limit.
    """
    if not buffer:
        return None
    message = _MESSAGES.get(buffer[0])  # type: ignore[call-overload]
    if message is None:
        raise RfbError(f"unknown message type {buffer[0]}")
    if len(buffer) < message.header:
        return None
    length = message.length(bytes(buffer[: message.header]))
    if len(buffer) < length:
        return None
    data = bytes(buffer[:length])
    del buffer[:length]
    event: events.Event = message.parse(data)
    return event
