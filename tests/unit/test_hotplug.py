# SPDX-License-Identifier: GPL-2.0-or-later
"""Objects, nodes and disks that come and go; errors in QEMU's words. See also test_hot_move.py."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.machines import machine_config, record_events
from vmm._native import lib
from vmm.devices.virtio_slots import SLOTS, VIRTIO_MMIO_BASE, VIRTIO_MMIO_STRIDE, slot_address
from vmm.errors import DeviceNotFoundError, VmmError
from vmm.machine import Machine

MAGIC, DEVICE_ID, VENDOR = 0, 8, 12
NULL_NODE = {"driver": "null-co", "node-name": "n0", "size": 1 << 20}


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(machine_config(objects=("iothread,id=io0",))) as made:
        yield made


def register(machine: Machine, slot: int, offset: int) -> int:
    """What a vCPU reads."""
    machine.bql.unlock()  # the access takes the lock as a vCPU's exit does
    value = int(lib.iospace_read(machine.iospace, lib.IO_MMIO, slot_address(slot) + offset, 4))
    machine.bql.lock()
    return value


def plug(machine: Machine, device_id: str = "vd0", node: str = "n0", **props: Any) -> None:
    machine.hotplug.blockdev_add({**NULL_NODE, "node-name": node})
    dashed = {name.replace("_", "-"): value for name, value in props.items()}
    machine.hotplug.device_add("virtio-blk-device", device_id, {"drive": node, **dashed})


def complaint(call: Callable[[], object], kind: type[VmmError] = VmmError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_every_slot_is_there_and_an_empty_one_is_a_placeholder(machine: Machine) -> None:
    for slot in range(SLOTS):
        assert register(machine, slot, MAGIC) == 0x74726976
        assert register(machine, slot, DEVICE_ID) == 0
    beyond = VIRTIO_MMIO_BASE + SLOTS * VIRTIO_MMIO_STRIDE
    machine.bql.unlock()
    assert lib.iospace_read(machine.iospace, lib.IO_MMIO, beyond, 4) == 0xFFFF_FFFF
    lib.iospace_write(machine.iospace, lib.IO_MMIO, slot_address(3) + 0x70, 1, 4)
    machine.bql.lock()
    assert register(machine, 3, 0x70) == 0


def test_a_disk_appears_in_the_first_free_slot_and_in_the_tree_and_goes(machine: Machine) -> None:
    events = record_events(machine)
    plug(machine, "vd0", "n0", iothread="io0", serial="abc", num_queues=2)
    plug(machine, "vd1", "n1")
    assert register(machine, 0, DEVICE_ID) == register(machine, 1, DEVICE_ID) == 2
    disk = machine.qom.resolve("/machine/peripheral/vd0")
    assert disk.get("drive") == "n0"
    assert disk.get("iothread") == "/objects/io0"
    machine.hotplug.device_del("vd0")
    assert register(machine, 0, DEVICE_ID) == 0
    assert register(machine, 1, DEVICE_ID) == 2
    assert "not found" in complaint(lambda: machine.qom.resolve("/machine/peripheral/vd0"))
    path = "/machine/peripheral/vd0"
    told = [(e.name, dict(e.data)) for e in events]
    assert told == [("DEVICE_DELETED", {"device": "vd0", "path": path})]
    machine.hotplug.blockdev_del("n0")
    plug(machine, "vd2", "n2")
    assert machine.hotplug.disk("vd2").slot == 0


def test_a_disk_is_deleted_by_its_path_too(machine: Machine) -> None:
    plug(machine)
    machine.hotplug.device_del("/machine/peripheral/vd0")
    assert machine.disks == []


def test_the_slots_run_out_in_one_line(machine: Machine) -> None:
    for i in range(SLOTS):
        plug(machine, f"vd{i}", f"n{i}")
    machine.hotplug.blockdev_add({**NULL_NODE, "node-name": "last"})
    said = complaint(
        lambda: machine.hotplug.device_add("virtio-blk-device", "vd8", {"drive": "last"})
    )
    assert said.startswith("No 'virtio-bus' bus found for device 'virtio-blk-device'")
    machine.hotplug.blockdev_del("last")


def test_what_query_block_shows(machine: Machine) -> None:
    plug(machine)
    (row,) = machine.hotplug.query_block()
    assert row["qdev"] == "/machine/peripheral/vd0"
    assert row["device"] == ""
    assert row["inserted"]["node-name"] == "n0"
    assert row["inserted"]["image"]["virtual-size"] == 1 << 20


WRONG_DEVICES: list[tuple[dict[str, Any], str]] = [
    ({}, "drive property not set"),
    ({"drive": "n9"}, "Property 'virtio-blk-device.drive' can't find value 'n9'"),
    ({"drive": 3}, "property 'drive' of virtio-blk-device (str): '3': must be a string"),
    ({"drive": "n0", "colour": 1}, "Property 'virtio-blk-device.colour' not found"),
    ({"drive": "n0", "num-queues": 0}, "(uint16): '0': must be a number from 1 to 1024"),
    ({"drive": "n0", "num-queues": True}, "'True': must be a number"),
    ({"drive": "n0", "queue-size": 100}, "'100': must be a power of two from 4 to 1024"),
    ({"drive": "n0", "serial": "x" * 21}, "must be at most 20 bytes"),
    ({"drive": "n0", "logical_block_size": 300}, "must be a power of two from 512 to 4096"),
    ({"drive": "n0", "ioeventfd": "perhaps"}, "must be on or off"),
    ({"drive": "n0", "iothread": "io0", "ioeventfd": False}, "ioeventfd is required for iothread"),
    ({"drive": "n0", "iothread-vq-mapping": 3}, "must be io0+io1 or a list such as"),
    (
        {"drive": "n0", "iothread-vq-mapping": [{"iothread": "io0", "vqs": [1]}]},
        "missing vq 0 IOThread assignment",
    ),
    (
        {"drive": "n0", "iothread-vq-mapping": [{"iothread": "io0"}], "iothread": "io0"},
        "iothread and iothread-vq-mapping properties cannot be set at the same time",
    ),
    (
        {"drive": "n0", "iothread-vq-mapping": [{"iothread": "io0"}, {"iothread": "io0"}]},
        'duplicate IOThread name "io0" in iothread-vq-mapping',
    ),
    (
        {"drive": "n0", "iothread-vq-mapping": [{"iothread": "io0", "vqs": [0, 2]}]},
        "missing vq 1 IOThread assignment in iothread-vq-mapping",
    ),
    (
        {
            "drive": "n0",
            "num-queues": 2,
            "iothread-vq-mapping": [{"iothread": "io0", "vqs": [0, 2]}],
        },
        'vq index 2 for IOThread "io0" must be less than num_queues 2 in iothread-vq-mapping',
    ),
    (
        {"drive": "n0", "iothread-vq-mapping": [{"iothread": "io0", "vqs": [0, 0]}]},
        'cannot assign vq 0 to IOThread "io0" because it is already assigned',
    ),
    (
        {"drive": "n0", "iothread-vq-mapping": [{"iothread": "io0", "vqs": "0"}]},
        "must be io0+io1 or a list such as",
    ),
]


@pytest.mark.parametrize(("props", "words"), WRONG_DEVICES)
def test_a_device_that_cannot_be_is_refused_and_leaves_no_trace(
    machine: Machine, props: dict[str, Any], words: str
) -> None:
    machine.hotplug.blockdev_add(NULL_NODE)
    before = sorted(os.listdir("/proc/self/fd"))
    said = complaint(lambda: machine.hotplug.device_add("virtio-blk-device", "vd0", props))
    assert words in said
    assert machine.disks == []
    assert sorted(os.listdir("/proc/self/fd")) == before
    machine.hotplug.blockdev_del("n0")  # nobody uses it


def test_ids_models_and_iothreads_that_are_not_there(machine: Machine) -> None:
    plug(machine)
    add, delete = machine.hotplug.device_add, machine.hotplug.device_del
    assert complaint(lambda: add("e1000", "vd1", {})).startswith(
        "'e1000' is not a valid device model name"
    )
    assert complaint(lambda: add("virtio-blk-device", "vd0", {})) == "Duplicate device ID 'vd0'"
    assert complaint(lambda: delete("vd7"), DeviceNotFoundError) == "Device 'vd7' not found"
    said = complaint(
        lambda: add("virtio-blk", "vd1", {"drive": "n0", "iothread": "io7"}), DeviceNotFoundError
    )
    assert said == "Device 'io7' not found"
    in_use = complaint(lambda: add("virtio-blk", "vd1", {"drive": "n0"}))
    assert in_use == "Property 'virtio-blk-device.drive' can't take value 'n0', it's in use"


def test_an_iothread_comes_goes_and_stays_while_it_is_used(machine: Machine) -> None:
    machine.hotplug.object_add("iothread", "io1", {"poll-max-ns": 0})
    assert machine.qom.resolve("/objects/io1").get("poll-max-ns") == 0
    plug(machine, iothread="io1")
    in_use = "object 'io1' is in use, can not be deleted"
    assert complaint(lambda: machine.hotplug.object_del("io1")) == in_use
    machine.hotplug.set_iothread("n0", None)
    machine.hotplug.object_del("io1")
    assert "not found" in complaint(lambda: machine.qom.resolve("/objects/io1"))
    assert complaint(lambda: machine.hotplug.object_del("io1")) == "object 'io1' not found"


def test_an_iothread_of_a_mapping_is_in_use(machine: Machine) -> None:
    machine.hotplug.object_add("iothread", "io1", {})
    plug(machine, iothread_vq_mapping=[{"iothread": "io0"}, {"iothread": "io1"}])
    assert machine.hotplug.disk("vd0").get("num-queues") == 2
    assert "in use" in complaint(lambda: machine.hotplug.object_del("io1"))
    machine.hotplug.set_iothread("n0", "io0")
    machine.hotplug.object_del("io1")


def test_a_mapping_says_which_queue_goes_where(machine: Machine) -> None:
    machine.hotplug.object_add("iothread", "io1", {})
    plug(
        machine,
        iothread_vq_mapping=[
            {"iothread": "io0", "vqs": [2, 0]},
            {"iothread": "io1", "vqs": [1]},
        ],
    )
    disk = machine.hotplug.disk("vd0")
    assert disk.get("num-queues") == 3
    assert disk.get("iothread-vq-mapping") == [
        {"iothread": "io0", "vqs": [2, 0]},
        {"iothread": "io1", "vqs": [1]},
    ]
    io0, io1 = machine.hotplug.objects.iothreads()
    assert disk.contexts(machine.hotplug._bus) == [io0.context, io1.context, io0.context]


NAMES = st.sampled_from(
    ["drive", "iothread", "iothread-vq-mapping", "num-queues", "queue-size", "serial", "irq", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["n0", "io0", "on", "8", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["iothread", "vqs"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(props=st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_properties_make_a_disk_or_a_complaint(machine: Machine, props: dict[str, Any]) -> None:
    if machine.hotplug.nodes.find("n0") is None:
        machine.hotplug.blockdev_add(NULL_NODE)
    with suppress(VmmError):
        machine.hotplug.device_add("virtio-blk-device", "vd0", {"drive": "n0", **props})
        machine.hotplug.device_del("vd0")
    assert machine.disks == []
    assert not machine.hotplug.nodes.resolve("n0").busy


@pytest.mark.parametrize(
    ("kind", "object_id", "props", "words"),
    [
        ("rng", "r0", {}, "Parameter 'qom-type' does not accept value 'rng'"),
        ("iothread", "io0", {}, "attempt to add duplicate property 'io0' to object"),
        ("iothread", "7up", {}, "Parameter 'id' expects an identifier"),
        ("iothread", "a-very-long-id", {}, "must be 1 to 12 bytes long"),
        ("iothread", "io1", {"poll-max-ns": -1}, "must be a number"),
        ("iothread", "io1", {"colour": 1}, "Property 'iothread.colour' not found"),
        ("iothread", "io1", {"cpu": 1000}, "does the host have CPU 1000?"),
    ],
)
def test_an_object_that_cannot_be_is_refused(
    machine: Machine, kind: str, object_id: str, props: dict[str, Any], words: str
) -> None:
    assert words in complaint(lambda: machine.hotplug.object_add(kind, object_id, props))
    assert [thread.id for thread in machine.hotplug.objects.iothreads()] == ["io0"]


def test_a_drives_disk_can_be_unplugged_with_its_image(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    with Machine(machine_config(f"file={image},iothread=io0")) as machine:
        machine.hotplug.device_del("disk0")
        assert machine.hotplug.nodes.query_named_block_nodes() == []
        machine.hotplug.blockdev_add(
            {"driver": "file", "node-name": "again", "filename": str(image)}
        )
