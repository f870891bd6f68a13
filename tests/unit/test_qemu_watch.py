# SPDX-License-Identifier: GPL-2.0-or-later
"""When a running QEMU is asked for its memory map."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler.discovery import process_start_time
from profiler.qemu.regions import regions_path
from profiler.qemu.watch import PAUSE, Watch
from tests.support.fake_monitor import FakeMonitor
from tests.support.recordings import RecordingBuilder

MAP = Path(__file__).with_name("qemu_text") / "mtree-10.0-microvm.txt"
QUESTION = "info mtree -f"


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Path]:
    """A recording that this process has mapped, as the recorded process does."""
    build = RecordingBuilder(pid=os.getpid())
    build.header["process_start_time"] = process_start_time(os.getpid())
    build.site("system/physmem.c", 2874, "", region="pio 0x5f0")  # nothing answers there
    path = build.write(tmp_path / "recording.bql")
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        yield path


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[FakeMonitor]:
    answer = MAP.read_text().replace("\n", "\r\n")
    with FakeMonitor(tmp_path / "qmp", {"human-monitor-command": lambda _: answer}) as monitor:
        yield monitor


def test_the_map_is_asked_for_at_the_start_and_once_for_an_unknown_address(
    recording: Path, monitor: FakeMonitor
) -> None:
    now = [0.0]
    watch = Watch(monitor.path, recording, lambda: now[0])
    for seconds in (0.0, 0.1, PAUSE, 2 * PAUSE, 3 * PAUSE):
        now[0] = seconds
        watch.tick(os.getpid())
    watch.close()
    assert monitor.commands == [QUESTION]
    assert regions_path(recording).exists()


def test_nothing_is_asked_while_a_window_is_recorded(recording: Path, monitor: FakeMonitor) -> None:
    watch = Watch(monitor.path, recording)
    Path(f"{recording}.begin").touch()
    watch.tick(os.getpid())
    assert monitor.commands == []
    Path(f"{recording}.end").touch()
    watch.tick(os.getpid())
    watch.close()
    assert monitor.commands == [QUESTION]
