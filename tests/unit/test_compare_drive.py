# SPDX-License-Identifier: GPL-2.0-or-later
"""The image of a comparison: temporary and removed, or the user's and protected."""

from pathlib import Path

import pytest

from profiler.compare.drive import supports_direct, temporary_drive, user_drive
from profiler.compare.placement import PlanError
from profiler.errors import UserError

SIZE = 1 << 20


def test_a_temporary_image_is_allocated_private_and_removed(tmp_path: Path) -> None:
    with temporary_drive(SIZE, [tmp_path]) as drive:
        status = drive.path.stat()
        assert status.st_size == SIZE
        assert status.st_blocks * 512 >= SIZE
        assert status.st_mode & 0o077 == 0
        assert drive.cache == ("none" if supports_direct(drive.path) else "writeback")
        assert drive.temporary
    assert list(tmp_path.iterdir()) == []


def test_the_image_is_removed_when_the_run_is_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), temporary_drive(SIZE, [tmp_path]):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_hold_the_image_is_passed_over(tmp_path: Path) -> None:
    with temporary_drive(SIZE, [tmp_path / "missing", tmp_path]) as drive:
        assert tmp_path in drive.path.parents


def test_a_directory_with_o_direct_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached, direct = tmp_path / "cached", tmp_path / "direct"
    cached.mkdir()
    direct.mkdir()
    monkeypatch.setattr(
        "profiler.compare.drive.supports_direct", lambda path: direct in path.parents
    )
    with temporary_drive(SIZE, [cached, direct]) as drive:
        assert drive.cache == "none"
        assert direct in drive.path.parents
        assert list(cached.iterdir()) == []
    with temporary_drive(SIZE, [cached]) as drive:
        assert drive.cache == "writeback"


def test_no_room_anywhere_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"), temporary_drive(SIZE, [tmp_path / "x"]):
        pass


def test_the_users_image_is_read_only_unless_writing_is_allowed(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    assert user_drive(image, "read", allow_write=False).readonly
    assert user_drive(image, "read", allow_write=True).readonly
    assert not user_drive(image, "write", allow_write=True).readonly
    for rw in ("write", "mixed", "verify"):
        with pytest.raises(PlanError, match="--allow-write"):
            user_drive(image, rw, allow_write=False)


def test_a_missing_image_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"none: No such file"):
        user_drive(tmp_path / "none", "read", allow_write=False)
