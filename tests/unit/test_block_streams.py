# SPDX-License-Identifier: GPL-2.0-or-later
"""Random request streams: whatever the engine, the disk behaves like a bytearray."""

import errno
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmm._native import ffi, lib
from vmm.block.backend import BlockBackend, DriveOpenError, open_backend
from vmm.block.options import parse_drive

SLOTS = 8
SLOT = 8192
DISK = SLOTS * SLOT
OPERATIONS = (
    lib.BLOCK_READ,
    lib.BLOCK_WRITE,
    lib.BLOCK_WRITE,
    lib.BLOCK_WRITE_ZEROES,
    lib.BLOCK_DISCARD,
    lib.BLOCK_FLUSH,
)
ENGINES = {
    "uring": "aio=io_uring",
    "threads": "aio=threads",
    "uring-direct": "aio=io_uring,cache=none",
    "threads-direct": "aio=threads,cache=none",
    "uring-delayed": "aio=io_uring,delay-us=20",
    "unsafe": "aio=io_uring,cache=unsafe",
}


@dataclass(frozen=True)
class Request:
    op: int
    flags: int
    slot: int
    skip: int
    length: int
    fill: int
    misalign: int
    cut: int

    @property
    def offset(self) -> int:
        return self.slot * SLOT + self.skip

    def pattern(self) -> bytes:
        return bytes((self.fill + i // 512) & 0xFF for i in range(self.length))


@st.composite
def requests(draw: st.DrawFn, slot: int) -> Request:
    grain = draw(st.sampled_from((512, 512, 1)))
    skip = draw(st.integers(0, SLOT // grain)) * grain
    length = draw(st.integers(0, (SLOT - skip) // grain)) * grain
    return Request(
        op=draw(st.sampled_from(OPERATIONS)),
        flags=draw(st.sampled_from((0, lib.BLOCK_UNMAP, lib.BLOCK_FUA))),
        slot=slot,
        skip=skip,
        length=length,
        fill=draw(st.integers(0, 255)),
        misalign=draw(st.sampled_from((0, 0, 512, 1, 100))),
        cut=draw(st.sampled_from((0, 0, 512, 700))),
    )


def batches() -> st.SearchStrategy[list[Request]]:
    """Requests that run at the same time: at most one a slot, so that order does not matter."""
    return st.lists(
        st.integers(0, SLOTS - 1).flatmap(requests), unique_by=lambda r: r.slot, max_size=SLOTS
    )


class Rig:
    """Runs batches on a backend, in this thread."""

    def __init__(self) -> None:
        self.native = lib.block_test_rig_new(True)
        self.pool = lib.block_test_rig_pool(self.native)

    def run(self, backend: BlockBackend, batch: list[Request]) -> list[tuple[int, bytes]]:
        if not batch:
            return []
        ops = ffi.new("BlockTestOp[]", len(batch))
        buffers = []
        for op, request in zip(ops, batch, strict=True):
            writes = request.op == lib.BLOCK_WRITE
            buffers.append(
                ffi.new("char[]", request.pattern() if writes else max(request.length, 1))
            )
            op.op, op.flags = request.op, request.flags
            op.offset, op.bytes = request.offset, request.length
            op.data, op.misalign, op.cut = buffers[-1], request.misalign, request.cut
        lib.block_test_run(self.native, backend.native, ops, len(batch))
        assert all(op.completions == 1 for op in ops)
        return [
            (op.ret, bytes(ffi.buffer(data, op.bytes)))
            for op, data in zip(ops, buffers, strict=True)
        ]


@pytest.fixture(name="rig", scope="module")
def _rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    lib.block_test_rig_free(rig.native)


class Model:
    """What the disk must hold. Whether discarded bytes survive is nobody's promise."""

    def __init__(self) -> None:
        self.data = bytearray(DISK)
        self.known = bytearray(b"\1" * DISK)

    def apply(self, request: Request, data: bytes) -> None:
        """Account for a request that succeeded; data is what it read."""
        part = slice(request.offset, request.offset + request.length)
        if request.op == lib.BLOCK_READ:
            for got, expected, known in zip(data, self.data[part], self.known[part], strict=True):
                assert got == expected or not known
        elif request.op == lib.BLOCK_DISCARD:
            self.known[part] = bytes(request.length)
        elif request.op != lib.BLOCK_FLUSH:
            writes = request.op == lib.BLOCK_WRITE
            self.data[part] = request.pattern() if writes else bytes(request.length)
            self.known[part] = b"\1" * request.length


def check(rig: Rig, backend: BlockBackend, program: list[list[Request]], every: int) -> None:
    """Run the program, the every-th request (0: none) being expected to fail."""
    model = Model()
    seen = 0
    whole = [[Request(lib.BLOCK_READ, 0, slot, 0, SLOT, 0, 0, 0)] for slot in range(SLOTS)]
    for batch in program + whole:
        for request, (ret, data) in zip(batch, rig.run(backend, batch), strict=True):
            seen += 1
            fails = every and seen % every == 0
            assert ret == (-errno.EIO if fails else 0)
            if not fails:
                model.apply(request, data)
    statistics = backend.statistics().values()
    assert sum(stats.ops for stats in statistics) == seen
    assert sum(stats.failed for stats in statistics) == (seen // every if every else 0)


@pytest.mark.parametrize("engine", ENGINES)
@given(program=st.lists(batches(), max_size=5), every=st.sampled_from((0, 0, 3)))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_disk_behaves_like_a_bytearray(
    rig: Rig, engine: str, program: list[list[Request]], every: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "disk.img")
        image.write_bytes(bytes(DISK))
        options = parse_drive(f"file={image},{ENGINES[engine]},error-every={every}")
        try:
            backend = open_backend(options, rig.pool)
        except DriveOpenError as error:
            if error.errno == errno.EINVAL and options.cache == "none":
                pytest.skip("no O_DIRECT on this file system")
            raise
        with backend:
            check(rig, backend, program, every)
