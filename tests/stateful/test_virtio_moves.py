# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk whose queues move between the main loop and two iothreads, against a bytearray.

A program is a list of steps, drawn whole: requests that stay in flight across moves, drains that
nest, resets, kicks for nothing, turns of the main loop. Each request is in a zone of its own; a
completion of one that is not in flight is a lost or doubled one.
"""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stateful.test_virtio_blk import (
    DISCARD,
    OUT,
    QUEUES,
    SECTOR,
    SECTORS,
    SLOT,
    WRITE_ZEROES,
    ZONES,
    Disk,
    Request,
    requests,
)
from vmm._native import ffi, lib

TWO_IOTHREADS = 3
PLACES = 3
CHANGES = (OUT, DISCARD, WRITE_ZEROES)

places = st.integers(0, PLACES - 1)
steps = st.one_of(
    requests,
    requests,
    st.tuples(st.just("move"), st.tuples(places, places)),
    st.tuples(st.just("nested move"), st.tuples(places, places)),
    st.tuples(st.just("wait"), st.integers(1, ZONES)),
    st.tuples(st.just("kick"), st.integers(0, QUEUES - 1)),
    st.tuples(st.sampled_from(["turn", "reset"]), st.none()),
)


@pytest.fixture(scope="module")
def pool() -> Iterator[object]:
    rig = lib.block_test_rig_new(False)
    yield lib.block_test_rig_pool(rig)
    lib.block_test_rig_free(rig)


class MovingDisk(Disk):
    """The device, the model, and what is in flight."""

    in_flight: dict[int, tuple[Request, tuple[int, int, int]]]

    def begin(self) -> None:
        """Reset and start; what was in flight is dropped or done, nobody knows."""
        self.start()
        for request, (sector, sectors, _) in self.in_flight.values():
            if request.kind in CHANGES and not request.beyond:
                self.unknown.update(range(sector, sector + sectors))
        self.in_flight.clear()

    def add(self, request: Request) -> None:
        """Submit in a free zone; waits for one if there is none."""
        if len(self.in_flight) == ZONES:
            self.wait(1)
        zone = next(zone for zone in range(ZONES) if zone not in self.in_flight)
        self.in_flight[zone] = (request, self.submit(zone, request))
        lib.testing_driver_publish(self.driver, request.queue)

    def wait(self, count: int) -> None:
        """Until so many requests have completed, or all."""
        cookie, length = ffi.new("uint64_t *"), ffi.new("uint32_t *")
        for _ in range(min(count, len(self.in_flight))):
            queue = next(iter(self.in_flight.values()))[0].queue
            lib.testing_rig_wait(self.rig, queue, cookie, length)
            zone = (cookie[0] - self.base) // SLOT
            request, where = self.in_flight.pop(zone)  # KeyError: it was not in flight
            assert request.queue == queue
            self.check(zone, request, where)

    def move(self, to: tuple[int, int], *, nested: bool) -> None:
        """Move queue i to place to[i]; refused within somebody else's drain."""
        blk = lib.testing_rig_blk(self.rig)
        lib.virtio_blk_drain_begin(blk)
        if nested:
            lib.virtio_blk_drain_begin(blk)
            context = lib.testing_rig_context(self.rig, to[0])
            assert lib.virtio_blk_set_context(blk, 0, context) == -errno.EBUSY
            lib.virtio_blk_drain_end(blk)
        for queue, place in enumerate(to):
            context = lib.testing_rig_context(self.rig, place)
            assert lib.virtio_blk_set_context(blk, queue, context) == 0
        lib.virtio_blk_drain_end(blk)

    def step(self, step: Request | tuple[str, object]) -> None:
        """Do one step of a program."""
        match step:
            case Request():
                self.add(step)
            case ("move" | "nested move" as how, (int(first), int(second))):
                self.move((first, second), nested=how == "nested move")
            case ("wait", int(count)):
                self.wait(count)
            case ("kick", int(queue)):
                lib.testing_driver_kick(self.driver, queue)
            case ("turn", _):
                lib.aio_poll(lib.testing_rig_context(self.rig, 0), False)
            case ("reset", _):
                self.begin()


@pytest.mark.parametrize("engine", ["uring", "threads"])
def test_a_disk_that_moves_agrees_with_a_bytearray(
    engine: str, pool: object, tmp_path: Path
) -> None:
    path = tmp_path / "disk.raw"

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(program=st.lists(steps, min_size=1, max_size=40), irq=st.integers(0, 2))
    def agree(program: list[Request | tuple[str, object]], irq: int) -> None:
        disk = MovingDisk(path, pool, TWO_IOTHREADS, engine == "uring", irq)
        disk.in_flight = {}
        try:
            disk.begin()
            for step in program:
                disk.step(step)
            disk.wait(ZONES)
            assert lib.testing_rig_complaints(disk.rig) == 0
        finally:
            disk.close()
        stored = path.read_bytes()
        for sector in set(range(SECTORS)) - disk.unknown:
            span = slice(sector * SECTOR, (sector + 1) * SECTOR)
            assert stored[span] == disk.model[span]

    agree()
