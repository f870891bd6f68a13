# SPDX-License-Identifier: GPL-2.0-or-later
"""pprof: a whole recording for `go tool pprof`, values named as in Go's own mutex profile.

Sample types: contentions/count, delay/nanoseconds, hold/nanoseconds; delay is the default. A stack
is the call site, and what a vCPU accessed there as its leaf. Labels: `role`, `thread` (its name),
`tid`, and for delay `blocked_by` (role of the holder, or handoff, unknown) and `holder` (its site):

    go tool pprof -top -tagfocus role=vcpu lock.pb.gz
    go tool pprof -tags lock.pb.gz

Unlike Go, which charges a wait to the one who unlocked last, delay is at the waiter's site and is
split among all holders exactly.
"""

from collections.abc import Iterator
from typing import BinaryIO

from profiler.model import Snapshot, Who
from profiler.traces import stacks
from profiler.traces.profile import StackSample, write_profile
from profiler.traces.source import Source

SAMPLE_TYPES = (("contentions", "count"), ("delay", "nanoseconds"), ("hold", "nanoseconds"))
DEFAULT_TYPE = "delay"


def write(source: Source, out: BinaryIO) -> None:
    """Write the profile of all figures of a source. Raises OSError."""
    out.write(profile(source.snapshot()))


def profile(snapshot: Snapshot) -> bytes:
    """A gzipped profile of a snapshot, or of an interval made by `Snapshot.since`."""
    clock = snapshot.clock
    return write_profile(
        [*_row_samples(snapshot), *_delay_samples(snapshot)],
        SAMPLE_TYPES,
        DEFAULT_TYPE,
        time_ns=clock.realtime_ns(snapshot.start),
        duration_ns=round(clock.ns(snapshot.elapsed)),
    )


def _row_samples(snapshot: Snapshot) -> Iterator[StackSample]:
    """Contentions and holds, one sample for each thread and call site."""
    for row in snapshot.rows:
        if row.total:
            values = (row.contended, 0, round(snapshot.clock.ns(row.hold_total)))
            yield _sample(snapshot, row.who, values, {})


def _delay_samples(snapshot: Snapshot) -> Iterator[StackSample]:
    """Waits, one sample for each thread, call site and cause."""
    for part in stacks.wait_parts(snapshot):
        labels = {"blocked_by": part.reason.strip("[]")}
        if part.holder is not None:
            labels["blocked_by"] = snapshot.role_of(part.holder).label
            labels["holder"] = snapshot.site_label(part.holder.site)
        yield _sample(snapshot, part.waiter, (0, round(snapshot.clock.ns(part.ticks)), 0), labels)


def _sample(
    snapshot: Snapshot, who: Who, values: tuple[int, ...], labels: dict[str, str]
) -> StackSample:
    frames = filter(None, (stacks.device(snapshot, who.site), stacks.place(snapshot, who.site)))
    names = {"role": snapshot.role_of(who).label, "thread": snapshot.thread_label(who)}
    tid = next((t.tid for t in snapshot.threads if t.index == who.thread), 0)
    return StackSample(tuple(frames), values, (*(names | labels).items(), ("tid", tid)))
