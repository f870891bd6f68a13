# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scrape costs, the exporter and the VM: run with ``pytest -m bench tests/bench -s``.

Times of code are CPU time of the thread, of a snapshot the median and of a scrape the shortest of
some: on a machine that does other things as well the time by the clock says more about those. How
the samples of the recording are spread is said in tests/support/big_recording.py.
"""

import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import pytest

from profiler import layout
from profiler.compare.statistics import ratio
from profiler.geometry import Geometry, Part
from profiler.reader import Recording
from profiler.recfile import RecordingFile
from tests.support.big_recording import big_recording
from tests.support.exporting import OPENMETRICS, PROTOBUF, exporter_of
from tests.support.recordings import written_by_us
from tests.support.vm import environment, run_vm

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

THREADS, SITES = 64, 50
SNAPSHOT_MS, TEXT_MS, PROTOBUF_MS = 2.0, 60.0, 40.0
SNAPSHOTS = 101
TRIALS = 21
APPEND = "iodepth=32 bs=4096 ms=2000 warmup_ms=100"


def times_ms(
    work: Callable[[], object], before: Callable[[], None], rounds: int = 15
) -> list[float]:
    """CPU milliseconds of calls, ascending; `before` each of them comes uncounted."""
    took = []
    for _ in range(rounds):
        before()
        begin = time.thread_time()
        work()
        took.append((time.thread_time() - begin) * 1e3)
    return sorted(took)


def fastest_ms(work: Callable[[], object], before: Callable[[], None], rounds: int = 15) -> float:
    """CPU milliseconds of the quickest call; `before` each of them comes uncounted."""
    return times_ms(work, before, rounds)[0]


@contextmanager
def recorded_here(directory: Path, name: str, **options: bool) -> Iterator[Path]:
    """The recording of a process that lives, this one, with rows of all threads in every chunk."""
    shared = Path("/dev/shm")
    at = shared if os.access(shared, os.W_OK) else directory
    path = at / f"bqlscope-bench-{os.getpid()}-{name}.bql"
    try:
        with written_by_us(big_recording(THREADS, SITES, interleaved=True, **options), path):
            yield path
    finally:
        path.unlink()


@pytest.fixture(name="path", scope="module")
def _path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with recorded_here(tmp_path_factory.mktemp("big"), "usual") as path:
        yield path


@pytest.fixture(name="full_path", scope="module")
def _full_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with recorded_here(tmp_path_factory.mktemp("full"), "full", every_bucket=True) as path:
        yield path


def mover(path: Path, threads: int) -> Callable[[], None]:
    """A function that makes that many threads look as if each had been at each of its sites."""
    file = RecordingFile(path)
    geometry = Geometry.of(file.record(0, layout.HEADER), file.size)
    file.close()
    image = np.memmap(path, mode="r+")

    def table(part: Part, kind: np.dtype[Any], count: int) -> Any:
        return np.ndarray((count,), kind, image, part.offset, (part.stride,))

    heads = table(geometry.threads, layout.THREAD, threads)
    rows = table(geometry.rows, layout.ROW, geometry.rows.capacity)
    moved = np.flatnonzero((rows["in_use"] == 1) & (rows["thread"] < threads))
    spilled = moved[rows["spills"][moved] > 0]

    def move() -> None:
        heads["seq"] += 2
        rows["seq"][moved] += 2
        rows["spills"][spilled] += 1

    return move


@pytest.mark.parametrize("moved", [0, 8, THREADS])
def test_a_recording_is_read_in_milliseconds(path: Path, moved: int) -> None:
    with Recording.open(path) as recording:
        assert recording.process.alive
        recording.table()
        took = times_ms(recording.table, mover(path, moved), SNAPSHOTS)
    print(f"\nsnapshot, {moved} of {THREADS} threads moved: {spread(took)}")
    assert median(took) <= SNAPSHOT_MS


@pytest.mark.parametrize("moved", [0, THREADS])
def test_a_recording_with_samples_in_every_bucket_is_read(full_path: Path, moved: int) -> None:
    # Every row has spilled, and again since the last snapshot: no promise, but it is known.
    with Recording.open(full_path) as recording:
        table = recording.table()
        assert (table.rows.holds(np.arange(len(table.rows))) > 0).all(axis=1).any()
        took = times_ms(recording.table, mover(full_path, moved), SNAPSHOTS)
    print(f"\nsnapshot of every bucket, {moved} of {THREADS} threads moved: {spread(took)}")


def spread(took: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = quantiles(took, n=4)
    return f"{middle:.2f} ms [{low:.2f} to {high:.2f}]"


@pytest.mark.parametrize(
    ("accept", "limit"), [("", TEXT_MS), (OPENMETRICS, None), (PROTOBUF, PROTOBUF_MS)]
)
@pytest.mark.parametrize("per_thread", [False, True])
def test_a_scrape_is_written_in_time(
    path: Path, accept: str, limit: float | None, per_thread: bool
) -> None:
    with exporter_of(path, per_thread=per_thread) as exporter:
        families = list(exporter.registry.collect())
        document = exporter.scrape(accept)
        encoder = exporter._encoders[document.kind]
        writing = fastest_ms(lambda: encoder.encode(families), lambda: None, 9)
        whole = fastest_ms(lambda: exporter.scrape(accept), mover(path, THREADS), 9)
    size = len(document.body) / 1e6
    labels = "every thread" if per_thread else "roles"
    print(f"\n{document.kind}, {labels}: {writing:.1f} ms, scrape {whole:.1f} ms, {size:.2f} MB")
    assert limit is None or writing <= limit


@contextmanager
def scraping(runtime: Path) -> Iterator[None]:
    """An exporter that is scraped once a second."""
    command = [sys.executable, "-m", "exporters", "--listen", "127.0.0.1:0"]
    env = {**environment(runtime), "TMPDIR": str(runtime)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    match = re.search(r"serving (http://[\d.:]+)/", process.stderr.readline())
    assert match
    stop = threading.Event()

    def scrape() -> None:
        request = urllib.request.Request(f"{match[1]}/metrics", headers={"Accept": PROTOBUF})
        while not stop.wait(1.0):
            urllib.request.urlopen(request, timeout=20).read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        process.kill()
        process.communicate()


def measure(runtime: Path, report: Path) -> tuple[float, float]:
    """Disk requests a second, and nanoseconds of a register access."""
    result = run_vm(
        *("--kernel", "micro", "--smp", "1", "--append", APPEND),
        *("--drive", "driver=null,size=64M"),
        runtime=runtime,
        report=report,
    )
    guest: dict[str, Any] = result.guest
    return guest["blk"]["iops"], guest["access"]["total"]["p50_ns"]


def test_scraping_once_a_second_does_not_change_a_vm(tmp_path: Path) -> None:
    runtime, report = tmp_path / "run", tmp_path / "report.json"
    alone: list[tuple[float, float]] = []
    scraped: list[tuple[float, float]] = []
    measure(runtime, report)
    for trial in range(TRIALS):
        for with_exporter in (False, True) if trial % 2 else (True, False):
            if with_exporter:
                with scraping(runtime):
                    scraped.append(measure(runtime, report))
            else:
                alone.append(measure(runtime, report))
    for number, what in enumerate(("iops", "access latency p50")):
        found = ratio([x[number] for x in scraped], [x[number] for x in alone])
        print(f"\n{what}, scraped / alone: {found}")
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= 1.0 <= found.high or abs(found.value - 1) < 0.02
