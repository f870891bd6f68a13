# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes and devices, given apart or in one option, make the same disks."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.run_config import config_of
from vmm.block.backend import FileOptions
from vmm.block.blockdev import NodeOptions
from vmm.block.options import DriveOptions
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
    with pytest.raises(OptionError, match="missing vq 3 IOThread assignment"):
        disks("-drive", "if=none,id=d,file=a", "-device", json.dumps(device | {"num-queues": 4}))
    config = disks(
        "-drive", "if=none,id=d,file=a", "-device", json.dumps(device | {"num-queues": 3})
    )
    assert config.drives[0].iothread_vq_mapping == (
        VqMapping("io1", (0,)),
        VqMapping("io0", (1, 2)),
    )


def file_node(**options: Any) -> NodeOptions:
    file = FileOptions(filename="a", **{"discard": False, **options})
    return NodeOptions(driver="file", name="n0", file=file, direct=file.direct)


BLOCKDEVS = [
    ("driver=file,filename=a", file_node()),
    ("file,filename=a,discard=unmap", file_node(discard=True)),
    ("driver=file,filename=a,cache.direct=on", file_node(direct=True)),
    ("driver=file,filename=a,cache.no-flush=yes", file_node(no_flush=True)),
    ("driver=file,filename=a,aio=threads,locking=off", file_node(aio="threads", locking=False)),
    ("driver=file,filename=a,read-only=on", replace(file_node(), read_only=True)),
    ("driver=file,filename=a,auto-read-only=on", replace(file_node(), auto_read_only=True)),
    (
        "driver=null-co,size=1M,latency-ns=25",
        NodeOptions(driver="null-co", name="n0", size=1 << 20, latency_ns=25),
    ),
    (
        "driver=raw,file.driver=file,file.filename=a",
        NodeOptions(driver="raw", name="n0", child=replace(file_node(), name=None)),
    ),
]


@pytest.mark.parametrize(("text", "wanted"), BLOCKDEVS)
def test_qemus_block_nodes_are_understood(text: str, wanted: NodeOptions) -> None:
    assert disks("-blockdev", f"{text},node-name=n0").blockdevs == (wanted,)


def test_a_device_is_on_a_node_by_its_name() -> None:
    config = disks(
        *("-blockdev", '{"driver":"file","filename":"a","node-name":"f","auto-read-only":true}'),
        *("-blockdev", '{"driver":"raw","file":"f","node-name":"d","read-only":true}'),
        *("-device", "virtio-blk-device,drive=d,serial=x"),
    )
    assert [(node.name, node.child) for node in config.blockdevs] == [("f", None), ("d", "f")]
    assert config.drives == (DriveOptions(node="d", serial="x"),)


def test_an_image_without_a_device_is_a_node() -> None:
    config = disks(
        *("-drive", "if=none,id=n0,file=a,cache=none"),
        *("-drive", "if=none,id=n1,driver=null,size=1M,latency-us=2,error-every=3"),
    )
    null = NodeOptions(driver="null-co", name=None, size=1 << 20, latency_ns=2000, read_only=False)
    assert config.blockdevs == (
        replace(file_node(direct=True, discard=True), read_only=False),
        NodeOptions(driver="filter", name="n1", child=null, error_every=3),
    )
    assert config.drives == ()


def test_disks_have_their_slots_in_qemus_order() -> None:
    config = disks(
        *("-device", "virtio-blk-device,drive=b", "-drive", "if=none,id=b,file=b"),
        *("-drive", "if=virtio,file=a"),
    )
    assert [drive.file for drive in config.drives] == ["a", "b"]


def test_a_node_that_no_device_has_is_a_node_and_no_disk() -> None:
    config = disks("-blockdev", "driver=file,filename=a,node-name=n0")
    assert [node.name for node in config.blockdevs] == ["n0"]
    assert config.drives == ()


def test_a_drive_without_a_name_gets_one_that_is_free() -> None:
    config = disks("-drive", "if=none,id=drive0,file=a", "-drive", "file=b", "-drive", "file=c")
    assert [node.name for node in config.blockdevs] == ["drive0"]
    assert [drive.id for drive in config.drives] == ["drive1", "drive2"]


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
        ((*DRIVE, "-drive", "id=d,file=b"), "Duplicate nodes with node-name='d'"),
        (
            (*DRIVE, "-blockdev", "file,filename=b,node-name=d"),
            "Duplicate nodes with node-name='d'",
        ),
        (("-blockdev", "file,filename=a"), "'node-name' must be specified"),
        (
            ("-blockdev", "driver=qcow2,filename=a,node-name=n"),
            "'driver' does not accept value 'qcow2'",
        ),
        (("-blockdev", "file,filename=a,node-name=n,cache.directs=on"), "'cache.directs' is unex"),
        (("-blockdev", "file,filename=a,node-name=n,cache.direct=x"), "expected: boolean"),
        (("-blockdev", "raw,file=x,node-name=n"), r"node-name='x' \(known: none is defined"),
        (("-blockdev", "raw,file.driver=file,file.filename=a,aio=threads,node-name=n"), "'aio' is"),
        (
            ("-blockdev", "file,filename=a,node-name=n,detect-zeroes=on"),
            "does not accept value 'on'",
        ),
        (("-blockdev", "file,filename=a,node-name=n,cache=on,cache.direct=on"), "exclude each"),
        (("-blockdev", "null-co,node-name=n,size=1000"), "multiple of 512"),
        (("-device", "virtio-blk-device,drive=x"), "can't find value 'x' .drives: none is defined"),
        (("-device", "virtio-blk-device"), "virtio-blk-device.drive' can't find value ''"),
        ((*DRIVE, *("-device", "virtio-blk-device,drive=d") * 2), "another device has this drive"),
        ((*DRIVE, "-device", "virtio-blk-pci,drive=d"), "virtio-mmio only: use virtio-blk-device"),
        ((*DRIVE, "-device", "virtio-net-device"), "is not a valid device model name"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,num-queue=2"), "mean 'num-queues'"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,realized=on"), "is not writable"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,num-queues=x"), r"\(uint16\): 'x': must"),
        (
            ("-drive", "file=a,iothread=io7"),
            r"no iothread object with id 'io7' \(known: io0, io1\)",
        ),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,iothread=/objects/io7"), "id 'io7'"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,iothread-vq-mapping=io7"), "id 'io7'"),
        ((*DRIVE, "-device", "virtio-blk-device,drive=d,id=0"), "expects an identifier: a letter"),
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
