# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read and removed after a recorded QEMU has ended."""

from pathlib import Path

import pytest

from profiler.errors import RecordingError
from profiler.layout import FileState, Role
from profiler.qemu.result import discard, read_left, remove_old_window
from tests.support.recordings import RecordingBuilder


def recorded(path: Path, pid: int = 4_000_001) -> None:
    """A recording at `path` of 7 acquisitions, and a window around the 3rd and the 4th."""
    build = RecordingBuilder(pid=pid)
    main, site = build.thread(Role.MAIN, "main"), build.site("a.c", 1, "a")
    for number in range(1, 8):
        build.acquire(main, site, hold=100)
        build.sync()
        if number in (2, 4):
            build.write(path.with_name(path.name + (".begin" if number == 2 else ".end")))
    build.header["state"] = FileState.CLOSED
    build.write(path)


def acquisitions(path: Path, window: bool) -> int:
    return sum(row.total for row in read_left(path, window).snapshot.rows)


def test_a_window_is_what_happened_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "r.bql"
    recorded(path)
    assert acquisitions(path, window=True) == 2
    assert acquisitions(path, window=False) == 7
    left = read_left(path, window=True)
    ends = left.window_json()
    assert left.window
    assert ends is not None
    assert ends["end_ns"] > ends["start_ns"]
    assert read_left(path, window=False).window_json() is None


@pytest.mark.parametrize("mark", [".begin", ".end"])
def test_half_a_window_is_none(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "r.bql"
    recorded(path)
    (tmp_path / f"r.bql{mark}").unlink()
    assert acquisitions(path, window=True) == 7


def test_a_window_of_an_earlier_process_is_none(tmp_path: Path) -> None:
    path = tmp_path / "r.bql"
    recorded(path)
    other = RecordingBuilder(pid=4_000_002)
    other.thread(Role.MAIN, "main")
    other.write(path)
    assert not read_left(path, window=True).window


def test_a_missing_recording_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        read_left(tmp_path / "none", window=True)


def test_discarding_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.bql"
    recorded(path)
    (tmp_path / "r.bql.regions.json").write_text("{}")
    discard(path)
    discard(path)
    assert list(tmp_path.iterdir()) == []


def test_old_windows_go_and_what_is_no_recording_stays(tmp_path: Path) -> None:
    path = tmp_path / "r.bql"
    recorded(path)
    (tmp_path / "r.bql.end").write_text("somebody's notes")
    remove_old_window(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["r.bql", "r.bql.end"]
