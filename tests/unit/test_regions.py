# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of devices beside a recording: written, read, doubted and shown."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler import cli
from profiler.errors import UserError
from profiler.layout import Role
from profiler.model import Site, Snapshot
from profiler.qemu.mtree import MemoryMap, Range
from profiler.qemu.regions import (
    LARGEST,
    RegionNames,
    device_of,
    regions_path,
    uncovered,
    write_regions,
)
from profiler.reader import Recording
from tests.support.recordings import RecordingBuilder

PID, START_TIME = 4_000_001, 77  # the builder's
NAMES = MemoryMap(
    memory=(
        Range(0xA0000, 0xBFFFF, "vga-lowmem"),
        Range(0xFEB00C00, 0xFEB00DFF, "virtio-mmio[6]"),
        Range(0xFEB00E00, 0xFEB00FFF, "virtio-mmio[7]"),
    ),
    io=(Range(0x3F8, 0x3FF, "serial"),),
)


def recording(path: Path) -> Path:
    build = RecordingBuilder()
    cpu = build.thread(Role.VCPU, "CPU 0/KVM")
    for region in ("mmio 0xfeb00e50", "pio 0x3f8", "exit hlt", "pio 0x80"):
        site = build.site("system/physmem.c", 2874, "", region=region)
        build.acquire(cpu, site, hold=100)
    return build.write(path)


def labels(path: Path) -> list[str]:
    with Recording.open(path) as opened:
        return [site.label for site in opened.snapshot().sites][1:]


