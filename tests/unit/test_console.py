# SPDX-License-Identifier: GPL-2.0-or-later
"""The console: what is shown, what is dirty, and who is told when."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from vmm.display.console import Console, Cursor
from vmm.display.surface import Surface, blank


class Viewer:
    """A listener that notes what it finds at each call."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seen: list[object] = []
        console.add_listener(self)

    def surface_switched(self) -> None:
        surface = self.console.surface
        self.seen.append((surface.width, surface.height, int(self.console.dirty_rows().sum())))

    def cursor_defined(self) -> None:
        self.seen.append(self.console.cursor)


class Device:
    """A display whose dirty rows are set by the test; counts the questions."""

    def __init__(self, console: Console, width: int = 8, height: int = 6) -> None:
        self.rows: set[int] = set()
        self.asked = 0
        console.attach(blank(width, height), self.dirty)

    def dirty(self, surface: Surface) -> NDArray[np.bool_]:
        self.asked += 1
        rows, self.rows = self.rows, set()
        return np.array([y in rows for y in range(surface.height)])


@pytest.fixture(name="loop")
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(name="console")
def _console(loop: asyncio.AbstractEventLoop) -> Console:
    return Console("vm", loop)


def turn(loop: asyncio.AbstractEventLoop) -> None:
    """One turn of the loop: what was asked for before is done after."""
    loop.run_until_complete(asyncio.sleep(0))


def cursor() -> Cursor:
    return Cursor(1, 1, 0, 0, np.zeros((1, 1), np.uint32))


def test_without_a_device_the_screen_is_black_and_never_changes(console: Console) -> None:
    assert (console.surface.width, console.surface.height) == (640, 480)
    assert not console.surface.pixels.any()
    assert console.dirty_rows().tolist() == [True] * 480
    assert console.dirty_rows().tolist() == [False] * 480


def test_everything_is_dirty_at_first_and_then_what_the_device_says(console: Console) -> None:
    device = Device(console)
    assert console.dirty_rows().tolist() == [True] * 6
    device.rows = {1, 5}
    assert np.flatnonzero(console.dirty_rows()).tolist() == [1, 5]
    assert not console.dirty_rows().any()


def test_the_first_look_empties_the_devices_log_too(console: Console) -> None:
    device = Device(console)
    device.rows = {2}
    console.dirty_rows()
    assert device.asked == 1
    assert not console.dirty_rows().any()


def test_a_switch_is_made_and_told_by_the_main_loop_in_one_step(
    console: Console, loop: asyncio.AbstractEventLoop
) -> None:
    Device(console)
    viewer = Viewer(console)
    console.dirty_rows()
    console.switch_surface(blank(4, 3))
    assert (console.surface.width, viewer.seen) == (8, [])
    assert console.dirty_rows().shape == (6,)
    turn(loop)
    assert console.surface.width == 4
    assert viewer.seen == [(4, 3, 3)]


def test_of_switches_in_a_row_the_last_one_counts(
    console: Console, loop: asyncio.AbstractEventLoop
) -> None:
    Device(console)
    viewer = Viewer(console)
    for width in range(1, 1000):
        console.switch_surface(blank(width, 2))
    assert len(loop._ready) == 1  # type: ignore[attr-defined]
    turn(loop)
    assert viewer.seen == [(999, 2, 2)]


def test_a_pointer_comes_and_goes(console: Console, loop: asyncio.AbstractEventLoop) -> None:
    viewer = Viewer(console)
    shape = cursor()
    console.define_cursor(shape)
    turn(loop)
    console.define_cursor(None)
    turn(loop)
    turn(loop)
    assert viewer.seen == [shape, None]


def test_who_left_is_not_told(console: Console, loop: asyncio.AbstractEventLoop) -> None:
    stays, leaves = Viewer(console), Viewer(console)
    console.remove_listener(leaves)
    console.remove_listener(leaves)
    console.switch_surface(blank(4, 3))
    turn(loop)
    assert stays.seen
    assert not leaves.seen


def test_a_listener_may_leave_while_it_is_told(
    console: Console, loop: asyncio.AbstractEventLoop
) -> None:
    class Leaver(Viewer):
        def surface_switched(self) -> None:
            super().surface_switched()
            self.console.remove_listener(self)

    leaver, other = Leaver(console), Viewer(console)
    console.switch_surface(blank(4, 3))
    turn(loop)
    console.switch_surface(blank(5, 3))
    turn(loop)
    assert [len(leaver.seen), len(other.seen)] == [1, 2]


def test_settling_makes_the_changes_now(console: Console, loop: asyncio.AbstractEventLoop) -> None:
    viewer = Viewer(console)
    console.switch_surface(blank(4, 3))
    console.settle()
    turn(loop)
    assert viewer.seen == [(4, 3, 3)]


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (16385, 1), (1, 16385), (-1, 5)])
def test_a_size_that_is_no_screen_cannot_be_wanted(
    console: Console, width: int, height: int
) -> None:
    console.request_size(800, 600)
    with pytest.raises(ValueError, match="1 to 16384 pixels"):
        console.request_size(width, height)
    assert console.wanted_size == (800, 600)
