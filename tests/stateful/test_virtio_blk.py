# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-blk in every placement and over both engines against a bytearray.

A program is a list of batches, drawn whole. The requests of one batch are in flight together, each
in a zone of its own, so that the result does not depend on their order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmm._native import ffi, lib

SECTOR = 512
ZONES, ZONE_SECTORS = 8, 16
SECTORS = ZONES * ZONE_SECTORS
SLOT = 0x8000
QUEUES = 2
OK, IOERR, UNSUPP = 0, 1, 2
IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13
SERIAL = b"serial-of-twenty-byt"
ALL_FEATURES = (1 << 64) - 1
PLACEMENTS = {"vcpu": 0, "mainloop": 1, "iothread": 2, "two-iothreads": 3}


@dataclass(frozen=True)
class Request:
    kind: int
    sector: int  # in its zone; beyond the disk's end if `beyond`
    sectors: int
    fill: int
    piece: int
    queue: int
    beyond: bool


requests = st.builds(
    Request,
    kind=st.sampled_from([IN, IN, OUT, OUT, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES, 77]),
    sector=st.integers(0, ZONE_SECTORS - 1),
    sectors=st.integers(0, ZONE_SECTORS),
    fill=st.integers(1, 255),
    piece=st.sampled_from([0, 0, 1000, 511, 4096]),
    queue=st.integers(0, QUEUES - 1),
    beyond=st.sampled_from([False] * 7 + [True]),
)
batches = st.lists(requests, min_size=1, max_size=ZONES)
programs = st.lists(st.tuples(batches, st.booleans()), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def pool() -> Iterator[object]:
    # The block layer's own rig has a worker pool; only that is used here.
    rig = lib.block_test_rig_new(False)
    yield lib.block_test_rig_pool(rig)
    lib.block_test_rig_free(rig)


class Disk:
    """A device under test and the model that it must agree with."""

    def __init__(self, path: Path, pool: object, placement: int, uring: bool, irq: int) -> None:
        path.write_bytes(bytes(SECTORS * SECTOR))
        name = ffi.new("char[]", str(path).encode())
        engine = lib.BLOCK_AIO_IO_URING if uring else lib.BLOCK_AIO_THREADS
        options = ffi.new("BlockOpenOptions *", {"filename": name, "aio": engine})
        backend = lib.block_open_file(options, pool, ffi.new("char[]", lib.BLOCK_ERR_SIZE))
        config = ffi.new(
            "TestingRigConfig *",
            {
                "placement": placement,
                "irq_mode": irq,
                "num_queues": QUEUES,
                "queue_size": 64,
                "ring": uring,
                "poll_max_ns": 8000,
                "write_cache": True,
            },
        )
        self.rig = lib.testing_rig_new(config, backend)
        assert self.rig != ffi.NULL
        self.driver = lib.testing_rig_driver(self.rig)
        self.memory = lib.testing_rig_memory(self.rig)
        self.base = lib.testing_rig_data_gpa(self.rig)
        self.model = bytearray(SECTORS * SECTOR)
        self.unknown: set[int] = set()  # sectors whose content a discard left open

    def start(self) -> None:
        assert lib.testing_driver_start(self.driver, ALL_FEATURES) == 0xF

    def read(self, gpa: int, size: int) -> bytes:
        return bytes(ffi.buffer(lib.guest_memory_ptr(self.memory, gpa, size), size))

    def submit(self, zone: int, request: Request) -> tuple[int, int, int]:
        """Adds a request in its zone; gives (first sector, sectors, length of the data)."""
        sectors = min(request.sectors, ZONE_SECTORS - request.sector)
        sector = SECTORS if request.beyond else zone * ZONE_SECTORS + request.sector
        gpa = self.base + zone * SLOT
        if request.kind in (DISCARD, WRITE_ZEROES):
            data = sector.to_bytes(8, "little") + sectors.to_bytes(4, "little") + bytes(4)
        elif request.kind == GET_ID:
            data = bytes(20)
        elif request.kind in (IN, OUT):
            data = bytes([request.fill]) * (sectors * SECTOR)
        else:
            data = b""
        assert lib.guest_memory_write(self.memory, gpa + 16, data, len(data)) == 0
        native = ffi.new(
            "TestingBlkRequest *",
            {
                "type": request.kind,
                "sector": sector if request.kind in (IN, OUT) else 0,
                "gpa": gpa,
                "len": len(data),
                "device_writes": request.kind in (IN, GET_ID),
                "piece": request.piece,
                "indirect": request.piece > 0,
            },
        )
        assert lib.testing_driver_add_blk(self.driver, request.queue, native) >= 0
        return sector, sectors, len(data)

    def check(self, zone: int, request: Request, where: tuple[int, int, int]) -> None:
        sector, sectors, size = where
        gpa = self.base + zone * SLOT
        status = lib.testing_driver_blk_status(self.driver, gpa, size)
        if request.kind == 77:
            assert status == UNSUPP
        elif request.kind not in (FLUSH, GET_ID) and request.beyond and sectors:
            assert status == IOERR
        else:
            assert status == OK
            self.apply(request, sector, sectors, self.read(gpa + 16, size) if size else b"")

    def apply(self, request: Request, sector: int, sectors: int, data: bytes) -> None:
        span = slice(sector * SECTOR, (sector + sectors) * SECTOR)
        touched = range(sector, sector + sectors)
        if request.kind == OUT:
            self.model[span] = bytes([request.fill]) * (sectors * SECTOR)
            self.unknown.difference_update(touched)
        elif request.kind == WRITE_ZEROES:
            self.model[span] = bytes(sectors * SECTOR)
            self.unknown.difference_update(touched)
        elif request.kind == DISCARD:
            self.unknown.update(touched)
        elif request.kind == GET_ID:
            assert data == SERIAL
        elif request.kind == IN:
            for i, number in enumerate(touched):
                if number not in self.unknown:
                    expected = self.model[number * SECTOR : (number + 1) * SECTOR]
                    assert data[i * SECTOR : (i + 1) * SECTOR] == expected

    def run(self, batch: list[Request]) -> None:
        where = [self.submit(zone, request) for zone, request in enumerate(batch)]
        for queue in range(QUEUES):
            lib.testing_driver_publish(self.driver, queue)
        cookie, length = ffi.new("uint64_t *"), ffi.new("uint32_t *")
        seen = []
        for request in batch:
            lib.testing_rig_wait(self.rig, request.queue, cookie, length)
            seen.append((cookie[0] - self.base) // SLOT)
        assert sorted(seen) == list(range(len(batch)))
        for zone, request in enumerate(batch):
            self.check(zone, request, where[zone])

    def close(self) -> None:
        lib.testing_rig_free(self.rig)


@pytest.mark.parametrize("engine", ["uring", "threads"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_disk_agrees_with_a_bytearray(
    placement: str, engine: str, pool: object, tmp_path: Path
) -> None:
    path = tmp_path / "disk.raw"

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(program=programs, irq=st.integers(0, 2))
    def agree(program: list[tuple[list[Request], bool]], irq: int) -> None:
        disk = Disk(path, pool, PLACEMENTS[placement], engine == "uring", irq)
        try:
            disk.start()
            for batch, reset_after in program:
                disk.run(batch)
                if reset_after:
                    disk.start()
            assert lib.testing_rig_complaints(disk.rig) == 0
        finally:
            disk.close()
        stored = path.read_bytes()
        for sector in set(range(SECTORS)) - disk.unknown:
            span = slice(sector * SECTOR, (sector + 1) * SECTOR)
            assert stored[span] == disk.model[span]

    agree()
