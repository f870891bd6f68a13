# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope devices`: names for a recording whose QEMU somebody else started."""

from pathlib import Path

import pytest

from profiler import cli
from profiler.layout import Role
from profiler.qemu.regions import regions_path
from profiler.reader import Recording
from tests.support.recordings import RecordingBuilder

TEXT = Path(__file__).parent / "qemu_text" / "mtree-10.0-microvm.txt"
REGIONS = ("mmio 0xfeb02e70", "pio 0x3fd", "pio 0x80", "exit intr")


def recording(path: Path, *regions: str) -> Path:
    build = RecordingBuilder()
    cpu = build.thread(Role.VCPU, "CPU 0/KVM")
    for region in regions:
        build.acquire(cpu, build.site("system/physmem.c", 2874, "", region=region), hold=100)
    return build.write(path)


def test_a_memory_map_from_a_file_names_the_recorded_addresses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "vm.bql", *REGIONS)
    assert cli.main(["devices", str(path)]) == 0
    before = capsys.readouterr()
    assert "serial" not in before.out
    assert before.err == "addresses without a device: 3; see --qmp and --mtree\n"
    assert cli.main(["devices", str(path), "--mtree", str(TEXT)]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "exit intr",
        "mmio 0xfeb02e70  virtio-mmio[23] 0xfeb02e70",
        "pio 0x3fd        serial 0x3fd",
        "pio 0x80",
    ]
    assert shown.err.startswith("addresses without a device: 1;")
    with Recording.open(path) as opened:
        assert [site.device for site in opened.snapshot().sites][1:3] == [
            "virtio-mmio[23] 0xfeb02e70",
            "serial 0x3fd",
        ]


def test_what_is_no_memory_map_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "vm.bql", *REGIONS)
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("unknown command: 'info mtree'\n")
    assert cli.main(["devices", str(path), "--mtree", str(nonsense)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not regions_path(path).exists()


def test_a_recording_without_addresses_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "vm.bql")
    assert cli.main(["devices", str(path)]) == 0
    assert capsys.readouterr().out.startswith("no address is recorded")
