# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark's image: allocated, private, gone afterwards; a user's image is only read."""

from pathlib import Path

import pytest

from vmm.bench.image import readable_image, temporary_image
from vmm.bench.process import BenchError

SIZE = 1 << 20


def test_a_temporary_image_is_allocated_private_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmm.bench.image.supports_direct", lambda _path: True)
    with temporary_image(SIZE, [tmp_path / "missing", tmp_path]) as path:
        status = path.stat()
        assert path.parent == tmp_path
        assert status.st_size == SIZE
        assert status.st_blocks * 512 >= SIZE
        assert status.st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_removes_the_image_and_stays_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmm.bench.image.supports_direct", lambda _path: True)
    with (
        pytest.raises(OSError, match="from the block"),
        temporary_image(SIZE, [tmp_path, tmp_path]),
    ):
        raise OSError(5, "from the block")
    assert list(tmp_path.iterdir()) == []


def test_without_o_direct_anywhere_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmm.bench.image.supports_direct", lambda _path: False)
    with (
        pytest.raises(BenchError, match=r"no O_DIRECT.*--drive FILE"),
        temporary_image(SIZE, [tmp_path]),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_missing_drive_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"--drive .*No such file"):
        readable_image(tmp_path / "missing.raw")
