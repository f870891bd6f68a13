# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo command: starts everything, says where, and leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.rig import wait_until

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "grafana.demo"]

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus")


def start(temporary: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*DEMO, *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def users_of(directory: Path) -> list[str]:
    """Processes that have a directory in their command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if f"{directory}/bqlscope-demo-".encode() in text:
            found.append(process.name)
    return found


@needs_prometheus
def test_the_demo_says_where_everything_is_and_ends_after_its_time(tmp_path: Path) -> None:
    process = start(tmp_path, "--duration", "0.1")
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    urls = re.findall(r"http://127\.0\.0\.1:\d+", stdout)
    assert len(set(urls)) == 3
    assert "(mainloop)" in stdout
    assert "(iothread)" in stdout
    for url in set(urls):
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url, timeout=5)
    assert list(tmp_path.iterdir()) == []
    assert users_of(tmp_path) == []


@needs_prometheus
def test_an_interrupt_while_the_demo_starts_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_until(lambda: bool(users_of(tmp_path)), "the first process of the demo")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []
    assert users_of(tmp_path) == []


def test_without_prometheus_the_demo_says_what_to_install(tmp_path: Path) -> None:
    process = start(tmp_path, "--prometheus", "prometheus-that-is-not-there")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "sudo apt install prometheus" in stderr
    assert "Traceback" not in stderr
