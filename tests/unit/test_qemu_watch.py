# SPDX-License-Identifier: GPL-2.0-or-later
"""How often QEMU is asked for its memory map. This process is the QEMU: it maps the recording."""

import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler.discovery import process_start_time
from profiler.layout import Role
from profiler.qemu.regions import regions_path
from profiler.qemu.watch import LONGEST_PAUSE, MOST_ANSWERS, PAUSE, Watch
from tests.support.fake_monitor import FakeMonitor, Refusal
from tests.support.recordings import RecordingBuilder

ME = os.getpid()
VIEWS = (
    'FlatView #0\n AS "I/O", root: io\n Root memory region: io\n'
    "  3f8-3ff (prio 0, i/o): serial\n"
    'FlatView #1\n AS "memory", root: system\n Root memory region: system\n'
)


class Qemu:
    """A recording that grows, and a monitor that answers with `text` and counts."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "r.bql"
        self.now = 1000.0
        self.text: object = VIEWS
        self.questions = 0
        self._build = RecordingBuilder(pid=ME, sites=64)
        self._build.header["process_start_time"] = process_start_time(ME)
        self._build.thread(Role.VCPU, "CPU 0/KVM")
        self._build.write(self.path)
        with self.path.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), 0)
        self.monitor = FakeMonitor(directory / "q", {"human-monitor-command": self._answer})
        self.watch = Watch(self.monitor.path, None, clock=lambda: self.now)

    def access(self, region: str) -> None:
        self._build.site("system/physmem.c", 2874, "", region=region)
        self._mapped[:] = bytes(self._build.data)

    def tick(self, later: float = 0.0) -> None:
        self.now += later
        self.watch.tick(ME)

    def names(self) -> set[str]:
        spaces = json.loads(regions_path(self.path).read_text())["spaces"]
        return {part["name"] for parts in spaces.values() for part in parts}

    def close(self) -> None:
        self.watch.close()
        self._mapped.close()

    def _answer(self, _arguments: object) -> object:
        self.questions += 1
        return self.text


@pytest.fixture(name="qemu")
def _qemu(tmp_path: Path) -> Iterator[Qemu]:
    qemu = Qemu(tmp_path)
    with qemu.monitor:
        yield qemu
        qemu.close()


def test_the_map_is_asked_for_once_while_it_covers_everything(qemu: Qemu) -> None:
    qemu.access("pio 0x3f8")
    for _ in range(5):
        qemu.tick(PAUSE)
    assert qemu.questions == 1
    assert qemu.watch.names == 1
    assert qemu.names() == {"serial"}
    process = qemu.watch.process
    assert process is not None
    assert (process.pid, process.path) == (ME, qemu.path)


def test_an_address_without_a_device_is_asked_about_once(qemu: Qemu) -> None:
    qemu.tick()
    qemu.access("mmio 0xfe001000")
    qemu.text = f"{VIEWS}  fe000000-fe000fff (prio 0, i/o): virtio-pci\n"
    qemu.tick()
    assert qemu.questions == 1  # too soon
    qemu.tick(PAUSE)
    assert qemu.names() == {"serial", "virtio-pci"}
    for _ in range(5):
        qemu.tick(PAUSE)
    assert qemu.questions == 2
    qemu.access("mmio 0xfe002000")
    qemu.tick(PAUSE)
    assert qemu.questions == 3


def test_nothing_is_asked_while_a_window_is_recorded(qemu: Qemu) -> None:
    Path(f"{qemu.path}.begin").touch()
    qemu.tick()
    assert qemu.questions == 0
    Path(f"{qemu.path}.end").touch()
    qemu.tick()
    assert qemu.questions == 1


def test_names_of_devices_that_moved_away_are_kept(qemu: Qemu) -> None:
    qemu.text = f"{VIEWS}  fe000000-fe000fff (prio 0, i/o): old\n"
    qemu.tick()
    qemu.access("mmio 0xfd000000")
    qemu.text = f"{VIEWS}  fd000000-fd000fff (prio 0, i/o): new\n"
    qemu.tick(PAUSE)
    assert qemu.names() == {"serial", "old", "new"}


def test_the_number_of_questions_is_bounded(qemu: Qemu) -> None:
    for port in range(MOST_ANSWERS + 10):
        qemu.access(f"pio {port:#x}")
        qemu.tick(PAUSE)
    assert qemu.questions == MOST_ANSWERS


def test_a_qemu_that_gives_no_map_is_asked_less_and_less_often(qemu: Qemu) -> None:
    qemu.text = Refusal("not now")
    for _ in range(2000):
        qemu.tick(0.1)
    assert 5 < qemu.questions < 20
    assert "not now" in (qemu.watch.problem or "")
    assert qemu.watch.names is None
    qemu.text = VIEWS
    qemu.tick(LONGEST_PAUSE)
    assert qemu.names() == {"serial"}
    assert not qemu.watch.problem


def test_without_a_monitor_the_recording_is_found_all_the_same(qemu: Qemu) -> None:
    watch = Watch(None, None)
    watch.tick(ME)
    process = watch.process
    assert process is not None
    assert process.path == qemu.path
    assert watch.names is None
    assert watch.find_ended(ME) == qemu.path
    watch.close()


def test_a_recording_that_is_gone_or_older_is_not_what_was_left(tmp_path: Path) -> None:
    told = tmp_path / "vm.bql"
    watch = Watch(None, told)
    assert watch.find_ended(1) is None
    told.write_text("")
    assert watch.find_ended(1) == told
    os.utime(told, (1000, 1000))
    assert watch.find_ended(1) is None
