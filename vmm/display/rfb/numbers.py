# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of the protocol: message types, encodings, security types, fence flags.

Sources: RFC 6143 sections 7.1.2, 7.5 to 7.7; the rfbproto community document for everything that
RFC 6143 lacks (VeNCrypt, fences, continuous updates, desktop sizes, QEMU's messages, xvp).
"""

from enum import IntEnum, IntFlag


class Security(IntEnum):
    """Security types (RFC 6143 section 7.1.2; VeNCrypt: rfbproto)."""

    INVALID = 0
    NONE = 1
    VNC_AUTH = 2
    VENCRYPT = 19


class VeNCrypt(IntEnum):
    """Subtypes of VeNCrypt version 0.2."""

    TLS_NONE = 257
    TLS_VNC = 258
    X509_NONE = 260
    X509_VNC = 261

    @property
    def inner(self) -> Security:
        """The security type that follows inside TLS."""
        with_password = self in (VeNCrypt.TLS_VNC, VeNCrypt.X509_VNC)
        return Security.VNC_AUTH if with_password else Security.NONE


class ClientType(IntEnum):
    """First byte of a client's message."""

    SET_PIXEL_FORMAT = 0
    SET_ENCODINGS = 2
    UPDATE_REQUEST = 3
    KEY_EVENT = 4
    POINTER_EVENT = 5
    CUT_TEXT = 6
    ENABLE_CONTINUOUS_UPDATES = 150
    FENCE = 248
    XVP = 250
    SET_DESKTOP_SIZE = 251
    QEMU = 255


class ServerType(IntEnum):
    """First byte of a server's message."""

    FRAMEBUFFER_UPDATE = 0
    SET_COLOUR_MAP_ENTRIES = 1
    END_OF_CONTINUOUS_UPDATES = 150
    FENCE = 248


class Pseudo(IntEnum):
    """Pseudo-encodings: what a client can do, and rectangles that are no pixels."""

    DESKTOP_SIZE = -223
    LAST_RECT = -224
    CURSOR = -239
    CURSOR_WITH_ALPHA = -314
    POINTER_MOTION_CHANGE = -257
    QEMU_EXTENDED_KEY = -258
    QEMU_LED_STATE = -261
    DESKTOP_NAME = -307
    EXTENDED_DESKTOP_SIZE = -308
    FENCE = -312
    CONTINUOUS_UPDATES = -313


COMPRESS_LEVELS = range(-256, -246)
"""Compression level 0 to 9 (rfbproto: -256 to -247)."""
QUALITY_LEVELS = range(-32, -22)
"""JPEG quality level 0 to 9 (rfbproto: -32 to -23)."""


class Fence(IntFlag):
    """Flags of a fence (rfbproto, ClientFence)."""

    BLOCK_BEFORE = 1
    BLOCK_AFTER = 2
    SYNC_NEXT = 4
    REQUEST = 1 << 31


class SizeReason(IntEnum):
    """Why an ExtendedDesktopSize rectangle was sent: its x position."""

    SERVER = 0
    THIS_CLIENT = 1
    OTHER_CLIENT = 2


class SizeStatus(IntEnum):
    """Answer to SetDesktopSize: the rectangle's y position."""

    OK = 0
    PROHIBITED = 1
    OUT_OF_RESOURCES = 2
    INVALID_LAYOUT = 3
    FORWARDED = 4
    """The guest was told; a change comes later, or never."""
