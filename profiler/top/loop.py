# SPDX-License-Identifier: GPL-2.0-or-later
"""The loop behind `bqlscope top`: sample, draw, take keys, until somebody has seen enough."""

import signal
import sys
import time
from dataclasses import replace

from rich.console import Console, Group
from rich.live import Live

from profiler.top.draw import ASCII, UNICODE, Glyphs, State, screen, table_rows
from profiler.top.model import Sort
from profiler.top.sampler import Sampler
from profiler.top.terminal import Terminal
from profiler.top.view import View, pressed

LONG_HOLD_NS = 50e6
"""A hold of this age is watched between two intervals too."""

GLANCE_SECONDS = 0.25
"""Time between two looks at the holder. A look costs some tens of microseconds."""

FIRST_SECONDS = 0.3
"""Length of the first interval at most: nobody wants to look at an empty screen."""

EXIT_SIGNALLED = 128


def glyphs_of(console: Console) -> Glyphs:
    """The characters that a console can show."""
    return ASCII if console.options.ascii_only else UNICODE


def _keyboard() -> int:
    """The descriptor that keys come from: standard input, or the terminal that we draw on."""
    if sys.stdin is not None and sys.stdin.isatty():
        return sys.stdin.fileno()
    return sys.stdout.fileno()


class TopLoop:
    """Shows a recording on a console that can be drawn on; `interval` in seconds."""

    def __init__(self, sampler: Sampler, console: Console, interval: float, sort: Sort) -> None:
        self._sampler = sampler
        self._console = console
        self._glyphs = glyphs_of(console)
        self._interval = interval
        self._state = self._sampled(View(sort=sort))
        self._size = console.size

    def run(self) -> int:
        """Draw until a key or a signal ends it; the exit status. Raises RecordingError."""
        with Terminal(_keyboard()) as terminal, self._open_screen() as drawn:
            self._draw(drawn)
            due = time.monotonic() + min(self._interval, FIRST_SECONDS)
            while not (self._state.view.quit or terminal.ended_by):
                pressed_keys = terminal.wait(min(due - time.monotonic(), GLANCE_SECONDS))
                stopped = terminal.stop_wanted
                if stopped:
                    self._stop(terminal, drawn)
                changed = self._press(pressed_keys)
                if time.monotonic() >= due:
                    changed |= self._sample()
                    due = max(due + self._interval, time.monotonic())
                if self._glance() or changed or stopped or self._console.size != self._size:
                    self._draw(drawn)
        ended_by = terminal.ended_by
        return 0 if ended_by in (0, signal.SIGINT) else EXIT_SIGNALLED + ended_by

    def _open_screen(self) -> Live:
        return Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _draw(self, drawn: Live) -> None:
        self._size = self._console.size
        lines = screen(self._state, self._size.width, self._size.height, self._glyphs)
        drawn.update(Group(*lines), refresh=True)

    def _stop(self, terminal: Terminal, drawn: Live) -> None:
        """Leave the terminal to the shell until it wants us back."""
        drawn.stop()
        terminal.suspend()
        terminal.stop()
        terminal.resume()
        drawn.start()

    def _press(self, pressed_keys: list[str]) -> bool:
        """Apply keys; whether there were any."""
        was_frozen = self._state.view.frozen
        for key in pressed_keys:
            rows = table_rows(self._state.picture, self._state.view.tab)
            self._state = replace(self._state, view=pressed(self._state.view, key, rows))
        if was_frozen and not self._state.view.frozen and not self._state.ended:
            self._sample()
        return bool(pressed_keys)

    def _sampled(self, view: View) -> State:
        picture = self._sampler.sample()
        return State(
            picture=picture,
            history=tuple(self._sampler.history),
            view=view,
            interval=self._interval,
            holder=picture.holder,
            waiters=picture.waiters,
            ended=not self._sampler.alive,
        )

    def _sample(self) -> bool:
        """Take the picture that is due; whether there is something new to see.

        A process that ended leaves its last picture standing, a frozen one stays.
        """
        if self._state.ended:
            return False
        state = self._sampled(self._state.view)
        if state.ended:
            self._state = replace(self._state, ended=True)
        elif not state.view.frozen:
            self._state = state
        return state.ended or not state.view.frozen

    def _glance(self) -> bool:
        """Between two pictures: does the process live, does a long hold go on?"""
        state = self._state
        if state.ended:
            return False
        live = self._sampler.live()
        shown = state.holder.held_ns if state.holder else 0.0
        if not live.alive:
            self._state = replace(state, ended=True)
        elif not state.view.frozen and max(live.held_ns, shown) >= LONG_HOLD_NS:
            holder = self._sampler.holder(live)
            self._state = replace(state, holder=holder, waiters=live.waiters)
        return self._state is not state
