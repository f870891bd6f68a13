# SPDX-License-Identifier: GPL-2.0-or-later
"""How a running comparison shows that it is alive: a bar, a line a trial, or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from profiler.compare.plan import Slot
from profiler.compare.trial import Trial


class Reporter(Protocol):
    """Told about each step; must not raise."""

    def started(self, slot: Slot, total: int) -> None:
        """A child is about to start."""

    def finished(self, trial: Trial, total: int) -> None:
        """A trial gave a result."""

    def retried(self, slot: Slot, reason: str) -> None:
        """A trial failed and runs a second time."""


class Silent:
    """Says nothing but failures that are retried, which never pass unseen."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def started(self, slot: Slot, total: int) -> None:
        """Nothing to show."""

    def finished(self, trial: Trial, total: int) -> None:
        """Nothing to show."""

    def retried(self, slot: Slot, reason: str) -> None:
        """One line about the failure."""
        message = f"trial {slot.trial + 1} of {slot.name} failed, retrying: {reason}"
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)


class Lines(Silent):
    """One line a trial, for logs."""

    def finished(self, trial: Trial, total: int) -> None:
        """The trial's place in the run and its request rate."""
        slot = trial.slot
        self._console.print(
            f"[{slot.index + 1}/{total}] {slot.name} trial {slot.trial + 1}: "
            f"{trial.metrics['iops']:.0f} requests/s",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class Bar(Silent):
    """A progress bar on a terminal."""

    def __init__(self, console: Console, progress: Progress, total: int) -> None:
        super().__init__(console)
        self._progress = progress
        self._task = progress.add_task("starting", total=total)

    def started(self, slot: Slot, total: int) -> None:
        """Name the running trial."""
        name = f"{slot.name} trial {slot.trial + 1}"
        self._progress.update(self._task, description=name)

    def finished(self, trial: Trial, total: int) -> None:
        """One step further."""
        self._progress.advance(self._task)


@contextmanager
def reporter(console: Console, total: int, quiet: bool) -> Iterator[Reporter]:
    """The reporter that fits the console: silent, a bar on a terminal, lines elsewhere."""
    if quiet:
        yield Silent(console)
    elif not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield Bar(console, progress, total)
