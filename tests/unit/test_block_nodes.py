# SPDX-License-Identifier: GPL-2.0-or-later
"""Named block nodes: blockdev-add in QMP's JSON form, users, blockdev-del, what queries show."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm._native import ffi, lib
from vmm.block import backend
from vmm.block.blockdev import parse_blockdev
from vmm.block.nodes import BlockGraph
from vmm.block.options import parse_drive
from vmm.errors import VmmError


@pytest.fixture
def graph() -> Iterator[BlockGraph]:
    pool = lib.worker_pool_new(4, 10**9, ffi.NULL)
    context = lib.aio_context_new(ffi.new("AioConfig *", {"ring": True}))
    made = BlockGraph(pool, context)
    yield made
    made.close()
    lib.worker_pool_free(pool)
    lib.aio_context_free(context)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    return path


def names(graph: BlockGraph) -> list[str]:
    return [row["node-name"] for row in graph.query_named_block_nodes()]


def file_node(image: Path, name: str | None = "f0", **more: Any) -> dict[str, Any]:
    node: dict[str, Any] = {"driver": "file", "filename": str(image), **more}
    return node if name is None else {"node-name": name, **node}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_under_raw_is_two_nodes_over_one_backend(graph: BlockGraph, image: Path) -> None:
    graph.blockdev_add(
        {
            "driver": "raw",
            "node-name": "d0",
            "file": file_node(image, None, cache={"direct": False, "no-flush": True}),
        }
    )
    assert names(graph) == ["#block000", "d0"]
    child, raw = graph.query_named_block_nodes()
    assert raw["drv"] == "raw"
    assert raw["children"] == [{"child": "file", "node-name": "#block000"}]
    assert raw["image"] == {
        "filename": str(image),
        "format": "raw",
        "virtual-size": 1 << 20,
        "actual-size": image.stat().st_blocks * 512,
    }
    assert child["cache"] == {"writeback": True, "direct": False, "no-flush": True}
    assert graph.resolve("d0").backend is graph.resolve("#block000").backend


def test_a_node_goes_with_the_children_that_came_with_it(graph: BlockGraph, image: Path) -> None:
    before = open_files()
    graph.blockdev_add(
        {
            "driver": "filter",
            "node-name": "slow",
            "delay-us": 10,
            "file": {"driver": "raw", "file": file_node(image, None)},
        }
    )
    assert len(names(graph)) == 3
    graph.blockdev_del("slow")
    assert names(graph) == []
    assert open_files() == before


def test_a_child_that_was_there_before_stays(graph: BlockGraph, image: Path) -> None:
    graph.blockdev_add(file_node(image))
    graph.blockdev_add({"driver": "filter", "node-name": "bad", "error-every": 2, "file": "f0"})
    with pytest.raises(VmmError, match=r"^Block device f0 is in use$"):
        graph.blockdev_del("f0")
    graph.blockdev_del("bad")
    assert names(graph) == ["f0"]
    assert graph.resolve("f0").backend.statistics()["read"].ops == 0  # still open
    graph.blockdev_del("f0")


def test_a_node_with_a_device_cannot_be_deleted_or_used_again(
    graph: BlockGraph, image: Path
) -> None:
    graph.blockdev_add(file_node(image))
    node = graph.resolve("f0")
    graph.attach(node, "vd0")
    with pytest.raises(VmmError, match=r"^Node f0 is in use$"):
        graph.blockdev_del("f0")
    with pytest.raises(VmmError, match="can't take value 'f0', it's in use"):
        graph.attach(node, "vd1")
    with pytest.raises(VmmError, match=r"^Node 'f0' is busy: it has a user already"):
        graph.blockdev_add({"driver": "raw", "node-name": "d0", "file": "f0"})
    graph.detach(node)
    graph.blockdev_del("f0")


def test_the_node_of_a_drive_is_not_the_monitors_and_goes_with_its_device(
    graph: BlockGraph, image: Path
) -> None:
    node = graph.add_drive(parse_drive(f"file={image},id=d7"))
    with pytest.raises(VmmError, match=r"^Node d7 is not owned by the monitor$"):
        graph.blockdev_del("d7")
    with pytest.raises(VmmError, match=r"^Duplicate nodes with node-name='d7'$"):
        graph.blockdev_add({"driver": "null-co", "node-name": "d7"})
    graph.attach(node, "disk0")
    graph.detach(node)
    assert names(graph) == []


def test_a_drive_without_an_id_gets_a_name_no_user_can_give(graph: BlockGraph, image: Path) -> None:
    assert graph.add_drive(parse_drive(f"file={image}")).name == "#block000"
    with pytest.raises(VmmError, match=r"^Invalid node-name: '#block001'$"):
        graph.blockdev_add({"driver": "null-co", "node-name": "#block001"})


def test_auto_read_only_takes_what_may_only_be_read(
    graph: BlockGraph, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = backend.open_file

    def may_only_read(options: backend.FileOptions, pool: object) -> backend.BlockBackend:
        if not options.read_only:
            raise backend.DriveOpenError(13, "Could not open: Permission denied")
        return really(options, pool)

    monkeypatch.setattr(backend, "open_file", may_only_read)
    with pytest.raises(VmmError, match="Permission denied"):
        graph.blockdev_add(file_node(image, "f0"))
    graph.blockdev_add(file_node(image, "f0", **{"auto-read-only": True}))
    assert graph.query_named_block_nodes()[0]["ro"]


def test_a_parent_that_is_read_only_makes_its_file_so(graph: BlockGraph, image: Path) -> None:
    graph.blockdev_add(
        {"driver": "raw", "node-name": "d0", "read-only": True, "file": file_node(image, None)}
    )
    assert [row["ro"] for row in graph.query_named_block_nodes()] == [True, True]
    other = image.with_name("other.img")
    other.write_bytes(bytes(4096))
    graph.blockdev_add(file_node(other, "f1"))
    with pytest.raises(VmmError, match="make its file 'f1' so"):
        graph.blockdev_add({"driver": "raw", "node-name": "d1", "read-only": True, "file": "f1"})
    assert "d1" not in names(graph)


WRONG = [
    ({}, "Parameter 'driver' is missing"),
    ({"driver": "qcow2"}, "Parameter 'driver' does not accept value 'qcow2'"),
    ({"driver": 7}, "Invalid parameter type for 'driver', expected: string"),
    ({"driver": "null-co"}, "'node-name' must be specified for the root node"),
    ({"driver": "null-co", "node-name": "a b"}, "Invalid node-name: 'a b'"),
    ({"driver": "null-co", "node-name": "n", "size": True}, "expected: integer"),
    ({"driver": "null-co", "node-name": "n", "size": 1000}, "a multiple of 512"),
    ({"driver": "null-co", "node-name": "n", "x": 1}, "Parameter 'x' is unexpected"),
    ({"driver": "file", "node-name": "n"}, "Parameter 'filename' is missing"),
    (
        {"driver": "file", "node-name": "n", "filename": "/x", "aio": "native"},
        "aio=native was specified, but is not supported in this build.",
    ),
    (
        {"driver": "file", "node-name": "n", "filename": "/x", "cache": {"direct": 1}},
        "Invalid parameter type for 'cache.direct', expected: boolean",
    ),
    ({"driver": "raw", "node-name": "n"}, "Parameter 'file' is missing"),
    ({"driver": "raw", "node-name": "n", "file": "m"}, "Cannot find device='m' nor node-name='m'"),
    (
        {"driver": "raw", "node-name": "n", "file": {"driver": "file", "filename": "/x", "y": 0}},
        "Parameter 'file.y' is unexpected",
    ),
    (
        {"driver": "file", "node-name": "n", "filename": "/nonexistent/x"},
        "Could not open '/nonexistent/x': No such file or directory",
    ),
]


@pytest.mark.parametrize(("options", "complaint"), WRONG)
def test_what_is_wrong_is_said_and_leaves_nothing(
    graph: BlockGraph, options: dict[str, Any], complaint: str
) -> None:
    before = open_files()
    with pytest.raises(VmmError) as caught:
        graph.blockdev_add(options)
    assert complaint in str(caught.value)
    assert names(graph) == []
    assert open_files() == before


def test_a_deep_nesting_is_refused(graph: BlockGraph) -> None:
    options: dict[str, Any] = {"driver": "null-co"}
    for _ in range(100):
        options = {"driver": "raw", "file": options}
    with pytest.raises(VmmError, match="nested more than 8 deep"):
        graph.blockdev_add({**options, "node-name": "deep"})


KEYS = st.sampled_from(
    ["driver", "node-name", "file", "filename", "size", "cache", "direct", "read-only", "aio", "z"]
)
DRIVERS = st.sampled_from(["raw", "file", "filter", "null-co"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, JSON, max_size=6), st.none() | DRIVERS)
def test_any_json_is_taken_or_refused_in_words(options: dict[str, Any], driver: str | None) -> None:
    if driver is not None:
        options["driver"] = driver
    with suppress(VmmError):
        assert parse_blockdev(options).name
