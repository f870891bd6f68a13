# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged recordings: the reader answers with a snapshot or a RecordingError, and soon."""

import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiler.blame import Axis, blame_matrix, top_pairs
from profiler.check import check_snapshot
from profiler.errors import RecordingError
from profiler.layout import HEADER
from profiler.reader import Recording
from profiler.summary import summarise
from tests.support.recordings import RecordingBuilder, example

GOOD = bytes(example().data)
SECONDS = 2.0

# The header decides where everything lies: half of all mutations go there.
positions = st.one_of(st.integers(0, HEADER.itemsize - 1), st.integers(0, len(GOOD) - 1))
mutations = st.lists(st.tuples(positions, st.binary(min_size=1, max_size=8)), max_size=8)
interesting = st.sampled_from([0, 1, 7, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, 2**64 - 1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r.bql"


def read_as_arrays(recording: Recording) -> None:
    """What an exporter reads, twice as it does."""
    for _ in range(2):
        with suppress(RecordingError):
            rows = recording.table().rows
            everything = np.arange(len(rows))
            assert rows.holds(everything).shape == rows.waits(everything).shape


def use(path: Path, data: bytes) -> None:
    """Open, copy and evaluate everything that a tool would."""
    path.write_bytes(data)
    began = time.monotonic()
    try:
        with Recording.open(path) as recording:
            read_as_arrays(recording)
            snapshot = recording.snapshot(events=True)
    except RecordingError as error:
        complaint = error.message
    else:
        complaint = f"{path}: none"
        check_snapshot(snapshot)
        summarise(snapshot)
        top_pairs(snapshot, limit=5)
        for axis in Axis:
            blame_matrix(snapshot, axis)
    assert complaint.startswith(f"{path}: ")
    assert "\n" not in complaint
    assert time.monotonic() - began < SECONDS


quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@quick
@given(mutations)
def test_overwritten_bytes(path: Path, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(GOOD)
    for at, new in changes:
        data[at : at + len(new)] = new[: len(data) - at]
    use(path, bytes(data))


@quick
@given(st.data())
def test_header_fields_with_extreme_values(path: Path, data: st.DataObject) -> None:
    assert HEADER.names is not None
    build = RecordingBuilder()
    build.data[:] = GOOD
    fields = [n for n in HEADER.names if "name" not in n and n != "magic"]
    for name in data.draw(st.lists(st.sampled_from(fields), min_size=1, max_size=3)):
        value = data.draw(interesting)
        build.header[name] = value & ((1 << 8 * HEADER[name].itemsize) - 1)
    use(path, bytes(build.data))


@quick
@given(st.integers(0, len(GOOD)), st.binary(max_size=64))
def test_truncated_and_extended_files(path: Path, length: int, tail: bytes) -> None:
    use(path, GOOD[:length] + tail)


@quick
@given(st.binary(max_size=4096))
def test_files_that_were_never_recordings(path: Path, data: bytes) -> None:
    use(path, data)
