# SPDX-License-Identifier: GPL-2.0-or-later
"""Perfetto traces, parsed back with Perfetto's own messages."""

import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from profiler.layout import Kind, Role
from profiler.model import Snapshot
from profiler.traces import perfetto, source
from profiler.traces.batch import Batch
from profiler.traces.protobuf import Template, interleaved, unsigned, varint
from tests.support.events import START, drain, relay
from tests.support.perfetto import Trace, replay
from tests.support.recordings import (
    START_MONOTONIC_NS,
    START_REALTIME_NS,
    START_TICKS,
    RecordingBuilder,
)

ZERO = START_MONOTONIC_NS + (START - START_TICKS) // 2  # of relay(), ns
WAIT, LOCK, HOLD = "monitor contention", "Lock contention", "hold"


def converted(path: Path) -> Trace:
    out = io.BytesIO()
    with source.open_source(path) as opened:
        perfetto.write(opened, out)
    return replay(out.getvalue())


def both(build: RecordingBuilder, folder: Path) -> tuple[Trace, Trace]:
    """The trace of a recording, and that of the file of events drained from it."""
    recording = build.write(folder / "r.bql")
    drain(recording, folder / "r.events")
    return converted(recording), converted(folder / "r.events")


def test_every_wait_and_hold_is_a_slice_of_its_thread(tmp_path: Path) -> None:
    for trace in both(relay(), tmp_path):
        assert trace.process == (4_000_001, "qemu-system-x86 guest")
        assert trace.threads == {901: "qemu-system-x86", 902: "CPU 0/KVM", 903: "CPU 1/KVM"}
        slices = [(s.tid, s.name.split(" ")[0], s.depth, s.start, s.end) for s in trace.slices]
        assert slices == [
            (tid, name, depth, ZERO + start, ZERO + end)
            for tid, name, depth, start, end in (
                (901, "hold", 0, 500, 2500),
                (903, "monitor", 0, 700, 3100),
                (903, "Lock", 1, 700, 3100),
                (902, "monitor", 0, 1000, 2600),
                (902, "Lock", 1, 1000, 2600),
                (902, "hold", 0, 2600, 3100),
                (903, "hold", 0, 3100, 3400),
                (903, "hold", 0, 4500, 4550),
            )
        ]


def test_arrows_lead_from_each_release_to_the_wait_that_it_ended(tmp_path: Path) -> None:
    for trace in both(relay(), tmp_path):
        arrows = [(a.tid, a.name, b.tid, b.name[:18], b.end) for a, b in trace.arrows]
        assert arrows == [
            (901, "hold os_host_main_loop_wait main-loop.c:301", 902, WAIT, ZERO + 2600),
            (902, "hold ioapic", 903, WAIT, ZERO + 3100),
        ]


def test_names_are_those_that_the_lock_contention_views_look_for(tmp_path: Path) -> None:
    for trace in both(relay(), tmp_path):
        first, second = trace.starting(WAIT)
        assert first.name == (
            "monitor contention with owner qemu-system-x86 (901)"
            " at void os_host_main_loop_wait()(main-loop.c:301)"
            " waiters=0 blocking from void serial()(physmem.c:2874)"
        )
        # As android_monitor_contention takes a name apart.
        assert second.name.split("with owner ")[1].split(" (")[0] == "qemu-system-x86"
        assert second.name.split(" (")[1].split(")")[0] == "901"
        assert second.name.split("waiters=")[1].split(" ")[0] == "1"
        assert second.name.split(")(")[1].split(")")[0] == "main-loop.c:301"
        assert second.name.split(")(")[2].split(")")[0] == "physmem.c:2874"
        assert second.name.split("blocking from ")[1].split("(")[0] == "void ioapic"
        for inner in trace.starting(LOCK):
            assert re.fullmatch(
                r"Lock contention on (?:a )?BQL lock \(owner tid: 901\)", inner.name
            )


def test_arguments_tell_site_device_wait_and_hold(tmp_path: Path) -> None:
    for trace in both(relay(), tmp_path):
        poll, ioapic, serial, trylock = trace.starting(HOLD)
        place = "mmio_read physmem.c:2874"
        assert poll.args == {
            "site": "os_host_main_loop_wait main-loop.c:301",
            "kind": "lock",
            "hold_ns": 2000,
        }
        assert ioapic.args == {
            "site": place,
            "device": "ioapic",
            "kind": "lock",
            "wait_ns": 1600,
            "hold_ns": 500,
        }
        assert serial.args["wait_ns"] == 2400
        assert (trylock.args["kind"], trylock.args.get("wait_ns")) == ("trylock", None)
        assert trace.starting(WAIT)[1].args == {
            "site": place,
            "device": "ioapic",
            "kind": "lock",
            "wait_ns": 1600,
        }


def test_the_clock_is_monotonic_and_tied_to_the_date(tmp_path: Path) -> None:
    for trace in both(relay(), tmp_path):
        assert trace.clocks[0] == {3: START_MONOTONIC_NS, 1: START_REALTIME_NS}


def test_names_that_would_break_the_format_are_changed(tmp_path: Path) -> None:
    build = RecordingBuilder()
    main = build.thread(Role.MAIN, "worker (2) at", tid=7)
    cpu = build.thread(Role.VCPU, "CPU 0", tid=8)
    odd = build.site("", 0, "(other)")
    build.acquire(main, odd, hold=100)
    build.acquire(cpu, odd, hold=10, blame=[(main, odd, 20)])
    for trace in both(build, tmp_path):
        (wait,) = trace.starting(WAIT)
        assert wait.name == (
            "monitor contention with owner worker [2] at (7)"
            " at void [other]()(unknown:0) waiters=0 blocking from void [other]()(unknown:0)"
        )


