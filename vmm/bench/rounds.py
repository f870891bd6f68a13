# SPDX-License-Identifier: GPL-2.0-or-later
"""Interleaved rounds: every contestant once a round, the order rotating from round to round."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Measured = TypeVar("Measured")
Progress = Callable[[str], None]
"""Is told in one short line what is being measured."""


SETTLE_S = 0.2


def interleave(
    contestants: Mapping[str, Callable[[], Measured]],
    rounds: int,
    progress: Progress,
    settle: Callable[[float], None] = time.sleep,
) -> dict[str, list[Measured]]:
    """Measure each contestant ``rounds`` times.

    Rotation, because a place in the round is a bias: who runs after fio finds a warm file. With a
    multiple of ``len(contestants)`` rounds everyone had every place equally often. The pause
    before each lets the kernel finish taking the previous VM apart, which it does in the
    background: a VMM that starts measuring after a tenth of a second would pay for its rival that
    needs a second to boot.

    Returns:
        By contestant, in the given order, its values in the order of the rounds.
    """
    names = list(contestants)
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            progress(f"round {number + 1} of {rounds}: {name}")
            settle(SETTLE_S)
            found[name].append(contestants[name]())
    return found
