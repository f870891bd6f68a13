# SPDX-License-Identifier: GPL-2.0-or-later
"""The console: what is on the screen now, between the device that shows and those who look.

    framebuffer --switch_surface, define_cursor--> Console --listeners--> VNC server
                <--------- dirty log, wanted size -        <--- dirty_rows

A guest changes modes in a vCPU thread, under the BQL. Those who look live in the main loop and must
not find another size half-way through an update, so the change waits for the main loop: there the
surface is replaced and the listeners are told in one step. A guest that changes modes faster than
that skips some; at most one change waits.

There is a console without a display device, too: it shows a black picture.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vmm.display.options import MAX_SIDE
from vmm.display.surface import Surface, blank

NO_DEVICE_SIZE = (640, 480)


@dataclass(frozen=True, eq=False)
class Cursor:
    """A pointer's picture: pixels (height, width) of ARGB8888; the hot spot lies within it."""

    width: int
    height: int
    hot_x: int
    hot_y: int
    argb: NDArray[np.uint32]


class Listener(Protocol):
    """Someone who looks. Called in the main loop with the BQL held."""

    def surface_switched(self) -> None:
        """``console.surface`` is another one; everything of it is dirty."""

    def cursor_defined(self) -> None:
        """``console.cursor`` is another one, or None."""


DirtyRows = Callable[[Surface], NDArray[np.bool_]]


class Console:
    """One screen. Main thread under the BQL, unless a method says otherwise.

    Args:
        name: the VM's, shown to people.
        loop: the main loop.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.cursor: Cursor | None = None
        self.wanted_size: tuple[int, int] | None = None
        """What somebody who looks would like (pixels); the guest may read it and decides."""
        self._loop = loop
        self._surface: Surface | None = None
        self._dirty: DirtyRows | None = None
        self._fresh = True
        self._listeners: list[Listener] = []
        self._next_surface: Surface | None = None
        self._next_cursor: list[Cursor | None] = []  # empty: no change waits
        self._waiting = False

    # For those who look.

    @property
    def surface(self) -> Surface:
        """What is shown now."""
        return self._surface if self._surface is not None else self._no_device

    @cached_property
    def _no_device(self) -> Surface:
        return blank(*NO_DEVICE_SIZE)

    def dirty_rows(self) -> NDArray[np.bool_]:
        """Rows the guest may have written to since the last call: shape (height,).

        All of them after a switch. Look at pixels after the call: a write that races with it shows
        in the pixels or in the next call, or in both. The answer is given once; who serves several
        viewers keeps it for each of them.
        """
        surface = self.surface
        fresh, self._fresh = self._fresh, False
        if self._dirty is not None:
            rows = self._dirty(surface)  # asked in any case: that empties the log
            if not fresh:
                return rows
        return np.full(surface.height, fresh, np.bool_)

    def add_listener(self, listener: Listener) -> None:
        """Tell ``listener`` of every change from now on."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Tell it no more. Nothing happens if it was not told."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def request_size(self, width: int, height: int) -> None:
        """Let the guest know what size somebody who looks would like.

        Raises:
            ValueError: not 1 to 16384 pixels.
        """
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise ValueError(f"a screen has 1 to {MAX_SIDE} pixels a side, not {width}x{height}")
        self.wanted_size = (width, height)

    # For the display device.

    def attach(self, surface: Surface, dirty: DirtyRows) -> None:
        """Show ``surface`` from the start; ``dirty`` gets and clears the device's log.

        ``dirty`` is given the surface that is shown, which may be an older one than the device
        last asked for.
        """
        self._surface, self._dirty, self._fresh = surface, dirty, True

    def switch_surface(self, surface: Surface) -> None:
        """Show another surface soon. Any thread that holds the BQL."""
        self._next_surface = surface
        self._wake()

    def define_cursor(self, cursor: Cursor | None) -> None:
        """Give the pointer a picture soon, or none. Any thread that holds the BQL."""
        self._next_cursor = [cursor]
        self._wake()

    def _wake(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._loop.call_soon_threadsafe(self.settle)

    def settle(self) -> None:
        """Make the changes that wait, and tell the listeners. The main loop does this by itself."""
        self._waiting = False
        surface, self._next_surface = self._next_surface, None
        cursors, self._next_cursor = self._next_cursor, []
        if surface is not None:
            self._surface, self._fresh = surface, True
            for listener in tuple(self._listeners):
                listener.surface_switched()
        if cursors:
            self.cursor = cursors[0]
            for listener in tuple(self._listeners):
                listener.cursor_defined()
