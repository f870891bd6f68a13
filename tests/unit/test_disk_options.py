# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes and devices, given apart or in one option, make the same disks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.run_config import config_of
from vmm.block.vq_mapping import VqMapping
from vmm.cmdline.given import OptionError
from vmm.config import MachineConfig
from vmm.keyval import unparse

IOTHREADS = ("--object", "iothread,id=io0", "--object", "iothread,id=io1")
NODE = {
    "cache": st.sampled_from(["none", "writeback", "unsafe"]),
    "aio": st.sampled_from(["io_uring", "threads"]),
    "readonly": st.sampled_from(["on", "off"]),
    "discard": st.sampled_from(["on", "off", "unmap", "ignore"]),
    "locking": st.sampled_from(["on", "off"]),
    "delay-us": st.integers(0, 100).map(str),
    "format": st.just("raw"),
}
DEVICE = {
    "num-queues": st.integers(1, 8).map(str),
    "queue-size": st.sampled_from(["4", "256", "1024"]),
    "serial": st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8),
    "bootindex": st.integers(-1, 9).map(str),
    "write-cache": st.sampled_from(["on", "off"]),
    "irq": st.sampled_from(["irqfd", "mainloop"]),
    "iothread": st.sampled_from(["io0", "io1"]),
}
NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=9)


def disks(*words: str) -> MachineConfig:
    return config_of("--kernel", "micro", *IOTHREADS, *words)


def optional(kinds: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional=dict(kinds))


@given(NAMES, optional(NODE), optional(DEVICE))
def test_a_drive_and_a_device_are_the_one_option_form(
    file: str, node: dict[str, str], device: dict[str, str]
) -> None:
    named = {"file": file, "id": "d0", **node}
    short = disks("--drive", unparse(named | device))
    apart = disks(
        *("-drive", unparse({"if": "none", **named})),
        *("-device", "virtio-blk-device," + unparse({"drive": "d0", **device})),
    )
    assert apart.drives == short.drives
    assert apart.blockdevs == short.blockdevs
    (one,), (other,) = apart.devices, short.devices
    assert one.driver == other.driver
    assert dict(one.properties) == {k: v for k, v in other.properties.items() if k != "discard"}


@given(NAMES, optional(DEVICE))
def test_the_json_form_is_the_text_form(file: str, device: dict[str, str]) -> None:
    node = {"driver": "file", "node-name": "d0", "filename": file}
    on_it = {"driver": "virtio-blk-device", "drive": "d0", **device}
    by_text = disks("-blockdev", unparse(node), "-device", unparse(on_it))
    by_json = disks("-blockdev", json.dumps(node), "-device", json.dumps(on_it))
    assert by_json == by_text


def test_json_numbers_and_booleans_are_what_their_text_is() -> None:
    device = {"driver": "virtio-blk-device", "drive": "d0", "num-queues": 2, "ioeventfd": False}
    by_json = disks("-drive", "if=none,id=d0,file=a", "-device", json.dumps(device))
    by_text = disks("-drive", "file=a,id=d0,num-queues=2,ioeventfd=off")
    assert by_json.drives == by_text.drives


def test_queues_are_given_to_iothreads_by_name() -> None:
    mapping = [{"iothread": "io1", "vqs": [0]}, {"iothread": "io0", "vqs": [1, 2]}]
    device = {"driver": "virtio-blk-device", "drive": "d", "iothread-vq-mapping": mapping}
    with pytest.raises(OptionError, match="gives queue 3 to no iothread"):
        disks("-drive", "if=none,id=d,file=a", "-device", json.dumps(device | {"num-queues": 4}))
    config = disks(
        "-drive", "if=none,id=d,file=a", "-device", json.dumps(device | {"num-queues": 3})
    )
    assert config.drives[0].iothread_vq_mapping == (
        VqMapping("io1", (0,)),
        VqMapping("io0", (1, 2)),
    )


BLOCKDEVS: list[tuple[str, dict[str, Any]]] = [
    ("driver=file,filename=a", {"file": "a"}),
    ("file,filename=a,,b", {"file": "a,b"}),
    ("driver=host_device,filename=/dev/x", {"file": "/dev/x"}),
    ("driver=file,filename=a,cache.direct=on", {"file": "a", "cache": "none"}),
    ("driver=file,filename=a,cache.no-flush=on", {"file": "a", "cache": "unsafe"}),
    ("driver=file,filename=a,cache.direct=off", {"file": "a"}),
    ("driver=file,filename=a,read-only=on,discard=ignore", {"readonly": True, "discard": False}),
    ("driver=file,filename=a,aio=threads,locking=auto", {"aio": "threads", "locking": True}),
    ("driver=file,filename=a,auto-read-only=on,detect-zeroes=off", {"file": "a"}),
    ("driver=null-co,size=1M,latency-ns=25000", {"size": 1 << 20, "latency_us": 25}),
    ("driver=raw,file.driver=file,file.filename=a,file.aio=threads", {"file": "a"}),
    ("driver=raw,read-only=on,file.driver=file,file.filename=a", {"readonly": True}),
]


