# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope top` without a name: which process is meant?"""

import json
from pathlib import Path

import pytest

from profiler import cli
from profiler.commands import top as command
from tests.support.recordings import example, written_by_us

Capture = pytest.CaptureFixture[str]


def found(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    monkeypatch.setattr(command, "candidates", lambda: list(paths))


def test_the_only_live_recording_is_taken(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = example().write(tmp_path / "dead.bql")
    broken = tmp_path / "broken.bql"
    broken.write_bytes(b"nonsense")
    found(monkeypatch, dead, broken, tmp_path / "live.bql")
    with written_by_us(example(ticks_per_ns=1.0), tmp_path / "live.bql"):
        assert cli.main(["top", "--once", "--json", "--interval", "0.05"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["vm_name"], document["alive"]) == ("guest", True)
    assert [line["name"] for line in document["threads"]] == [
        "qemu-system-x86",
        "CPU 0/KVM",
        "CPU 1/KVM",
    ]


def test_without_a_live_recording_one_line_says_how_to_get_one(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(monkeypatch, example().write(tmp_path / "dead.bql"))
    assert cli.main(["top", "--once"]) == 2
    assert capsys.readouterr().err == (
        "bqlscope: no recorded process runs; start one with 'bqlscope run' or 'bqlscope qemu',"
        " or name the recording of one\n"
    )


def test_a_recording_of_a_dead_process_has_a_summary(tmp_path: Path, capsys: Capture) -> None:
    path = example().write(tmp_path / "dead.bql")
    assert cli.main(["top", str(path)]) == 2
    assert capsys.readouterr().err == (
        "bqlscope: process 4000001 (guest) has ended;"
        f" 'bqlscope summary {path}' shows what it did\n"
    )
