# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope export` as a process: its lines, files, signals and refusals."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from profiler import cli
from tests.support.recordings import example
from tests.support.vm import environment


@contextmanager
def exporting(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running exporter, and where it serves."""
    command = [sys.executable, "-m", "exporters", "--listen", "127.0.0.1:0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(None))
    try:
        assert process.stderr is not None
        match = re.match(r"bqlscope: serving (http://[\d.:]+)/metrics\n", process.stderr.readline())
        assert match
        yield process, match[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_takes_its_target_list_away(
    tmp_path: Path, number: signal.Signals
) -> None:
    path, targets = example().write(tmp_path / "r.bql"), tmp_path / "targets.json"
    with exporting(str(path), "--sd", str(targets)) as (process, url):
        (group,) = json.loads(targets.read_text())
        assert [f"http://{target}" for target in group["targets"]] == [url]
        assert stat.S_IMODE(targets.stat().st_mode) & 0o044 == 0o044 & ~os.umask(os.umask(0o022))
        with urllib.request.urlopen(f"{url}/metrics", timeout=20) as answer:
            assert b'bql_process_up{vm="guest"} 0' in answer.read()
        process.send_signal(number)
        assert process.communicate(timeout=30)[1] == ""
        assert process.returncode == 0
    assert not targets.exists()


def test_it_ends_with_the_processes_it_was_given(tmp_path: Path) -> None:
    path = example().write(tmp_path / "r.bql")
    with exporting(str(path), "--until-ended") as (process, _):
        assert process.wait(timeout=30) == 0


def test_a_textfile_is_written_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, target = example().write(tmp_path / "r.bql"), tmp_path / "b.prom"
    assert cli.main(["export", str(path), "--textfile", str(target)]) == 0
    text = target.read_text()
    assert 'bql_contentions_total{vm="guest",role="vcpu",site="serial"} 17' in text
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--listen", ":9752"], "an address and a port"),
        (["--tls-key", "{here}"], "need --tls-cert"),
        (["--tls-cert", "{here}"], "TLS files cannot be used"),
        (["--sd", "/no/such/directory/x.json"], "there is no directory"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    here = tmp_path / "here"
    here.write_text("no certificate")
    assert cli.main(["export", *(word.format(here=here) for word in arguments)]) == 2
    error = capfd.readouterr().err
    assert error.startswith("bqlscope: ")
    assert line in error
    assert error.count("\n") == 1
