# SPDX-License-Identifier: GPL-2.0-or-later
"""The blame matrix on recordings with known parts, and its sums on any."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.blame import HANDOFF, UNKNOWN, Axis, BlamePair, blame_matrix, top_pairs
from profiler.model import Role, Snapshot
from profiler.reader import Recording
from tests.support.recordings import RecordingBuilder, example

MAIN_WAITS = sum(1_009 + i for i in range(5))
CPU1_WAITS = sum(5_003 + i for i in range(17))


def snap(build: RecordingBuilder, folder: Path) -> Snapshot:
    with Recording.open(build.write(folder / "r.bql")) as recording:
        return recording.snapshot()


def test_roles_are_blamed_to_the_tick(tmp_path: Path) -> None:
    matrix = blame_matrix(snap(example(), tmp_path))
    assert matrix.waiters == ("vcpu",)
    assert matrix.holders == ("main", "vcpu", HANDOFF, UNKNOWN)
    assert matrix.ticks == ((MAIN_WAITS + CPU1_WAITS, 17 * 97, 17 * 13, 5 * 3),)


def test_threads_are_blamed_to_the_tick(tmp_path: Path) -> None:
    matrix = blame_matrix(snap(example(), tmp_path), Axis.THREAD)
    assert matrix.cell("CPU 1/KVM", "qemu-system-x86") == CPU1_WAITS
    assert matrix.cell("CPU 1/KVM", "CPU 0/KVM") == 17 * 97
    assert matrix.cell("CPU 0/KVM", "qemu-system-x86") == MAIN_WAITS
    assert matrix.cell("CPU 0/KVM", UNKNOWN) == 15


def test_threads_of_one_name_are_told_apart(tmp_path: Path) -> None:
    build = RecordingBuilder()
    site = build.site("a.c", 1, "a")
    one, two = build.thread(Role.WORKER, "worker"), build.thread(Role.WORKER, "worker")
    build.acquire(one, site, hold=1, blame=[(two, site, 31)])
    matrix = blame_matrix(snap(build, tmp_path), Axis.THREAD)
    assert (matrix.waiters, matrix.holders[0]) == (("worker #0",), "worker #1")


def test_sites_are_blamed_to_the_tick(tmp_path: Path) -> None:
    matrix = blame_matrix(snap(example(), tmp_path), Axis.SITE)
    waiter, holder = "CPU 1/KVM @ serial [2]", "CPU 0/KVM @ ioapic [3]"
    assert matrix.cell(waiter, holder) == 17 * 97


def test_the_largest_pair_comes_first_with_its_share(tmp_path: Path) -> None:
    pairs = top_pairs(snap(example(), tmp_path), waiter_role=Role.VCPU)
    total = CPU1_WAITS + 17 * (97 + 13) + MAIN_WAITS + 5 * 3
    assert pairs[0] == BlamePair(
        Role.VCPU,
        "serial",
        Role.MAIN,
        "os_host_main_loop_wait main-loop.c:301",
        CPU1_WAITS,
        17,
        5_003 + 16,
        CPU1_WAITS / total,
    )
    assert [pair.ticks for pair in pairs] == [CPU1_WAITS, MAIN_WAITS, 17 * 97]
    assert len(top_pairs(snap(example(), tmp_path), limit=2)) == 2
    assert top_pairs(snap(example(), tmp_path), waiter_role=Role.VNC) == []


parts = st.integers(0, 10**6)
waits = st.tuples(
    st.integers(0, 2),  # waiting thread
    st.integers(0, 2),  # its site
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), parts), max_size=3),
    parts,
    parts,
)


@given(st.lists(waits, max_size=12), st.sampled_from(Axis))
def test_every_row_of_the_matrix_adds_up_to_its_waits(
    program: list[tuple[int, int, list[tuple[int, int, int]], int, int]], axis: Axis
) -> None:
    build = RecordingBuilder(blame=64)
    for role in (Role.MAIN, Role.VCPU, Role.VNC):
        build.thread(role, role.label)
    for line in range(2):
        build.site("a.c", line, "f")
    for thread, site, blame, handoff, unknown in program:
        build.acquire(thread, site, hold=1, blame=blame, handoff=handoff, unknown=unknown)
    build.sync()
    with tempfile.TemporaryDirectory() as folder:
        snapshot = snap(build, Path(folder))
    matrix = blame_matrix(snapshot, axis)
    assert [sum(row) for row in matrix.ticks] == list(matrix.waits)
    expected = sum(sum(t for *_, t in blame) + h + u for _, _, blame, h, u in program)
    assert sum(matrix.waits) == expected


def test_an_unknown_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        blame_matrix(snap(example(), tmp_path)).cell("vcpu", "nobody")
