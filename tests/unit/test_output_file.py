# SPDX-License-Identifier: GPL-2.0-or-later
"""Result files of both packages: whole or not at all, and never in place of a device."""

import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from profiler.commands import output as of_profiler
from vmm.commands import output as of_vmm

Write = Callable[[Path, str], None]
Check = Callable[[None, None, Path | None], Path | None]
both_write = pytest.mark.parametrize("write", [of_profiler.write_whole, of_vmm.write_whole])
both_check = pytest.mark.parametrize("check", [of_profiler.output_file, of_vmm.output_file])


@both_write
def test_a_link_to_a_file_stays_a_link(write: Write, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "text"
    assert len(list(tmp_path.iterdir())) == 2


@both_write
def test_a_pipe_is_written_to_and_stays_one(write: Write, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


@both_write
def test_a_failure_leaves_the_old_file_and_nothing_else(write: Write, tmp_path: Path) -> None:
    target = tmp_path / ("x" * 254)  # the name of the partial file beside it is too long
    target.write_text("old")
    with pytest.raises(OSError, match="too long"):
        write(target, "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@both_check
def test_what_can_be_written_is_passed_on(check: Check, tmp_path: Path) -> None:
    for value in (None, Path("-"), tmp_path / "new", Path("relative.json")):
        assert check(None, None, value) == value


@both_check
def test_what_cannot_be_written_is_refused(check: Check, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for value in (tmp_path, tmp_path / "none" / "new", tmp_path / "file" / "new"):
        with pytest.raises(click.BadParameter):
            check(None, None, value)
