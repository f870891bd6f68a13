# SPDX-License-Identifier: GPL-2.0-or-later
"""What a client did, one frozen class for each thing; positions and sizes in pixels."""

from dataclasses import dataclass

from vmm.display.pixels import PixelFormat
from vmm.display.rfb.numbers import VeNCrypt


@dataclass(frozen=True)
class StartTls:
    """Everything after this is TLS: wrap the connection, feed it the session's rest first."""

    subtype: VeNCrypt


@dataclass(frozen=True)
class AuthenticationFailed:
    """The session has queued the refusal and reads no more; the connection must end."""

    reason: str


@dataclass(frozen=True)
class ClientInit:
    """Authenticated; answer with RfbSession.start() or by closing the connection."""

    shared: bool


@dataclass(frozen=True)
class SetPixelFormat:
    """Pixels are wanted in this format from now on."""

    format: PixelFormat


@dataclass(frozen=True)
class SetEncodings:
    """Encodings and pseudo-encodings in the client's order, each once."""

    encodings: tuple[int, ...]


@dataclass(frozen=True)
class UpdateRequest:
    """The client wants an update of an area; not incremental: whatever it has is lost."""

    incremental: bool
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class KeyEvent:
    """A key as an X11 keysym."""

    down: bool
    keysym: int


@dataclass(frozen=True)
class QemuKeyEvent:
    """A key as a keysym (0: unknown) and QEMU's number: a set 1 scancode, 0x80 set for 0xe0."""

    down: bool
    keysym: int
    number: int


@dataclass(frozen=True)
class PointerEvent:
    """Pointer position and the mask of pressed buttons (bit 0: left)."""

    buttons: int
    x: int
    y: int


@dataclass(frozen=True)
class ClientCutText:
    """The client's clipboard, Latin-1."""

    text: bytes


@dataclass(frozen=True)
class EnableContinuousUpdates:
    """Send updates of an area without being asked, or stop that."""

    enable: bool
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class ClientFence:
    """A fence: a question if flags have Fence.REQUEST, else the answer to ours."""

    flags: int
    payload: bytes


@dataclass(frozen=True)
class SetDesktopSize:
    """The client would like another screen size."""

    width: int
    height: int
    screens: int


@dataclass(frozen=True)
class Ignored:
    """A message that is understood and has no effect here, such as QEMU's audio."""

    what: str


Event = (
    StartTls
    | AuthenticationFailed
    | ClientInit
    | SetPixelFormat
    | SetEncodings
    | UpdateRequest
    | KeyEvent
    | QemuKeyEvent
    | PointerEvent
    | ClientCutText
    | EnableContinuousUpdates
    | ClientFence
    | SetDesktopSize
    | Ignored
)
