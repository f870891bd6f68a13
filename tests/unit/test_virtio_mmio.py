# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio-mmio register file: what a driver may see, and what no driver may cause."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm._native import ffi, lib

MAGIC, VERSION, DEVICE_ID = 0x000, 0x004, 0x008
FEATURES, FEATURES_SEL = 0x010, 0x014
DRIVER_FEATURES, DRIVER_FEATURES_SEL = 0x020, 0x024
QUEUE_SEL, QUEUE_NUM_MAX, QUEUE_NUM, QUEUE_READY, QUEUE_NOTIFY = 0x030, 0x034, 0x038, 0x044, 0x050
INTERRUPT_STATUS, INTERRUPT_ACK, STATUS, GENERATION, CONFIG = 0x060, 0x064, 0x070, 0x0FC, 0x100
DRIVER_OK_STATUS, NEEDS_RESET = 0xF, 0x40
READ_ONLY_REGISTERS = {
    MAGIC: 0x74726976,
    VERSION: 2,
    DEVICE_ID: 2,
    QUEUE_NUM_MAX: 32,
    GENERATION: 0,
    INTERRUPT_STATUS: 0,
    CONFIG: 2048,
}
QUEUES = 2


class Device:
    """A virtio-blk device over the null backend, seen through its registers only."""

    def __init__(self) -> None:
        config = ffi.new(
            "TestingRigConfig *",
            {"placement": 1, "num_queues": QUEUES, "queue_size": 32, "write_cache": True},
        )
        self.rig = lib.testing_rig_new(config, lib.block_open_null(1 << 20, 0))
        assert self.rig != ffi.NULL
        self.driver = lib.testing_rig_driver(self.rig)

    def read(self, offset: int, size: int = 4) -> int:
        return int(lib.testing_driver_read(self.driver, offset, size))

    def write(self, offset: int, value: int, size: int = 4) -> None:
        lib.testing_driver_write(self.driver, offset, value, size)

    def close(self) -> None:
        lib.testing_rig_free(self.rig)


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    yield made
    made.close()


@pytest.mark.parametrize(("offset", "value"), READ_ONLY_REGISTERS.items())
def test_a_read_only_register_keeps_its_value(device: Device, offset: int, value: int) -> None:
    assert device.read(offset) == value
    device.write(offset, 0xDEADBEEF)
    assert device.read(offset) == value


@pytest.mark.parametrize("offset", [0x00C, FEATURES, STATUS])
@pytest.mark.parametrize("size", [1, 2, 8])
def test_registers_answer_to_32_bit_accesses_only(device: Device, offset: int, size: int) -> None:
    device.write(STATUS, 1)
    assert device.read(offset) != 0
    assert device.read(offset, size) == 0


def test_the_whole_handshake_leads_to_driver_ok(device: Device) -> None:
    assert lib.testing_driver_start(device.driver, (1 << 64) - 1) == DRIVER_OK_STATUS
    device.write(QUEUE_SEL, 1)
    assert device.read(QUEUE_READY) == 1
    device.write(STATUS, 0)
    assert device.read(STATUS) == 0
    device.write(QUEUE_SEL, 1)
    assert device.read(QUEUE_READY) == 0


registers = st.sampled_from(
    [
        *(FEATURES_SEL, DRIVER_FEATURES, DRIVER_FEATURES_SEL, QUEUE_SEL, QUEUE_NUM, QUEUE_READY),
        *(QUEUE_NOTIFY, INTERRUPT_ACK, STATUS, 0x080, 0x084, 0x090, 0x094, 0x0A0, 0x0A4, 0x0AC),
        *(CONFIG, CONFIG + 32, 0x1FC, 0x002, 0x0C0),
    ]
)
values = st.one_of(
    st.integers(0, 3),
    st.sampled_from([1 | 2, 1 | 2 | 8, 0xF, 0xFF, 16, 32, 64, 1 << 13, 0x1000, 0xFFFFFFFF]),
)
accesses = st.lists(st.tuples(registers, values, st.sampled_from([4, 4, 4, 1, 2])), max_size=60)


@given(program=accesses)
def test_no_order_of_writes_breaks_the_rules(program: list[tuple[int, int, int]]) -> None:
    device = Device()
    try:
        status = 0
        for offset, value, size in program:
            device.write(offset, value, size)
            new = device.read(STATUS)
            if not (offset == STATUS and value == 0 and size == 4):
                assert new & status == status, "a bit was lost without a reset"
            assert new & 8 or not new & 4, "DRIVER_OK without FEATURES_OK"
            status = new
        # Whatever happened, a reset and an honest driver get a working disk.
        assert lib.testing_driver_start(device.driver, (1 << 64) - 1) == DRIVER_OK_STATUS
        gpa = lib.testing_rig_data_gpa(device.rig)
        request = ffi.new("TestingBlkRequest *", {"gpa": gpa, "len": 512, "device_writes": True})
        used = ffi.new("uint32_t *")
        assert lib.testing_rig_request(device.rig, 0, request, used) == 0
        assert used[0] == 513
    finally:
        device.close()
