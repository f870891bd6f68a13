# SPDX-License-Identifier: GPL-2.0-or-later
"""What recording and converting every acquisition must keep up with: ``pytest -m bench``.

The numbers are printed (``-s``). Where other work leaves the load itself short of its rate, the
machine says nothing about the recorder, and the test is skipped with both rates.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.events import begin, compiled, load, synthetic

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

RATE, SECONDS = 1_000_000, 4.0
SMALL, LARGE = 2_000_000, 10_000_000
CONVERTED_PER_SECOND = 200_000
ALLOWANCE_MB = 64
"""What memory may differ by; eight million acquisitions more would take 400 MB."""


@pytest.mark.parametrize("threads", [1, 4])
def test_a_million_acquisitions_a_second_are_kept_without_a_drop(
    tmp_path: Path, threads: int
) -> None:
    program = compiled("recording_load", tmp_path)
    totals = tmp_path / "totals.json"
    output = tmp_path / "r.events"
    with load(program, tmp_path / "r.bql", threads, RATE, SECONDS) as process:
        arguments = [str(process.pid), "-o", str(output), "--json", str(totals)]
        recorder = subprocess.Popen([sys.executable, "-m", "profiler", "record", *arguments])
        while not output.exists() or output.stat().st_size < 100:
            assert recorder.poll() is None
        begin(process)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert recorder.wait(timeout=60) == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process.stdout is not None
        done, took = process.stdout.read().split()
    result = json.loads(totals.read_text())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rate = int(done) / float(took)
    print(
        f"{threads} threads: {rate / 1e6:.2f} M/s for {took} s, {result['dropped']} dropped,"
        f" {result['size'] / result['events']:.2f} bytes and {cpu / result['events'] * 1e9:.0f} ns"
        " of CPU time (with start-up) an event"
    )
    if rate < 0.9 * RATE:
        pytest.skip(f"the load itself reached {rate:.0f}/s: the machine is busy")
    assert (result["events"], result["dropped"]) == (int(done), 0)


def converted(path: Path, name: str) -> tuple[float, int]:
    """Seconds of CPU time and MB of memory that a conversion takes."""
    target = path.with_suffix(f".{name}")
    code = (
        "import resource, sys; from profiler import cli; status = cli.main(sys.argv[1:]);"
        "usage = resource.getrusage(resource.RUSAGE_SELF);"
        "print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024); sys.exit(status)"
    )
    began = time.monotonic()
    command = [sys.executable, "-c", code, "convert", str(path), "--format", name]
    result = subprocess.run(
        [*command, "-o", str(target)], check=True, capture_output=True, text=True
    )
    cpu, memory = result.stdout.split()
    size = target.stat().st_size
    target.unlink()
    print(
        f"{name}: {path.stem}: {time.monotonic() - began:.1f} s, {float(cpu):.1f} s of CPU time,"
        f" {memory} MB of memory, {size / int(path.stem):.1f} bytes an event"
    )
    return float(cpu), int(memory)


@pytest.mark.parametrize("name", ["perfetto", "pprof"])
def test_ten_million_acquisitions_stream_in_constant_memory(tmp_path: Path, name: str) -> None:
    _, little = converted(synthetic(tmp_path, SMALL), name)
    seconds, memory = converted(synthetic(tmp_path, LARGE), name)
    assert memory < little + ALLOWANCE_MB
    assert seconds < LARGE / CONVERTED_PER_SECOND