def test_the_reader_names_devices_and_keeps_the_region(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.bql")
    write_regions(regions_path(path), PID, START_TIME, NAMES)
    assert labels(path) == ["virtio-mmio[7] 0xfeb00e50", "serial 0x3f8", "exit hlt", "pio 0x80"]
    with Recording.open(path) as opened:
        sites = opened.snapshot().sites
        assert opened.regions() >= {"mmio 0xfeb00e50", "pio 0x3f8", "exit hlt", "pio 0x80"}
    assert (sites[1].region, sites[1].device) == ("mmio 0xfeb00e50", "virtio-mmio[7] 0xfeb00e50")
    assert (sites[3].region, sites[3].device) == ("exit hlt", "")


def test_without_names_the_region_is_the_label(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.bql")
    assert labels(path)[:2] == ["mmio 0xfeb00e50", "pio 0x3f8"]


def test_an_open_recording_follows_names_that_come_later(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.bql")

    def first_label(snapshot: Snapshot) -> str:
        return snapshot.site_label(1)

    with Recording.open(path) as opened:
        assert first_label(opened.snapshot()) == "mmio 0xfeb00e50"
        write_regions(regions_path(path), PID, START_TIME, NAMES)
        assert first_label(opened.snapshot()) == "virtio-mmio[7] 0xfeb00e50"
        renamed = MemoryMap(memory=(Range(0xFEB00000, 0xFEBFFFFF, "bridge"),))
        write_regions(regions_path(path), PID, START_TIME, renamed)
        assert first_label(opened.snapshot()) == "bridge 0xfeb00e50"
        regions_path(path).unlink()
        assert first_label(opened.snapshot()) == "mmio 0xfeb00e50"


def test_the_copies_of_a_window_share_the_names_of_their_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.bql"
    assert {regions_path(path.with_name(path.name + end)) for end in ("", ".begin", ".end")} == {
        tmp_path / "r.bql.regions.json"
    }
    assert regions_path(tmp_path / ".end").name == ".end.regions.json"


def test_the_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.regions.json"
    for _ in range(2):
        write_regions(path, PID, START_TIME, NAMES)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [path.name]
    document = json.loads(path.read_text())
    assert (document["schema"], document["pid"], document["process_start_time"]) == (1, PID, 77)
    assert document["spaces"]["io"] == [{"start": 0x3F8, "end": 0x3FF, "name": "serial"}]


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write the names of devices"):
        write_regions(tmp_path / "none" / "r.regions.json", PID, START_TIME, NAMES)


def _damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return damage


def _a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "another process": _damaged(lambda d: d.update(pid=1)),
    "the same pid, later": _damaged(lambda d: d.update(process_start_time=78)),
    "another schema": _damaged(lambda d: d.update(schema=2)),
    "no spaces": _damaged(lambda d: d.pop("spaces")),
    "a space missing": _damaged(lambda d: d["spaces"].pop("io")),
    "spaces a list": _damaged(lambda d: d.update(spaces=[])),
    "ranges a number": _damaged(lambda d: d["spaces"].update(io=3)),
    "a range of text": _damaged(lambda d: d["spaces"].update(io=["x"])),
    "an end of text": _damaged(lambda d: d["spaces"]["io"][0].update(end="1023")),
    "a start that is true": _damaged(lambda d: d["spaces"]["io"][0].update(start=True)),
    "a name of 7": _damaged(lambda d: d["spaces"]["io"][0].update(name=7)),
    "overlap": _damaged(lambda d: d["spaces"]["io"].append(d["spaces"]["io"][0])),
    "an address too large": _damaged(lambda d: d["spaces"]["io"][0].update(end=1 << 64)),
    "a list": lambda path: path.write_text("[]"),
    "deep nesting": lambda path: path.write_text("[" * 200_000),
    "not JSON": lambda path: path.write_text("{"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\xfd"),
    "empty": lambda path: path.write_text(""),
    "huge": lambda path: os.truncate(path, LARGEST + 1),
    "a link": _a_link,
    "a pipe": _a_pipe,
    "a directory": _a_directory,
    "unreadable numbers": lambda path: path.write_text('{"schema": ' + "9" * 10_000 + "}"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_names_that_cannot_be_trusted_are_as_good_as_none(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    path = recording(tmp_path / "r.bql")
    write_regions(regions_path(path), PID, START_TIME, NAMES)
    damage(regions_path(path))
    assert labels(path)[:2] == ["mmio 0xfeb00e50", "pio 0x3f8"]


def test_names_by_another_user_are_ignored(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.bql")
    write_regions(regions_path(path), PID, START_TIME, NAMES)
    if os.getuid():
        pytest.skip("only root can give a file away")
    os.chown(regions_path(path), 12345, -1)
    assert len(RegionNames(path, PID, START_TIME, 0).current()) == 0
    assert len(RegionNames(path, PID, START_TIME, 12345).current()) == 4


def test_control_characters_and_long_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.bql")
    names = MemoryMap(
        io=(Range(0x80, 0x80, "\ud800\x1b[31m\0x"), Range(0x3F8, 0x3FF, "long" * 1000))
    )
    write_regions(regions_path(path), PID, START_TIME, names)
    _, serial, _, port80 = labels(path)
    assert port80 == "?\N{REPLACEMENT CHARACTER}[31m 0x80"
    assert len(serial) < 100


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    from tempfile import TemporaryDirectory  # noqa: PLC0415 (tmp_path is not made per example)

    with TemporaryDirectory() as directory:
        path = Path(directory) / "r"
        regions_path(path).write_bytes(data)
        assert len(RegionNames(path, PID, START_TIME, os.getuid()).current()) == 0


@pytest.mark.parametrize(
    ("region", "device"),
    [
        ("mmio 0xa0000+0x1000", "vga-lowmem 0xa0000+0x1000"),
        ("mmio 0xfeb00000+0x1000", ""),  # two devices
        ("pio 0x300+0x100", "serial 0x300+0x100"),
        ("pio 0x400", ""),
        ("pio 0x3ff", "serial 0x3ff"),
        ("mmio", ""),
        ("pio", ""),
        ("exit hlt", ""),
        ("exit 9", ""),
        ("serial", ""),
        ("", ""),
        ("mmio 0xfeb00e50 ", ""),
        ("mmio 0xffffffffffffffff+0xffffffffffffffff", ""),
        ("pio 0x3f8+0x0", "serial 0x3f8+0x0"),
    ],
)
def test_a_region_gets_the_name_of_its_only_device(region: str, device: str) -> None:
    assert device_of(region, NAMES) == device


def test_only_addresses_can_be_uncovered() -> None:
    regions = ["exit hlt", "mmio", "pio 0x3f8", "pio 0x80", "mmio 0xfeb00000+0x1000", "ioapic"]
    assert uncovered(regions, NAMES) == {"pio 0x80"}


def test_a_site_is_labelled_by_device_region_and_place_in_this_order() -> None:
    assert Site(1, "system/physmem.c", 7, "f", "pio 0x3f8", "serial 0x3f8").label == "serial 0x3f8"
    assert Site(1, "system/physmem.c", 7, "f", "pio 0x3f8").label == "pio 0x3f8"
    assert Site(1, "a/b.c", 7, "f", "").label == "f b.c:7"
    assert Site(0, "", 0, "", "").label == "(other)"


def test_the_summary_shows_devices_and_its_json_has_the_raw_region_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "r.bql")
    write_regions(regions_path(path), PID, START_TIME, NAMES)
    assert cli.main(["summary", str(path)]) == 0
    assert "vcpu, serial 0x3f8" in capsys.readouterr().out
    assert cli.main(["summary", str(path), "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    named = {line["site"]: (line["region"], line["device"]) for line in document["sites"]}
    assert named["serial 0x3f8"] == ("pio 0x3f8", "serial 0x3f8")
    assert named["pio 0x80"] == ("pio 0x80", None)
    assert {(line["region"], line["device"]) for line in document["roles"]} == {(None, None)}


def test_a_lock_around_an_exit_is_not_the_devices_own() -> None:
    site = Site(1, "target/i386/kvm/kvm.c", 5459, "", "pio 0x3f8", "serial 0x3f8")
    assert site.label == "kvm.c:5459 (serial 0x3f8)"
    assert Site(1, "accel/kvm/kvm-all.c", 3284, "", "exit intr").label == (
        "kvm-all.c:3284 (exit intr)"
    )
    assert Site(1, "vmm/native/iospace.c", 88, "dispatch", "serial").label == "serial"
