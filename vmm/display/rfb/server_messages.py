# SPDX-License-Identifier: GPL-2.0-or-later
"""Server messages and rectangles as bytes (RFC 6143 sections 7.6 to 7.8, rfbproto)."""

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vmm.display.rfb.numbers import Pseudo, ServerType, SizeReason, SizeStatus

UNKNOWN_COUNT = 0xFFFF
"""Number of rectangles of an update that ends with a LastRect rectangle."""


def rectangle(
    x: int, y: int, width: int, height: int, encoding: int, payload: bytes = b""
) -> bytes:
    """One rectangle of an update."""
    return struct.pack(">HHHHi", x, y, width, height, encoding) + payload


def framebuffer_update(
    parts: Iterable[bytes | memoryview], count: int, last_rect: bool = False
) -> bytes:
    """A whole update.

    Args:
        parts: its rectangles, in any number of pieces.
        count: how many rectangles that are.
        last_rect: the client knows the LastRect rectangle, which then ends the update.

    Raises:
        ValueError: more than 65534 rectangles without last_rect.
    """
    if not last_rect and count >= UNKNOWN_COUNT:
        raise ValueError(f"{count} rectangles do not fit into one update")
    head = struct.pack(">BxH", ServerType.FRAMEBUFFER_UPDATE, UNKNOWN_COUNT if last_rect else count)
    tail = rectangle(0, 0, 0, 0, Pseudo.LAST_RECT) if last_rect else b""
    return b"".join((head, *parts, tail))


def desktop_size(width: int, height: int) -> bytes:
    """DesktopSize: the screen has another size, its content is undefined."""
    return rectangle(0, 0, width, height, Pseudo.DESKTOP_SIZE)


def extended_desktop_size(
    width: int, height: int, reason: SizeReason, status: SizeStatus = SizeStatus.OK
) -> bytes:
    """ExtendedDesktopSize with one screen that fills the framebuffer."""
    payload = struct.pack(">B3xIHHHHI", 1, 0, 0, 0, width, height, 0)
    return rectangle(reason, status, width, height, Pseudo.EXTENDED_DESKTOP_SIZE, payload)


def desktop_name(name: str) -> bytes:
    """A rectangle that says what the desktop is called now (rfbproto, DesktopName)."""
    text = name.encode()
    return rectangle(0, 0, 0, 0, Pseudo.DESKTOP_NAME, struct.pack(">I", len(text)) + text)


def led_state(scroll: bool, num: bool, caps: bool) -> bytes:
    """QEMU's LED state rectangle."""
    return rectangle(0, 0, 1, 1, Pseudo.QEMU_LED_STATE, bytes([scroll | num << 1 | caps << 2]))


def extended_key(width: int, height: int) -> bytes:
    """Tells the client that QEMU's extended key events are understood."""
    return rectangle(0, 0, width, height, Pseudo.QEMU_EXTENDED_KEY)


def pointer_motion(absolute: bool, width: int, height: int) -> bytes:
    """Tells the client whether pointer events are positions, or movements around 0x7fff."""
    return rectangle(int(absolute), 0, width, height, Pseudo.POINTER_MOTION_CHANGE)


def fence(flags: int, payload: bytes) -> bytes:
    """ServerFence: the answer to a client's fence, or a question with Fence.REQUEST."""
    return struct.pack(">B3xIB", ServerType.FENCE, flags, len(payload)) + payload


def end_of_continuous_updates() -> bytes:
    """Continuous updates are known here (the first time), or have ended."""
    return bytes([ServerType.END_OF_CONTINUOUS_UPDATES])


def colour_map(colours: NDArray[np.uint16]) -> bytes:
    """SetColourMapEntries for all entries from the first on; colours of shape (count, 3)."""
    header = struct.pack(">BxHH", ServerType.SET_COLOUR_MAP_ENTRIES, 0, len(colours))
    return header + colours.astype(">u2").tobytes()
