# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's self-described statistics, from files of the same layout (KVM_GET_STATS_FD)."""

import os
import struct
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vmm.accel.kvm_stats import KvmStat, StatsFiles

NAME = 48


def descriptor(name: str, flags: int, exponent: int, values: int, at: int, bucket: int) -> bytes:
    head = struct.pack("=IhHII", flags, exponent, values, at, bucket)
    return head + name.encode().ljust(NAME, b"\0")


def stats_file(path: Path, descriptors: list[bytes], data: list[int]) -> Path:
    at = 24 + 16  # the header, then an id
    data_at = at + sum(map(len, descriptors))
    header = struct.pack("=6I", 0, NAME, len(descriptors), 24, at, data_at)
    values = struct.pack(f"={len(data)}Q", *data)
    path.write_bytes(header + b"kvm-1".ljust(16, b"\0") + b"".join(descriptors) + values)
    return path


def read(path: Path) -> list[KvmStat]:
    files = StatsFiles()
    files._vm = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return files.of_vm()
    finally:
        files.close()


def test_types_units_and_histograms_are_as_described(tmp_path: Path) -> None:
    path = stats_file(
        tmp_path / "stats",
        [
            descriptor("exits", 0x000, 0, 1, 0, 0),
            descriptor("halt_ns", 0x020, -9, 1, 8, 0),
            descriptor("mapped", 0x111, 10, 1, 16, 0),
            descriptor("guest_mode", 0x041, 0, 1, 24, 0),
            descriptor("hist", 0x024, -9, 3, 32, 0),
            descriptor("linear", 0x003, 0, 2, 56, 5),
        ],
        [7, 8, 9, 1, 10, 11, 12, 13, 14],
    )
    assert read(path) == [
        KvmStat("exits", "cumulative", "none", 10, 0, 0, (7,)),
        KvmStat("halt_ns", "cumulative", "seconds", 10, -9, 0, (8,)),
        KvmStat("mapped", "instant", "bytes", 2, 10, 0, (9,)),
        KvmStat("guest_mode", "instant", "boolean", 10, 0, 0, (1,)),
        KvmStat("hist", "log2-histogram", "seconds", 10, -9, 0, (10, 11, 12)),
        KvmStat("linear", "linear-histogram", "none", 10, 0, 5, (13, 14)),
    ]


def test_what_a_later_kernel_may_add_is_left_out(tmp_path: Path) -> None:
    unknown = [descriptor("x", flags, 0, 1, 0, 0) for flags in (0x00F, 0x0F0, 0xF00)]
    known = descriptor("exits", 0, 0, 1, 0, 0)
    assert [each.name for each in read(stats_file(tmp_path / "s", [*unknown, known], [1]))] == [
        "exits"
    ]


def test_without_a_descriptor_there_are_no_statistics() -> None:
    files = StatsFiles()
    assert files.of_vm() == files.of_vcpu(3) == []
    files.close()


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        assert isinstance(read(Path(file.name)), list)
