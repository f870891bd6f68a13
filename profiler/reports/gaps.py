# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording does not say: what was lost, torn, overwritten, or never looked at.

A number that looks complete and is not is worse than none, so whatever limits a recording is
found here and stands on the page.
"""

from collections.abc import Iterable, Sequence

from profiler.check import Verdict, check_snapshot
from profiler.compare.locks import UNKNOWN
from profiler.model import Integrity, Snapshot
from profiler.reports.sample import Sample
from profiler.reports.timeline import covered_ns
from profiler.reports.words import counted, duration, percent

ALWAYS = (
    "Other locks, the disk and the kernel: contention that moved there does not show here.",
    "What the scheduler did: a thread that waits for a CPU after the lock was free counts as "
    "waiting ('waking up').",
    "Quantiles come out of histograms and are less than 12.5 % off; totals, counts and maxima are "
    "exact.",
)
_INTEGRITY = {
    Integrity.TORN: "died while it updated its record, one acquisition is partly in it",
    Integrity.MOVING: "went on while it was copied, its rows may be a few acquisitions apart",
    Integrity.COPIED: "is from a copy of an open file, its parts may be of different instants",
}


def gaps(snapshots: Sequence[Snapshot], window: str) -> tuple[str, ...]:
    """What these recordings do not say; `window` is a sentence on what time they cover."""
    found = [window, *_losses(snapshots), *_integrity(snapshots), *_blame(snapshots)]
    return (*found, *laws(snapshots), *_rings(snapshots), *ALWAYS)


def _losses(snapshots: Sequence[Snapshot]) -> Iterable[str]:
    words = {
        "sites": "call site",
        "rows": "combination of thread and call site",
        "threads": "thread",
        "queues": "disk queue",
    }
    for field, noun in words.items():
        lost = sum(getattr(s.losses, field) for s in snapshots)
        if lost:
            yield (
                f"No room was left for {counted(lost, f'further {noun}')}: "
                "what happened there is counted together as '(other)' or not at all."
            )
    lost = sum(s.losses.acquisitions for s in snapshots)
    if lost:
        yield f"{counted(lost, 'acquisition')} of threads without a record are in no table."
    if any(not s.enabled and not s.closed for s in snapshots):
        yield "Recording was switched off at the end: what happened then is missing."


def _integrity(snapshots: Sequence[Snapshot]) -> Iterable[str]:
    for state, words in _INTEGRITY.items():
        names = [t.label for s in snapshots for t in s.threads if t.integrity is state]
        if names:
            shown = ", ".join(dict.fromkeys(names[:6]))
            yield f"{counted(len(names), 'thread')} ({shown}): each {words}."


def _blame(snapshots: Sequence[Snapshot]) -> Iterable[str]:
    lost = sum(thread.blame_lost for s in snapshots for thread in s.threads)
    if lost:
        yield f"{counted(lost, 'wait')} had no room in a blame table: the holder is not on record."
    sample = Sample(tuple(snapshots))
    unknown = sum(pair.total for pair in sample.pairs if pair.holder == UNKNOWN)
    if unknown:
        yield (
            f"For {duration(unknown)}, {percent(unknown / sample.waited)} of all waiting, the "
            "record of who held the lock was overwritten before the waiter could read it."
        )


def checked(snapshots: Sequence[Snapshot]) -> str:
    """How far the recordings add up, as a fact."""
    reports = [check_snapshot(s) for s in snapshots]
    held = sum(report.count(Verdict.HOLDS) for report in reports)
    failed = sum(report.count(Verdict.VIOLATED) for report in reports)
    skipped = sum(report.count(Verdict.SKIPPED) for report in reports)
    parts = [f"{counted(held, 'conservation check')} hold"]
    parts += [f"{failed} fail"] if failed else []
    parts += [f"{skipped} could not be judged"] if skipped else []
    return ", ".join(parts)


def laws(snapshots: Sequence[Snapshot]) -> Iterable[str]:
    """A warning if they do not add up."""
    if not all(check_snapshot(s).ok for s in snapshots):
        yield (
            f"The recording does not add up: {checked(snapshots)} (`bqlscope check` lists them). "
            "Do not trust its numbers."
        )


def _rings(snapshots: Sequence[Snapshot]) -> Iterable[str]:
    """How far the event rings reach back."""
    dropped = sum(log.dropped for s in snapshots for log in s.events.values())
    if not dropped:
        return
    written = sum(log.written + log.lost for s in snapshots for log in s.events.values())
    reach = min(covered_ns(s) for s in snapshots)
    yield (
        f"Single events: the rings had dropped {dropped} of {written} by the end, and all of them "
        f"together reach back {duration(reach)}. The timeline knows no more than that; the "
        "distributions, totals and blame have everything."
    )
