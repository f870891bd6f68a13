# SPDX-License-Identifier: GPL-2.0-or-later
import struct

import pytest

from vmm.boot import mptable


def table(cpus: int) -> tuple[bytes, bytes]:
    """(floating pointer, configuration table)."""
    data = mptable.build(cpus)
    return data[:16], data[16:]


@pytest.mark.parametrize("cpus", [1, 2, 16])
def test_both_parts_sum_up_to_zero_and_the_pointer_finds_the_table(cpus: int) -> None:
    pointer, config = table(cpus)
    assert pointer[:4] == b"_MP_"
    assert config[:4] == b"PCMP"
    assert sum(pointer) % 256 == 0
    assert sum(config) % 256 == 0
    assert struct.unpack_from("<I", pointer, 4)[0] == mptable.MP_TABLE_ADDRESS + 16
    assert struct.unpack_from("<H", config, 4)[0] == len(config)


@pytest.mark.parametrize("cpus", [1, 3])
def test_the_entries_are_counted_and_in_the_order_of_the_specification(cpus: int) -> None:
    _, config = table(cpus)
    count = struct.unpack_from("<H", config, 34)[0]
    kinds, at = [], 44
    while at < len(config):
        kinds.append(config[at])
        at += 20 if config[at] == 0 else 8
    assert at == len(config)
    assert len(kinds) == count
    assert kinds == sorted(kinds)
    assert kinds.count(0) == cpus
    assert kinds.count(3) == mptable.IOAPIC_PINS


def test_it_fits_into_the_last_kilobyte_of_base_memory_with_the_most_cpus() -> None:
    assert len(mptable.build(16)) <= 0xA0000 - mptable.MP_TABLE_ADDRESS
