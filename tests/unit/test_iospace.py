# SPDX-License-Identifier: GPL-2.0-or-later
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rig import Call, Probe, Rig
from vmm._native import ffi, lib
from vmm.devices.python_region import PythonRegion

TOP = (1 << 64) - 1
SIZES = (1, 2, 4, 8)


def ones(size: int) -> int:
    return (1 << 8 * size) - 1


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path / "rig.bql") as made:
        yield made


@pytest.mark.parametrize(
    ("base", "size"),
    [
        (0x1000, 0x100),
        (0x1010, 1),
        (0xFFF, 2),
        (0x10FF, 2),
        (0x800, 0x1000),
        (0x10FF, TOP - 0x10FF),
    ],
)
def test_a_region_that_overlaps_another_is_refused(rig: Rig, base: int, size: int) -> None:
    rig.probe(0x1000, 0x100)
    assert rig.try_add(base, size, Probe(rig.bql)) == -errno.EEXIST


@pytest.mark.parametrize(("base", "size"), [(0x1100, 1), (0xFFF, 1), (0, 0x1000), (TOP, 1)])
def test_a_region_that_only_touches_another_is_accepted(rig: Rig, base: int, size: int) -> None:
    rig.probe(0x1000, 0x100)
    assert rig.try_add(base, size, Probe(rig.bql)) == 0


def test_the_same_addresses_may_be_used_in_both_spaces(rig: Rig) -> None:
    port = rig.probe(0x3F8, 8, kind=lib.IO_PIO)
    memory = rig.probe(0x3F8, 8, kind=lib.IO_MMIO)
    rig.write(0x3F8, 1, 1, lib.IO_PIO)
    assert (len(port.calls), len(memory.calls)) == (1, 0)


@pytest.mark.parametrize(("base", "size"), [(0, 0), (0x1000, 0), (TOP, 2), (2, TOP)])
def test_an_empty_or_wrapping_region_is_refused(rig: Rig, base: int, size: int) -> None:
    assert rig.try_add(base, size, Probe(rig.bql)) == -errno.EINVAL


def test_a_region_up_to_the_last_address_is_accepted(rig: Rig) -> None:
    assert rig.try_add(1, TOP, Probe(rig.bql)) == 0


def test_an_unknown_space_is_refused(rig: Rig) -> None:
    assert rig.try_add(0, 1, Probe(rig.bql), kind=2) == -errno.EINVAL


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [lib.IO_PIO, lib.IO_MMIO])
def test_unassigned_reads_are_all_ones_and_take_no_lock(
    recorded: Rig, size: int, kind: int
) -> None:
    before = recorded.acquisitions()
    assert recorded.read(0x500, size, kind) == ones(size)
    recorded.write(0x500, 0, size, kind)
    assert recorded.acquisitions() == before


def test_a_lock_free_region_is_entered_without_the_lock(recorded: Rig) -> None:
    probe = recorded.probe(0x1000, 16, lock_free=True, name="free")
    before = recorded.acquisitions()
    recorded.read(0x1000, 4)
    recorded.write(0x1004, 7, 4)
    assert [call.locked for call in probe.calls] == [False, False]
    assert recorded.acquisitions() == before


def test_a_locked_region_is_entered_with_the_lock_taken_at_its_own_site(recorded: Rig) -> None:
    probe = recorded.probe(0x1000, 16, name="uart-a")
    recorded.probe(0x2000, 16, name="uart-b")
    for _ in range(23):
        recorded.read(0x1000, 4)
    recorded.write(0x2000, 1, 1)
    assert [call.locked for call in probe.calls] == [True] * 23
    counts = recorded.acquisitions()
    assert (counts["uart-a"], counts["uart-b"]) == (23, 1)
    assert not recorded.bql.locked()


@pytest.mark.parametrize("size", SIZES)
def test_values_are_cut_to_the_size_of_the_access(rig: Rig, size: int) -> None:
    probe = rig.probe(0x1000, 16, answer=TOP)
    rig.write(0x1008, TOP, size)
    assert rig.read(0x1000, size) == ones(size)
    assert probe.calls[0].value == ones(size)
    assert [(call.offset, call.size) for call in probe.calls] == [(8, size), (0, size)]


@pytest.mark.parametrize(("base", "length"), [(0x1000, 6), (TOP - 5, 6)])
def test_an_access_that_sticks_out_of_its_region_reaches_nobody(
    rig: Rig, base: int, length: int
) -> None:
    probe = rig.probe(base, length)
    assert rig.read(base + 4, 4) == ones(4)
    rig.write(base + 5, 0, 2)
    assert probe.calls == []
    rig.write(base + 4, 0, 2)
    assert len(probe.calls) == 1


def test_an_access_that_starts_below_a_region_does_not_reach_it(rig: Rig) -> None:
    probe = rig.probe(0x1000, 4)
    assert rig.read(0xFFE, 4) == ones(4)
    assert probe.calls == []


