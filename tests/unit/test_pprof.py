# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles: what is charged to whom, and that others can read them."""

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from exporters.mutex_profile import mutex_profile
from profiler.model import Snapshot
from profiler.reader import Recording
from profiler.traces.mutex import MUTEX_DEFAULT, MUTEX_TYPES, mutex_samples
from profiler.traces.profile import StackSample, profile_class, write_profile
from profiler.traces.stacks import Frame
from tests.support.recordings import example

POLL = Frame("os_host_main_loop_wait main-loop.c:301", "util/main-loop.c", 301)


def snapshot_of(path: Path) -> Snapshot:
    with Recording.open(path) as recording:
        return recording.snapshot()


def read_profile(data: bytes) -> Any:
    return profile_class().FromString(gzip.decompress(data))


def test_waits_are_charged_to_their_holders_exactly(tmp_path: Path) -> None:
    snapshot = snapshot_of(example().write(tmp_path / "r.bql"))
    samples = mutex_samples(snapshot, "web")

    def ns(ticks: int) -> int:
        return round(snapshot.clock.ns(ticks))

    found = {
        (sample.frames[0].name, dict(sample.tags)["waiter_site"]): sample for sample in samples
    }
    main = found[POLL.name, "serial"]
    assert main.frames == (POLL, Frame("[main]"), Frame("web"))
    assert main.tags == (("waiter_role", "vcpu"), ("waiter_site", "serial"))
    assert main.values == (17, ns(sum(5_003 + i for i in range(17))))
    assert found["[handoff]", "serial"].values == (0, ns(17 * 13))
    assert found["[unknown]", "ioapic"].values == (0, ns(5 * 3))
    assert [s.values[1] for s in samples] == sorted((s.values[1] for s in samples), reverse=True)


def test_a_profile_can_be_read_back() -> None:
    stack = (Frame("leaf", "a.c", 3), Frame("root"))
    data = write_profile(
        [StackSample(stack, (2, 30), (("k", "v"),)), StackSample(stack[1:], (1, 5))],
        MUTEX_TYPES,
        MUTEX_DEFAULT,
        time_ns=11,
        duration_ns=12,
    )
    profile = read_profile(data)
    text = profile.string_table
    assert text[0] == ""
    assert [(text[t.type], text[t.unit]) for t in profile.sample_type] == list(MUTEX_TYPES)
    functions = {function.id: text[function.name] for function in profile.function}
    lines = {
        location.id: (functions[location.line[0].function_id], location.line[0].line)
        for location in profile.location
    }
    assert [
        ([lines[i] for i in sample.location_id], list(sample.value)) for sample in profile.sample
    ] == [([("leaf", 3), ("root", 0)], [2, 30]), ([("root", 0)], [1, 5])]
    assert [(text[x.key], text[x.str]) for x in profile.sample[0].label] == [("k", "v")]
    assert (profile.time_nanos, profile.duration_nanos, profile.period) == (11, 12, 1)


def test_the_same_samples_give_the_same_bytes() -> None:
    samples = [StackSample((Frame("a"),), (1, 2))]
    assert write_profile(samples, MUTEX_TYPES, MUTEX_DEFAULT) == write_profile(
        samples, MUTEX_TYPES, MUTEX_DEFAULT
    )


def test_an_interval_has_what_happened_in_it_and_a_bad_recording_is_left_out(
    tmp_path: Path,
) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")
    with Recording.open(path) as recording:
        process = recording.process
    failures: list[str] = []

    def work(_seconds: float) -> bool:
        build.acquire(2, 2, hold=5, blame=[(0, 1, 2_000)])
        build.sync()
        path.write_bytes(build.data)
        return False

    bad = tmp_path / "bad.bql"
    bad.write_bytes(b"nothing")
    broken = process.__class__(bad, 1, 1, "x", "x", alive=True)
    data = mutex_profile([("web", process), ("bad", broken)], 5, work, failures.append)
    (sample,) = read_profile(data).sample
    assert list(sample.value) == [1, 1_000]
    (failure,) = failures
    assert failure.startswith(f"{bad}: ")


def test_go_reads_it(tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    snapshot = snapshot_of(example().write(tmp_path / "r.bql"))
    profile = tmp_path / "mutex.pb.gz"
    profile.write_bytes(write_profile(mutex_samples(snapshot, "web"), MUTEX_TYPES, MUTEX_DEFAULT))
    command = [go, "tool", "pprof", "-top", "-sample_index=delay", str(profile)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert POLL.name in done.stdout
