# SPDX-License-Identifier: GPL-2.0-or-later
"""What a trial needs to know about the big lock, whoever reads it from the recording."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HANDOFF = "handoff"
UNKNOWN = "unknown"
AFTER_WAIT = "after a condition wait"
"""How the name of a place begins where the lock is only ever re-taken at the end of such a wait."""


@dataclass(frozen=True)
class BlamePair:
    """How long one vCPU waited at one place for one holder.  Times in nanoseconds.

    `holder` is a vCPU's name or a thread role, or `handoff` (the lock was free, the waiter was
    still waking up) or `unknown` (the record of who held it was overwritten).
    """

    waiter: str
    waiter_site: str
    holder: str
    holder_site: str
    wait_ns: float


@dataclass(frozen=True)
class LockFigures:
    """The big lock over one window.  Times in nanoseconds.

    `window_source` is `marks` when the guest's own window was cut out, else `whole`: then boot and
    warm-up are in the figures too.
    """

    window_ns: float
    window_source: str
    vcpus: int
    vcpu_wait_ns: float
    mainloop_hold_ns: float
    mainloop_hold_p99_ns: float | None
    blame: tuple[BlamePair, ...] = ()


LockReader = Callable[[Path, float | None], LockFigures]
"""Reads the figures of a recording; the number is the window's length in ns where it is known."""
