# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a trial's lock figures from the recording its child left behind.

The child copies its recording when the guest opens and when it closes its measured window
(`PATH.begin`, `PATH.end`); the difference of the two is the window, free of boot and warm-up.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from profiler.compare.locks import AFTER_WAIT, HANDOFF, UNKNOWN, BlamePair, LockFigures
from profiler.errors import RecordingError
from profiler.histogram import Histogram
from profiler.model import BlameEntry, Kind, Role, Row, Snapshot, Who
from profiler.reader import Recording
from profiler.summary import hold_ticks, vcpu_threads

ROLE_NAMES = {Role.MAIN: "main loop"}
"""Roles whose name in words differs from the enum's."""


def _snapshot(path: Path) -> Snapshot:
    with Recording.open(path) as recording:
        return recording.snapshot(events=False)


def _window(recording: Path) -> tuple[Snapshot, str]:
    """The difference of the two window copies, or everything where a copy is missing."""
    begin, end = (Path(f"{recording}.{mark}") for mark in ("begin", "end"))
    if not (begin.exists() and end.exists()):
        return _snapshot(recording), "whole"
    try:
        return _snapshot(end).since(_snapshot(begin)), "marks"
    except ValueError as error:
        raise RecordingError(f"{recording}: the window copies do not fit: {error}") from error


def thread_words(name: str) -> str:
    """A thread's name without the accelerator: `CPU 1/KVM` is `CPU 1`."""
    return name.partition("/")[0]


def role_words(role: Role) -> str:
    """A role as the table names it."""
    return ROLE_NAMES.get(role, role.label)


def _places(snapshot: Snapshot) -> Callable[[Who], str]:
    """Names of call sites; one where the lock is only re-taken after condition waits says so."""
    waits = {row.who for row in snapshot.rows if 0 < row.total == row.acquisitions[Kind.COND]}

    def place(who: Who) -> str:
        site = snapshot.site(who.site)
        if site is not None and site.location and who in waits:
            return f"{AFTER_WAIT} ({site.location})"
        return snapshot.site_label(who.site)

    return place


def _holder_pair(snapshot: Snapshot, place: Callable[[Who], str], entry: BlameEntry) -> BlamePair:
    waiter, holder = entry.waiter, entry.holder
    return BlamePair(
        waiter=thread_words(snapshot.thread_label(waiter)),
        waiter_site=place(waiter),
        holder=_holder_words(snapshot, holder),
        holder_site=place(holder),
        wait_ns=snapshot.clock.ns(entry.ticks),
    )


def _holder_words(snapshot: Snapshot, holder: Who) -> str:
    """vCPUs by name, because which one it is matters; all others by role."""
    role = snapshot.role_of(holder)
    if role is Role.VCPU:
        return thread_words(snapshot.thread_label(holder))
    return role_words(role)


def _unnamed_pairs(
    snapshot: Snapshot, place: Callable[[Who], str], row: Row
) -> Iterable[BlamePair]:
    """The parts of a row's wait that no holder is named for."""
    for holder, ticks in ((HANDOFF, row.handoff), (UNKNOWN, row.unknown)):
        if ticks:
            yield BlamePair(
                waiter=thread_words(snapshot.thread_label(row.who)),
                waiter_site=place(row.who),
                holder=holder,
                holder_site="",
                wait_ns=snapshot.clock.ns(ticks),
            )


def figures(snapshot: Snapshot, source: str, window_ns: float | None) -> LockFigures:
    """The figures of one snapshot or interval; `window_ns` is the guest's window, if known."""
    vcpus = {thread.index for thread in snapshot.threads if thread.role is Role.VCPU}
    main = {thread.index for thread in snapshot.threads if thread.role is Role.MAIN}
    vcpu_rows = [row for row in snapshot.rows if row.thread in vcpus]
    main_rows = [row for row in snapshot.rows if row.thread in main]
    holds = Histogram.merged(row.hold_hist for row in main_rows)
    place = _places(snapshot)
    blame = [_holder_pair(snapshot, place, e) for e in snapshot.blame if e.waiter.thread in vcpus]
    for row in vcpu_rows:
        blame += _unnamed_pairs(snapshot, place, row)
    elapsed = snapshot.clock.ns(snapshot.elapsed)
    if source == "marks":
        # The copies are taken just outside the guest's window, and the rows cover all that lies
        # between them; the other length only counts if the clock was not synchronised for them.
        elapsed = max(elapsed, window_ns or 0.0)
    return LockFigures(
        window_ns=elapsed,
        window_source=source,
        vcpus=vcpu_threads(snapshot),
        vcpu_wait_ns=snapshot.clock.ns(sum(row.wait_total for row in vcpu_rows)),
        mainloop_hold_ns=snapshot.clock.ns(hold_ticks(snapshot, Role.MAIN)),
        mainloop_hold_p99_ns=snapshot.clock.ns(holds.quantile(0.99)) if holds.total else None,
        blame=tuple(blame),
    )


def read_locks(recording: Path, window_ns: float | None) -> LockFigures:
    """Figures of a trial's recording.  Raises `RecordingError` if it cannot be used."""
    snapshot, source = _window(recording)
    return figures(snapshot, source, window_ns)