def test_a_wait_for_somebody_unknown_is_a_slice_too(tmp_path: Path) -> None:
    build = RecordingBuilder()
    cpu = build.thread(Role.VCPU, "CPU 0", tid=8)
    build.acquire(cpu, 0, hold=10, unknown=50)
    for trace in both(build, tmp_path):
        assert [found.name for found in trace.slices] == [
            "wait for the BQL",
            "Lock contention on a BQL lock (owner tid: 0)",
            "hold (other)",
        ]


steps = st.lists(
    st.tuples(
        st.integers(0, 3),  # thread
        st.integers(0, 3),  # site
        st.sampled_from(Kind),
        st.integers(0, 40),  # ticks between the release before and the acquisition
        st.integers(0, 300),  # wait, if the thread was not holding then
        st.integers(0, 60),  # hold
    ),
    max_size=60,
)


def program(drawn: list[tuple[int, int, Kind, int, int, int]]) -> RecordingBuilder:
    """A recording of threads that take turns; one tick is 1 ns."""
    build = RecordingBuilder(ticks_per_ns=1.0, events=64, rows=32)
    for index in range(4):
        build.thread(Role.VCPU, f"CPU {index}", tid=50 + index)
        build.site("a.c", index, "f", region="disk" if index else "")
    released = [build.now] * 4
    previous = (0, 0)
    for thread, site, kind, gap, longest, hold in drawn:
        acquired = build.now + gap
        wait = min(longest, acquired - released[thread])
        build.now = acquired - wait
        blame = [(*previous, wait)] if wait else []
        build.acquire(thread, site, hold=hold, blame=blame, kind=kind)
        released[thread], previous = build.now, (thread, site)
    build.sync()
    return build


class Pieces(source.Source):
    """Another source's acquisitions in batches of a given size."""

    def __init__(self, whole: source.Source, size: int) -> None:
        self.process, self.clock, self.names = whole.process, whole.clock, whole.names
        self.began, self.ended, self.notes = whole.began, whole.ended, whole.notes
        self.holes = whole.holes
        self._whole, self._size = whole, size

    def close(self) -> None:
        """The other source is not ours."""

    def batches(self) -> Iterator[Batch]:
        for batch in self._whole.batches():
            for at in range(0, len(batch), self._size):
                yield batch.take(slice(at, at + self._size))

    def snapshot(self) -> Snapshot:
        return self._whole.snapshot()

    @property
    def dropped(self) -> int:
        return self._whole.dropped


@given(steps)
def test_slices_add_up_to_waits_and_holds(
    drawn: list[tuple[int, int, Kind, int, int, int]],
) -> None:
    build = program(drawn)
    with tempfile.TemporaryDirectory() as folder:
        traces = both(build, Path(folder))
    for trace in traces:
        waits, holds = Counter[int](), Counter[int]()
        for found in trace.slices:
            assert found.duration >= 0
            if found.name.startswith((WAIT, "wait")):
                assert found.duration == found.args["wait_ns"]
                waits[found.tid] += found.duration
            elif found.name.startswith(HOLD):
                assert (found.depth, found.duration) == (0, found.args["hold_ns"])
                holds[found.tid] += found.duration
        for index in range(4):
            ring = build.events[index][: int(build.threads["events_head"][index])]
            assert waits[50 + index] == int(ring["wait"].sum())
            assert holds[50 + index] == int(ring["hold"].sum())
        assert len(trace.starting(HOLD)) == len(drawn)
        for releaser, waiter in trace.arrows:
            assert waiter.start <= releaser.end <= waiter.end
            assert releaser.tid != waiter.tid


@given(steps)
def test_arrows_do_not_depend_on_how_the_stream_is_cut(
    drawn: list[tuple[int, int, Kind, int, int, int]],
) -> None:
    def arrows(batch_size: int) -> list[tuple[int, int, int, int]]:
        out = io.BytesIO()
        perfetto.write(Pieces(opened, batch_size), out)
        trace = replay(out.getvalue())
        return [(a.tid, a.end, b.tid, b.end) for a, b in trace.arrows]

    with tempfile.TemporaryDirectory() as folder:
        path = program(drawn).write(Path(folder) / "r.bql")
        with source.open_source(path) as opened:
            whole = arrows(100)
            assert arrows(1) == arrows(3) == whole


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**21 - 1)), max_size=20))
def test_templates_fill_and_interleave_like_single_messages(
    values: list[tuple[bool, int]],
) -> None:
    import numpy as np  # noqa: PLC0415

    which = np.array([int(kind) for kind, _ in values], np.int64)
    column = np.array([value for _, value in values], np.uint64)
    short = Template.message(1, Template.unsigned(2, "v", 3))
    long = Template.message(1, Template(unsigned(9, 5)) + Template.fixed64(3, "v"))
    rows = {
        kind: template.fill({"v": column[which == kind]}, int((which == kind).sum()))
        for kind, template in enumerate((short, long))
    }
    expected = b""
    for kind, value in values:
        if kind:
            body = b"\x48\x05\x19" + value.to_bytes(8, "little")
        else:
            parts = [value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14]
            body = b"\x10" + bytes(parts)
        expected += b"\x0a" + varint(len(body)) + body
    assert interleaved(which, rows) == expected
