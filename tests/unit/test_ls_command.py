# SPDX-License-Identifier: GPL-2.0-or-later
import json
import os
from pathlib import Path
from typing import Any

import pytest

from profiler import cli
from profiler.commands.ls import age, count
from profiler.layout import FileState
from profiler.reader import Recording
from tests.support.recordings import example


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder's directory is the test's, and no process of this user maps a recording."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr("profiler.discovery.own_processes", lambda _proc: [])
    (tmp_path / "bqlscope").mkdir()


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert cli.main(["ls", "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_recordings_are_listed_with_what_they_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = example().write(tmp_path / "bqlscope" / "4000001.bql")
    closed = example(pid=4_000_002, vm_name="")
    closed.header["state"] = FileState.CLOSED
    closed.write(tmp_path / "bqlscope" / "4000002.bql")
    dead, ended = listed(capsys)["recordings"]
    with Recording.open(path) as recording:
        elapsed = recording.snapshot().elapsed_seconds
    assert dead.pop("age_seconds") == pytest.approx(elapsed)
    assert 0 < dead.pop("vcpu_bql_wait_share") < 1
    assert dead == {
        "pid": 4_000_001,
        "name": "qemu-system-x86",
        "vm_name": "guest",
        "state": "dead",
        "threads": 3,
        "acquisitions": 47,
        "path": str(path),
    }
    assert (ended["pid"], ended["state"]) == (4_000_002, "closed")


def test_the_table_fits_80_columns_and_has_no_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example().write(tmp_path / "bqlscope" / "4000001.bql")
    assert cli.main(["ls"]) == 0
    out = capsys.readouterr().out
    assert "qemu-system-x86" in out
    assert "dead" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b[" not in out


def test_what_cannot_be_read_is_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bqlscope" / "1.bql"
    bad.write_bytes(os.urandom(9000))
    assert cli.main(["ls"]) == 0
    printed = capsys.readouterr()
    assert "nothing is recorded; start a VM" in printed.out
    assert printed.err == (f"bqlscope: {bad}: not a recording, or one that is not complete yet\n")
    assert listed(capsys)["unreadable"] == [
        f"{bad}: not a recording, or one that is not complete yet"
    ]


def test_ages_and_counts_are_short() -> None:
    assert [age(s) for s in (0.2, 4, 200, 7300, 200_000)] == ["0 s", "4 s", "3 min", "2 h", "2 d"]
    assert [count(n) for n in (0, 999, 1000, 1_250_000)] == ["0", "999", "1 k", "1.25 M"]
