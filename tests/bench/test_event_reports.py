# SPDX-License-Identifier: GPL-2.0-or-later
"""The report on a large file of events: ``pytest -m bench``; the numbers are printed (``-s``).

The file has a gigabyte: about 330 million acquisitions, and takes a minute to make.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.events import JAM, synthetic
from tests.support.pages import Parsed

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SMALL, LARGE = 2_000_000, 330_000_000
PAGE = 3_000_000
"""Bytes that the page may have, as required."""

ALLOWANCE_MB = 64
"""What memory may differ by; the events of the large file would take 16 GB."""

EVENTS_PER_SECOND = 2_000_000
"""A third of what an idle machine does."""


def reported(path: Path, page: Path) -> tuple[float, int]:
    """Seconds, and MB of memory at most, of `bqlscope report`."""
    code = (
        "import resource, sys; from profiler import cli; status = cli.main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024); sys.exit(status)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    command = [sys.executable, "-c", code, "report", str(path), "-o", str(page)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = int(result.stdout.split()[-1])
    events = int(path.stem)
    print(
        f"{events / 1e6:.0f} M events, {path.stat().st_size / 1e6:.0f} MB: {took:.1f} s,"
        f" {events / took / 1e6:.2f} M/s, {cpu / events * 1e9:.0f} ns of CPU time an event,"
        f" {memory} MB of memory, a page of {page.stat().st_size / 1e3:.0f} kB"
    )
    print(result.stderr, end="")
    return took, memory


def test_a_gigabyte_of_events_is_a_small_page_in_bounded_memory(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    _, little = reported(synthetic(tmp_path, SMALL), page)
    began = time.monotonic()
    path = synthetic(tmp_path, LARGE, jam=LARGE * 3 // 4)
    print(f"written in {time.monotonic() - began:.0f} s")
    assert path.stat().st_size > 1_000_000_000
    seconds, memory = reported(path, page)
    path.unlink()
    assert page.stat().st_size < PAGE
    assert memory < little + ALLOWANCE_MB
    assert LARGE / seconds > EVENTS_PER_SECOND
    waits = Parsed(page.read_text(encoding="utf-8")).rows("The longest waits in it")
    assert [row[5] for row in waits] == [f"{JAM / 1e6:.1f} ms"] * 8