def test_a_removed_region_is_gone_and_its_neighbours_stay(rig: Rig) -> None:
    for base in (0x1000, 0x2000, 0x3000):
        rig.probe(base, 16, answer=base)
    assert rig.remove(0x2000) == 0
    assert [rig.read(base, 4) for base in (0x1000, 0x2000, 0x3000)] == [0x1000, ones(4), 0x3000]
    rig.probe(0x2000, 16, answer=1)
    assert rig.read(0x2000, 4) == 1


def test_only_the_base_of_a_region_removes_it(rig: Rig) -> None:
    assert rig.remove(0x1000) == -errno.ENOENT
    rig.probe(0x1000, 16)
    assert rig.remove(0x1004) == -errno.ENOENT
    assert rig.remove(0x1000, lib.IO_PIO) == -errno.ENOENT


def test_an_exception_of_one_handler_reads_all_ones_and_frees_the_lock(rig: Rig) -> None:
    class Broken:
        def read(self, offset: int, size: int) -> int:
            raise RuntimeError("no")

        def write(self, offset: int, value: int, size: int) -> None:
            raise RuntimeError("no")

    assert rig.try_add(0x1000, 4, Broken()) == 0
    assert rig.read(0x1000, 2) == ones(2)
    assert not rig.bql.locked()


