# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps and the recording they are of: which waits a Python stack explains."""

from collections.abc import Iterable, Iterator

from profiler.stacks.dump import Frame
from profiler.stacks.store import Dump
from profiler.traces.fold import Seen


def seen_waits(dumps: Iterable[Dump]) -> Iterator[Seen]:
    """Waits for holds whose stack was dumped, with the frames of both sides from the root on.

    A dump after whose end the hold was over may show what came next, and explains nothing.
    """
    for dump in dumps:
        if not dump.hold.same:
            continue
        holder = dump.hold.by
        for waiter in dump.waiters:
            yield Seen(
                waiter=waiter.by.who,
                holder=holder.who,
                ticks=waiter.ticks,
                waiter_frames=_frames(dump, waiter.by.tid),
                holder_frames=_frames(dump, holder.tid),
            )


def frames_of(dump: Dump, tid: int) -> tuple[Frame, ...]:
    """Frames of a thread, innermost first; none if py-spy saw none."""
    stack = dump.stack(tid)
    return stack.frames if stack else ()


def _frames(dump: Dump, tid: int) -> tuple[str, ...]:
    return tuple(frame.label for frame in reversed(frames_of(dump, tid)))
