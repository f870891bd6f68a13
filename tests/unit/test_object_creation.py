# SPDX-License-Identifier: GPL-2.0-or-later
"""One way to make an object, whoever asks: command line, machine file, monitor."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.run_config import config_of, config_of_file
from vmm.cmdline import toml_text
from vmm.config import MachineConfig
from vmm.devices.virtio_blk import VirtioBlkDevice
from vmm.errors import VmmError
from vmm.iothread import IoThread
from vmm.keyval import unparse
from vmm.machine import Machine
from vmm.machine_object import MachineObject
from vmm.object_types import type_registry
from vmm.qom import PropertyError, QomTree
from vmm.qom.create import (
    check_properties,
    create_object,
    device_class,
    property_help,
    set_properties,
)

PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "poll-max-ns": st.integers(0, 1 << 40),
        "poll-grow": st.integers(0, 9),
        "poll-shrink": st.integers(0, 9),
        "cpu": st.integers(-1, 3),
    },
)


def values(tree: QomTree, path: str) -> dict[str, object]:
    obj = tree.resolve(path)
    return {name: obj.get(name) for name in obj.properties()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PROPERTIES)
def test_an_object_is_the_same_through_every_door(
    tmp_path: Path, properties: dict[str, int]
) -> None:
    texts = {name: str(value) for name, value in properties.items()}
    table = toml_text.table("[[object]]", {"type": "iothread", "id": "io0", **properties})
    configs = [
        config_of(
            "-kernel", "k", "-object", unparse({"qom-type": "iothread", "id": "io0", **texts})
        ),
        config_of(
            *("-kernel", "k", "-object"),
            json.dumps({"qom-type": "iothread", "id": "io0", **properties}),
        ),
        config_of_file(table, tmp_path, "-kernel", "k"),
    ]
    assert configs[0].objects == configs[1].objects == configs[2].objects
    (options,) = configs[0].objects
    trees = [QomTree(), QomTree()]
    create_object(type_registry(), trees[0], options.type, options.id, options.properties)
    create_object(type_registry(), trees[1], "iothread", "io0", properties)  # as object-add does
    assert values(trees[0], "io0") == values(trees[1], "io0")
    assert values(trees[0], "io0") | properties == values(trees[0], "io0")


@pytest.mark.parametrize(
    ("kind", "object_id", "properties", "words"),
    [
        ("iothred", "a", {}, "'qom-type' does not accept value 'iothred' .did you mean 'iothread'"),
        ("virtio-blk-device", "a", {}, "does not accept value 'virtio-blk-device'"),
        ("object", "a", {}, "does not accept value 'object'"),
        ("iothread", "a/b", {}, "expects an identifier: a letter, then"),
        ("iothread", "taken", {}, "attempt to add duplicate property 'taken' to object"),
        ("iothread", "a", {"poll-max-ns": -1}, "number from 0 to"),
        ("iothread", "a", {"poll-max-ns": None}, r"\(int\): 'None': must be a number"),
        ("iothread", "a", {"poll-max-ns": 1, "poll": 1}, "'iothread.poll' not found"),
        ("iothread", "a", {"type": "b"}, "is not writable"),
    ],
)
def test_an_object_that_cannot_be_leaves_nothing_behind(
    kind: str, object_id: str, properties: dict[str, Any], words: str
) -> None:
    tree = QomTree()
    create_object(type_registry(), tree, "iothread", "taken", {})
    with pytest.raises(VmmError, match=words) as caught:
        create_object(type_registry(), tree, kind, object_id, properties)
    assert "\n" not in str(caught.value)
    assert [obj.id for obj in tree] == ["taken"]


def test_links_of_a_device_are_set_by_id_or_path_in_one_go() -> None:
    tree, disk = QomTree(), VirtioBlkDevice("d", 0)
    create_object(type_registry(), tree, "iothread", "io0", {})
    tree.add("/machine/peripheral/d", disk)
    set_properties(disk, {"iothread": "io0", "num-queues": "2", "logical_block_size": 512})
    assert values(tree, "d") | {
        "iothread": "/objects/io0",
        "num-queues": 2,
        "logical-block-size": 512,
        "realized": False,
    } == values(tree, "d")
    with pytest.raises(PropertyError, match=r"Device 'io7' not found \(known: io0"):
        set_properties(disk, {"iothread": "io7"})
    mapping = [{"iothread": "io0", "vqs": [0, 1]}]
    set_properties(disk, {"iothread": "", "iothread-vq-mapping": mapping})
    assert (disk.get("iothread"), disk.get("iothread-vq-mapping")) == ("", mapping)


def test_what_a_monitor_plugs_is_what_the_command_line_plugs() -> None:
    """device_add, object-add and blockdev-add on a machine beside its own options."""
    mapping = '[{"iothread":"io1","vqs":[0]},{"iothread":"io0","vqs":[1,2]}]'
    device = {"driver": "virtio-blk-device", "num-queues": 3, "serial": "a", "write-cache": False}
    config = config_of(
        *("-kernel", "micro", "-accel", "qtest", "-serial", "null", "--no-record"),
        *("-object", "iothread,id=io0,poll-max-ns=0", "-object", "iothread,id=io1"),
        *("-blockdev", "null-co,node-name=n0,size=1M"),
        "-device",
        json.dumps(device | {"drive": "n0", "iothread-vq-mapping": json.loads(mapping)}),
    )
    with Machine(config) as machine:
        machine.hotplug.object_add("iothread", "io9", {"poll-max-ns": 0})
        assert values(machine.qom, "io9") == values(machine.qom, "io0")
        node = {"driver": "null-co", "node-name": "n9", "size": 1 << 20}
        machine.hotplug.blockdev_add(node)
        props = {name: value for name, value in device.items() if name != "driver"}
        props |= {"drive": "n9", "iothread-vq-mapping": json.loads(mapping)}
        machine.hotplug.device_add("virtio-blk-device", "vd9", props)
        ours, theirs = values(machine.qom, "disk0"), values(machine.qom, "vd9")
        assert theirs == ours | {"drive": "n9"}
        assert ours["iothread-vq-mapping"] == json.loads(mapping)
        threads = [machine.qom.resolve(name) for name in ("io1", "io0", "io0")]
        contexts = [thread.context for thread in threads if isinstance(thread, IoThread)]
        assert machine.disks[0].contexts(machine.hotplug._bus) == contexts


def test_properties_are_checked_without_an_object() -> None:
    checked = check_properties(VirtioBlkDevice, {"iothread": "io0", "num-queues": "3"})
    assert checked == {"iothread": "io0", "num-queues": 3}
    with pytest.raises(PropertyError, match="must be a path or an id"):
        check_properties(VirtioBlkDevice, {"iothread": 3})


@pytest.mark.parametrize(
    "driver", ["virtio-blk-pci", "virtio-blk-ccw", "virtio-blk-pci-transitional"]
)
def test_a_driver_of_another_bus_is_told_its_name_here(driver: str) -> None:
    with pytest.raises(VmmError, match="virtio-mmio only: use virtio-blk-device"):
        device_class(type_registry(), driver)


def test_what_cannot_be_set_is_not_in_the_help() -> None:
    lines = property_help(IoThread)
    assert [line.split("=")[0].strip() for line in lines[1:]] == [
        "cpu",
        "poll-grow",
        "poll-max-ns",
        "poll-shrink",
    ]


def test_the_types_of_the_machine_are_known_with_their_parents() -> None:
    types = {info.name: info for info in type_registry().list(abstract=True)}
    assert types["virtio-blk-device"].parent == "virtio-device"
    assert types["virtio-device"].parent == "device"
    assert types["virtio-device"].abstract
    assert types["iothread"].parent == "object"
    assert types["bqlscope-machine"].parent == "machine"
    assert {info.name for info in type_registry().list("device")} >= {
        "virtio-blk-device",
        "x86_64-cpu",
    }


def test_the_machine_tells_what_it_was_made_with() -> None:
    tree = QomTree()
    config = MachineConfig(kernel=Path("k"), cpus=3, command_line="quiet")
    tree.add("/machine", MachineObject(config, "qtest"))
    found = values(tree, "/machine")
    assert found == {
        "type": "bqlscope-machine",
        "accel": "qtest",
        "smp": 3,
        "memory-size": 128 << 20,
        "kernel": "k",
        "initrd": "",
        "append": "quiet",
        "uuid": "",
        "bql-policy": "pthread",
    }
    with pytest.raises(PropertyError, match="is not writable"):
        tree.resolve("/machine").set("smp", 4)