class Kick:
    """An eventfd that counts; closed with the rig's test."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def take(self) -> int:
        try:
            return os.eventfd_read(self.fd)
        except BlockingIOError:
            return 0


@pytest.fixture
def kick() -> Iterator[Kick]:
    made = Kick()
    yield made
    os.close(made.fd)


def add_ioeventfd(rig: Rig, fd: int, *, size: int, match_any: bool, value: int) -> None:
    with rig.bql.held():
        assert (
            lib.iospace_add_ioeventfd(rig.iospace, lib.IO_MMIO, 0x1050, size, match_any, value, fd)
            == 0
        )


def test_an_ioeventfd_takes_the_matching_write_from_the_handler(rig: Rig, kick: Kick) -> None:
    probe = rig.probe(0x1000, 0x200)
    add_ioeventfd(rig, kick.fd, size=4, match_any=False, value=3)
    rig.write(0x1050, 3, 4)
    rig.write(0x1050, 3, 4)
    assert (kick.take(), probe.calls) == (2, [])


@pytest.mark.parametrize(
    ("addr", "value", "size", "kind"),
    [
        (0x1050, 4, 4, lib.IO_MMIO),
        (0x1050, 3, 2, lib.IO_MMIO),
        (0x1054, 3, 4, lib.IO_MMIO),
        (0x1050, 3, 4, lib.IO_PIO),
    ],
)
def test_a_write_that_differs_reaches_the_handler_instead(
    rig: Rig, kick: Kick, addr: int, value: int, size: int, kind: int
) -> None:
    probe = rig.probe(0x1000, 0x200, kind=kind)
    add_ioeventfd(rig, kick.fd, size=4, match_any=False, value=3)
    rig.write(addr, value, size, kind)
    assert kick.take() == 0
    assert [(call.offset, call.value, call.size) for call in probe.calls] == [
        (addr - 0x1000, value, size)
    ]


def test_an_ioeventfd_for_any_value_and_size_takes_all_writes_but_no_read(
    rig: Rig, kick: Kick
) -> None:
    probe = rig.probe(0x1000, 0x200)
    add_ioeventfd(rig, kick.fd, size=0, match_any=True, value=0)
    for size in SIZES:
        rig.write(0x1050, size, size)
    rig.read(0x1050, 4)
    assert kick.take() == len(SIZES)
    assert [call.kind for call in probe.calls] == ["read"]


def test_a_matched_write_takes_no_lock(recorded: Rig, kick: Kick) -> None:
    recorded.probe(0x1000, 0x200)
    add_ioeventfd(recorded, kick.fd, size=4, match_any=False, value=0)
    before = recorded.acquisitions()
    recorded.write(0x1050, 0, 4)
    assert recorded.acquisitions() == before


def test_a_removed_ioeventfd_gives_the_writes_back(rig: Rig, kick: Kick) -> None:
    probe = rig.probe(0x1000, 0x200)
    add_ioeventfd(rig, kick.fd, size=4, match_any=False, value=0)
    with rig.bql.held():
        remove = lib.iospace_remove_ioeventfd
        assert remove(rig.iospace, lib.IO_MMIO, 0x1050, kick.fd + 1) == -errno.ENOENT
        assert remove(rig.iospace, lib.IO_MMIO, 0x1050, kick.fd) == 0
        assert remove(rig.iospace, lib.IO_MMIO, 0x1050, kick.fd) == -errno.ENOENT
    rig.write(0x1050, 0, 4)
    assert (kick.take(), len(probe.calls)) == (0, 1)


@dataclass
class Model:
    """Regions as a plain list; what the dispatch must agree with."""

    regions: list[tuple[int, int, Probe]] = field(default_factory=list)

    def overlaps(self, base: int, size: int) -> bool:
        return any(base < b + s and b < base + size for b, s, _ in self.regions)

    def find(self, addr: int, size: int) -> tuple[Probe, int] | None:
        for base, length, probe in self.regions:
            if base <= addr and addr + size <= base + length:
                return probe, addr - base
        return None


ADDRESSES = st.integers(0, 64) | st.integers(TOP - 64, TOP)
OPERATIONS = st.lists(
    st.tuples(st.just("add"), ADDRESSES, st.integers(0, 24))
    | st.tuples(st.just("remove"), ADDRESSES, st.just(0))
    | st.tuples(st.sampled_from(["read", "write"]), ADDRESSES, st.sampled_from(SIZES)),
    min_size=1,
    max_size=40,
)


def step_add(rig: Rig, model: Model, base: int, size: int) -> None:
    probe = Probe(rig.bql, answer=len(model.regions) + 1)
    expected = 0
    if size == 0 or base + size - 1 > TOP:
        expected = -errno.EINVAL
    elif model.overlaps(base, size):
        expected = -errno.EEXIST
    assert rig.try_add(base, size, probe) == expected
    if not expected:
        model.regions.append((base, size, probe))


def step_remove(rig: Rig, model: Model, base: int) -> None:
    found = [region for region in model.regions if region[0] == base]
    assert rig.remove(base) == (0 if found else -errno.ENOENT)
    for region in found:
        model.regions.remove(region)


def step_access(rig: Rig, model: Model, kind: str, addr: int, size: int) -> None:
    found = model.find(addr, size)
    calls = {id(probe): len(probe.calls) for _, _, probe in model.regions}
    if kind == "read":
        assert rig.read(addr, size) == (found[0].answer if found else ones(size))
    else:
        rig.write(addr, addr & 0x7F, size)
    if found:
        probe, offset = found
        call = probe.calls[calls[id(probe)]]
        value = addr & 0x7F if kind == "write" else 0
        assert call == Call(kind, offset, value, size, True, call.thread)
        calls[id(probe)] += 1
    assert calls == {id(probe): len(probe.calls) for _, _, probe in model.regions}


@given(OPERATIONS)
def test_any_program_of_changes_and_accesses_agrees_with_a_plain_list(
    program: list[tuple[str, int, int]],
) -> None:
    with Rig() as rig:
        model = Model()
        for operation, addr, size in program:
            if operation == "add":
                step_add(rig, model, addr, size)
            elif operation == "remove":
                step_remove(rig, model, addr)
            else:
                step_access(rig, model, operation, addr, size)


def test_many_ioeventfds_on_one_register_are_told_apart_by_value(rig: Rig) -> None:
    kicks = [Kick() for _ in range(5)]
    for value, made in enumerate(kicks):
        add_ioeventfd(rig, made.fd, size=4, match_any=False, value=value)
    for value in (0, 4, 4, 2):
        rig.write(0x1050, value, 4)
    assert [made.take() for made in kicks] == [1, 0, 1, 0, 2]
    for made in kicks:
        os.close(made.fd)


def test_the_scratch_register_keeps_what_was_written(rig: Rig) -> None:
    stored = ffi.new("uint64_t *")
    with rig.bql.held():
        ops = lib.ops_scratch_register()
        added = lib.iospace_add(rig.iospace, lib.IO_PIO, 0x5F8, 4, b"scratch", False, ops, stored)
    assert added == 0
    rig.write(0x5F8, 0x1234_5678, 4, lib.IO_PIO)
    assert rig.read(0x5F8, 4, lib.IO_PIO) == 0x1234_5678
    assert rig.read(0x5FA, 2, lib.IO_PIO) == 0x1234


def replace_region(rig: Rig, base: int, probe: Probe, name: str) -> int:
    region = PythonRegion(name, probe, rig.bql.handle, rig.requests)
    rig.regions.append(region)
    ops = PythonRegion.ops()
    with rig.bql.held():
        return int(
            lib.iospace_replace(
                rig.iospace, lib.IO_MMIO, base, name.encode(), False, ops, region.native
            )
        )


def test_a_replaced_region_is_another_device_at_the_same_addresses(recorded: Rig) -> None:
    first = recorded.probe(0x1000, 0x10, answer=1, name="first")
    second = Probe(recorded.bql, 2)
    assert replace_region(recorded, 0x1000, second, "second") == 0
    assert recorded.read(0x100C, 4) == 2
    assert recorded.read(0x100E, 4) == ones(4)  # as wide as before
    assert (len(first.calls), len(second.calls)) == (0, 1)
    assert recorded.acquisitions()["second"] == 1
    assert replace_region(recorded, 0x1001, second, "third") == -errno.ENOENT


def test_reclaiming_old_tables_keeps_the_present_ones(rig: Rig) -> None:
    rig.probe(0x1000, 0x10, answer=1)
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    with rig.bql.held():
        lib.iospace_add_ioeventfd(rig.iospace, lib.IO_MMIO, 0x1004, 4, False, 7, fd)
        lib.iospace_reclaim(rig.iospace)
        lib.iospace_reclaim(rig.iospace)
    assert rig.read(0x1000, 4) == 1
    rig.write(0x1004, 7, 4)
    assert os.eventfd_read(fd) == 1
    os.close(fd)
    assert rig.remove(0x1000) == 0
    with rig.bql.held():
        lib.iospace_reclaim(rig.iospace)
    assert rig.read(0x1000, 4) == ones(4)
