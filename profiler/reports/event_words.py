# SPDX-License-Identifier: GPL-2.0-or-later
"""What a page says about a file of events that it does not say about a recording."""

from collections.abc import Iterable

from profiler.compare.locks import UNKNOWN
from profiler.model import Snapshot
from profiler.reports.gaps import ALWAYS, laws
from profiler.reports.model import Timeline
from profiler.reports.sample import Sample
from profiler.reports.source import Events
from profiler.reports.stretch import Stretch
from profiler.reports.words import counted, duration, percent
from profiler.traces.aggregate import HISTORY

LACKS = (
    "What no event tells: sleeps inside holds, waiting for Python's interpreter lock, failed "
    "trylocks, disk queues, and why vCPUs left the guest. The recording itself (.bql) has those.",
    "A wait or a hold that had not ended when recording did is not in the file.",
)
ENDED = {
    "ended": "until the process ended",
    "closed": "until the process closed its recording",
    "duration": "for the time asked for",
    "size": "up to a size limit",
    "stopped": "until somebody stopped it",
    "rotated": "until its file was full and the next one began",
    None: "until the recorder was killed, or the file ends",
}


def event_facts(taken: int, events: Events) -> tuple[tuple[str, str], ...]:
    """How much of what happened the file has."""
    part = f"the recorded time, {ENDED.get(events.reason, 'until it ended')}"
    captured = f"all of {counted(taken, 'acquisition')}, none sampled"
    if events.dropped:
        captured = f"{taken} of {counted(taken + events.dropped, 'acquisition')}, none sampled"
    return ("Part", part), ("Captured", captured)


def event_gaps(snapshot: Snapshot, events: Events) -> tuple[str, ...]:
    """What a file of events does not say."""
    window = f"Anything but the {duration(snapshot.clock.ns(snapshot.elapsed))} of the file."
    notes = [f"The file: {note}." for note in events.notes]
    found = [window, *notes, *_drops(snapshot, events), *_unknown(snapshot)]
    return (*found, *laws([snapshot]), *LACKS, *ALWAYS)


def _drops(snapshot: Snapshot, events: Events) -> Iterable[str]:
    if not events.dropped and not events.holes:
        return
    part = ""
    if events.dropped:
        taken = sum(row.total for row in snapshot.rows)
        part = f", {percent(events.dropped / (taken + events.dropped))} of all,"
    yield (
        f"Dropped acquisitions{part} are in no figure: counts and times are too low by them. They "
        f"happened in {counted(events.holes, 'span')} of time, together "
        f"{duration(events.hole_ns)}."
    )


def _unknown(snapshot: Snapshot) -> Iterable[str]:
    sample = Sample((snapshot,))
    unknown = sum(pair.total for pair in sample.pairs if pair.holder == UNKNOWN)
    if unknown:
        yield (
            f"For {duration(unknown)}, {percent(unknown / sample.waited)} of all waiting, who held "
            "the lock is not known: it was before recording began, among dropped acquisitions, or "
            f"more than {HISTORY} acquisitions earlier."
        )


def stretch_words(stretch: Stretch, plot: Timeline) -> str:
    """What the caption of the timeline says about where its events are from."""
    clock, origin = stretch.snapshot.clock, stretch.snapshot.start
    words = f" It begins {duration(plot.start) if plot.start else '0 s'} after the recording did."
    end = plot.start + plot.length
    unseen = sum(
        max(0.0, min(end, clock.ns(last - origin)) - max(plot.start, clock.ns(first - origin)))
        for first, last in stretch.holes
    )
    if unseen:
        words += f" In {duration(unseen)} of it acquisitions were dropped: those are not drawn."
    if stretch.left_out:
        words += f" {counted(stretch.left_out, 'short acquisition')} around it had no room."
    return words
