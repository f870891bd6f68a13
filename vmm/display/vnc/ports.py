# SPDX-License-Identifier: GPL-2.0-or-later
"""What the server needs of the rest of the machine: a console to show, an input router to feed.

Everything here is called in the main thread under the BQL.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Surface(Protocol):
    """What is shown: pixels of shape (height, width), 0x00RRGGBB, that change at any time."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def pixels(self) -> NDArray[np.uint32]:
        """A view of the guest's video memory."""


class Cursor(Protocol):
    """The guest's own pointer: argb of shape (height, width), 0xAARRGGBB."""

    @property
    def hot_x(self) -> int:
        """Pixels from the left."""

    @property
    def hot_y(self) -> int:
        """Pixels from the top."""

    @property
    def argb(self) -> NDArray[np.uint32]:
        """Pixels."""


class ConsoleListener(Protocol):
    """Hears of changes in the main loop."""

    def surface_switched(self) -> None:
        """The console has another surface."""

    def cursor_defined(self) -> None:
        """The console has another cursor, or none."""


class Console(Protocol):
    """See vmm.display.console."""

    @property
    def name(self) -> str:
        """The VM's name."""

    @property
    def surface(self) -> Surface:
        """What is shown now."""

    @property
    def cursor(self) -> Cursor | None:
        """The guest's pointer, if it has one."""

    def dirty_rows(self) -> NDArray[np.bool_]:
        """Rows the guest may have touched since the last call."""

    def add_listener(self, listener: ConsoleListener) -> None:
        """Tell of changes from now on."""

    def remove_listener(self, listener: ConsoleListener) -> None:
        """Tell no more."""

    def request_size(self, width: int, height: int) -> None:
        """Tell the guest what size is wanted. Raises ValueError: no such size."""


class Leds(Protocol):
    """The guest keyboard's lights."""

    @property
    def scroll(self) -> bool:
        """Scroll lock."""

    @property
    def num(self) -> bool:
        """Num lock."""

    @property
    def caps(self) -> bool:
        """Caps lock."""


class InputRouter(Protocol):
    """See vmm.input.router."""

    @property
    def leds(self) -> Leds:
        """Lights as they are now."""

    def key(self, qcode: str, down: bool) -> None:
        """A key by QAPI's name."""

    def key_number(self, number: int, down: bool) -> None:
        """A key by QEMU's number."""

    def pointer_abs(self, x: int, y: int, width: int, height: int) -> None:
        """A position on a screen."""

    def pointer_rel(self, dx: int, dy: int) -> None:
        """A movement."""

    def button(self, name: str, down: bool) -> None:
        """A button by QAPI's name."""

    def sync(self) -> None:
        """End of one report."""

    def on_leds(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Call back when the lights change, in any thread; returns what ends that."""

    def forget_position(self) -> None:
        """The next absolute position is another client's."""


class LoopOwner(Protocol):
    """See vmm.main_loop.MainLoop."""

    @property
    def asyncio(self) -> asyncio.AbstractEventLoop:
        """The main loop."""