@pytest.mark.parametrize(("text", "fields"), BLOCKDEVS)
def test_qemus_block_nodes_are_understood(text: str, fields: dict[str, Any]) -> None:
    (node,) = disks("-blockdev", f"{text},node-name=n0").blockdevs
    assert node.id == "n0"
    assert {name: getattr(node, name) for name in fields} == fields


def test_a_format_node_by_reference_stands_for_its_file() -> None:
    config = disks(
        *("-blockdev", '{"driver":"file","filename":"a","node-name":"f","auto-read-only":true}'),
        *("-blockdev", '{"driver":"raw","file":"f","node-name":"d","read-only":true}'),
        *("-device", "virtio-blk-device,drive=d"),
    )
    (node,) = config.blockdevs
    assert (node.id, node.file, node.readonly) == ("d", "a", True)
    assert [drive.file for drive in config.drives] == ["a"]


def test_disks_have_their_slots_in_qemus_order() -> None:
    config = disks(
        *("-device", "virtio-blk-device,drive=b", "-drive", "if=none,id=b,file=b"),
        *("-drive", "if=virtio,file=a"),
    )
    assert [drive.file for drive in config.drives] == ["a", "b"]


def test_a_node_that_no_device_has_is_a_node_and_no_disk() -> None:
    config = disks("-blockdev", "driver=file,filename=a,node-name=n0")
    assert [node.id for node in config.blockdevs] == ["n0"]
    assert (config.devices, config.drives) == ((), ())


def test_a_drive_without_a_name_gets_one_that_is_free() -> None:
    config = disks("-drive", "if=none,id=drive0,file=a", "-drive", "file=b", "-drive", "file=c")
    assert [node.id for node in config.blockdevs] == ["drive0", "drive1", "drive2"]


@pytest.mark.parametrize("path", ["io1", "/objects/io1"])
def test_a_device_names_its_iothread_by_id_or_path(path: str) -> None:
    config = disks(
        "-drive", "if=none,id=d,file=a", "-device", f"virtio-blk-device,drive=d,iothread={path}"
    )
    assert config.drives[0].iothread == "io1"


DRIVE = ("-drive", "if=none,id=d,file=a")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-drive", "if=none,file=a"), "--drive if=none,file=a: .* needs a name for -device"),
        (("-drive", "if=ide,file=a"), "this VMM has virtio-mmio only: use if=virtio"),
        (("-drive", "if=none,id=d,file=a,serial=x"), "serial= belongs to -device"),
        (("-drive", "file=a,media=cdrom"), "there is no CD-ROM"),
        (("-drive", "file=a,werror=stop"), "unknown drive option 'werror'"),
        ((*DRIVE, "-drive", "id=d,file=b"), "duplicate node name 'd'"),
        ((*DRIVE, "-blockdev", "file,filename=b,node-name=d"), "duplicate node name 'd'"),
        (("-blockdev", "file,filename=a"), "needs a name: node-name=NAME"),
        (("-blockdev", "driver=qcow2,filename=a,node-name=n"), "must be one of raw, file"),
        (("-blockdev", "file,filename=a,node-name=n,cache.directs=on"), "unknown drive option"),
        (("-blockdev", "file,filename=a,node-name=n,cache.direct=x"), "must be on or off"),
        (("-blockdev", "raw,file=x,node-name=n"), r"no such block node \(known: none is defined"),
        (("-blockdev", "raw,file.driver=file,file.filename=a,aio=threads,node-name=n"), "below"),
        (("-blockdev", "file,filename=a,node-name=n,detect-zeroes=on"), "must be off here"),
        (
            ("-blockdev", "file,filename=a,node-name=n,cache.direct=on,cache.no-flush=on"),
            "cannot be combined",
        ),
        (("-blockdev", "null-co,node-name=n,latency-ns=5"), "multiple of 1000"),
        (("-device", "virtio-blk-device,drive=x"), "can't find value 'x' .drives: none is defined"),
        (("-device", "virtio-blk-device"), "virtio-blk-device.drive' can't find value ''"),
        ((*DRIVE, *("-device", "virtio-blk-device,drive=d") * 2), "another device has this drive"),
        ((*DRIVE, "-device", "virtio-blk-pci,drive=d"), "virtio-mmio only: use virtio-blk-device"),
        ((*DRIVE, "-device", "virtio-net-device"), "is not a valid device model name"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,num-queue=2"), "mean 'num-queues'"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,realized=on"), "is not writable"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,num-queues=x"), r"\(uint16\): 'x': must"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,id=0"), "an id is a letter"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,iothread=io0,ioeventfd=off"), "needs ioev"),
        (
            (*DRIVE, "-device", "virtio-blk-device,drive=d,id=disk0", "-drive", "file=b"),
            "Duplicate device ID 'disk0'",
        ),
        (
            (
                *DRIVE,
                "-device",
                "virtio-blk-device,drive=d,logical-block-size=512,logical_block_size=512",
            ),
            "given twice",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_place(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        disks(*words)
    assert str(caught.value).startswith(("--drive ", "--blockdev ", "--device "))
    assert "\n" not in str(caught.value)
