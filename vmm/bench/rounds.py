# SPDX-License-Identifier: GPL-2.0-or-later
"""Interleaved rounds: every contestant once a round, the order rotating from round to round."""

from collections.abc import Callable, Mapping
from typing import TypeVar

Measured = TypeVar("Measured")
Progress = Callable[[str], None]
"""Is told in one short line what is being measured."""


def interleave(
    contestants: Mapping[str, Callable[[], Measured]], rounds: int, progress: Progress
) -> dict[str, list[Measured]]:
    """Measure each contestant ``rounds`` times.

    Rotation, because a place in the round is a bias: who runs after fio finds a warm file, who runs
    after a QEMU finds its memory freed. With a multiple of ``len(contestants)`` rounds everyone had
    every place equally often.

    Returns:
        By contestant, in the given order, its values in the order of the rounds.
    """
    names = list(contestants)
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            progress(f"round {number + 1} of {rounds}: {name}")
            found[name].append(contestants[name]())
    return found
