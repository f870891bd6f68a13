# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of events made of synthetic recordings, and compiled programs that keep a lock busy."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from profiler import layout
from profiler.layout import Kind, Role
from profiler.reader import Recording
from profiler.recfile import Raw
from profiler.traces import format as fmt
from profiler.traces import tables
from profiler.traces.capture import Capture, Limits, Progress, Totals
from profiler.traces.files import EventFiles
from profiler.traces.format import Segment
from tests.support.recordings import RecordingBuilder

ROOT = Path(__file__).parents[2]
START = RecordingBuilder().now
"""Ticks at which a synthetic recording begins to record."""

THREADS = 8
CHUNK = 32_768
CONTENDED_EVERY = 10
JAM = 20_000_000


def ignore(_progress: Progress) -> None:
    """No progress line."""


def drain(recording: Path, output: Path, limits: Limits | None = None, rotate: int = 0) -> Totals:
    """Record a recording whose process has ended: its rings, from their oldest event on."""
    with Recording.open(recording) as opened, EventFiles(output, rotate) as files:
        return Capture(opened, files, limits or Limits(), from_start=True).run(lambda: True, ignore)


def relay() -> RecordingBuilder:
    """Three threads, every wait explained by holds that are in the rings.

    Ticks are 0.5 ns. Relative to the start, in ticks:

        main  [1000, 5000) poll            serial waits from 1400 for main, then for cpu 0:
        cpu 0 [5200, 6200) pic   waited 3200 from 2000 (3000 for main, 200 hand-over)
        cpu 1 [6200, 6800) serial waited 4800 from 1400 (3600 main, 200 hand-over, 1000 cpu 0)
        cpu 1 [9000, 9100) serial by trylock
    """
    build = RecordingBuilder()
    main = build.thread(Role.MAIN, "qemu-system-x86", tid=901)
    cpu0 = build.thread(Role.VCPU, "CPU 0/KVM", tid=902)
    cpu1 = build.thread(Role.VCPU, "CPU 1/KVM", tid=903)
    poll = build.site("util/main-loop.c", 301, "os_host_main_loop_wait")
    pic = build.site("system/physmem.c", 2874, "mmio_read", region="ioapic")
    serial = build.site("system/physmem.c", 2874, "mmio_read", region="serial")
    by_main = [(main, poll, 3000)]
    for thread, site, acquired, hold, blame, handoff in (
        (main, poll, 1000, 4000, [], 0),
        (cpu0, pic, 5200, 1000, by_main, 200),
        (cpu1, serial, 6200, 600, [(main, poll, 3600), (cpu0, pic, 1000)], 200),
    ):
        build.now = START + acquired - handoff - sum(part[2] for part in blame)
        build.acquire(thread, site, hold=hold, blame=blame, handoff=handoff)
    build.now = START + 9000
    build.acquire(cpu1, serial, hold=100, kind=Kind.TRYLOCK)
    build.sync()
    return build


def ended_at(path: Path, ticks: int, **changes: Any) -> Path:
    """The same file, as if its recorder had ended at that instant; it is of a process of 2023."""
    data = path.read_bytes()
    at = data.rindex(fmt.END)
    header, stored = data[at:][: fmt.CHUNK_HEADER.size], data[at + fmt.CHUNK_HEADER.size :]
    end = fmt.unpack_json(fmt.unpack(header, stored) or b"") | {"ended": ticks} | changes
    path.write_bytes(data[:at] + fmt.pack_json(fmt.END, end))
    return path


def turns(now: int, first: int, count: int, sites: list[int]) -> Raw:
    """Acquisitions `first` to `first` + `count` as ring slots; every tenth one waited."""
    random = np.random.default_rng(first)
    raw = np.zeros(count, layout.EVENT)
    raw["hold"] = random.integers(50, 900, count)
    raw["acquired"] = now + np.cumsum(raw["hold"] + random.integers(20, 400, count))
    numbers = np.arange(first, first + count)
    raw["detail"] = np.take(sites, numbers % 4)
    waited = numbers % CONTENDED_EVERY == 1
    raw["wait"][waited] = random.integers(100, 5000, int(waited.sum()))
    raw["detail"][waited] |= np.uint64(layout.EVENT_CONTENDED | layout.who(0, sites[0]) << 32)
    return raw


def synthetic(folder: Path, events: int, jam: int | None = None) -> Path:
    """A file of events of several threads that take turns; a tick is 1 ns.

    All threads wait JAM ticks for the acquisitions that end with number `jam`.
    """
    build = RecordingBuilder(threads=THREADS, ticks_per_ns=1.0)
    for index in range(THREADS):
        build.thread(Role.VCPU, f"CPU {index}/KVM", tid=1000 + index)
    sites = [build.site("a.c", index, "f", region=f"device {index}") for index in range(4)]
    output = folder / f"{events}.events"
    with Recording.open(build.write(folder / "r.bql")) as recording, EventFiles(output) as files:
        head = {
            "process": tables.process_to_json(recording.process),
            "clock": tables.clock_to_json(recording.clock()),
            "began": START,
            "part": 0,
        }
        content = {
            "threads": [tables.thread_to_json(thread) for thread in recording.threads()],
            "sites": [tables.site_to_json(site) for site in recording.sites()],
        }
        files.write(fmt.pack_json(fmt.HEAD, head))
        files.write(fmt.pack_json(fmt.TABLES, content))
        now = START
        for first in range(0, events, CHUNK):
            raw = turns(now, first, min(CHUNK, events - first), sites)
            now = int(raw["acquired"][-1]) + 1000
            if jam is not None and first <= jam < first + len(raw):
                late = slice(jam - first - THREADS, jam - first)
                raw["wait"][late] = JAM
                raw["detail"][late] |= np.uint64(layout.EVENT_CONTENDED)
            owners = np.arange(first, first + len(raw)) % THREADS
            files.write(
                fmt.pack_events([Segment(t, first, raw[owners == t]) for t in np.unique(owners)])
            )
        files.write(fmt.pack_json(fmt.END, {"reason": "ended", "ended": now, "threads": []}))
    return output


def compiled(name: str, directory: Path) -> Path:
    """Build tests/native/NAME.c against the library. Returns the program."""
    program = directory / name
    subprocess.run(["make", "-s", "-f", "native.mk", "lib"], cwd=ROOT, check=True)
    includes = ["-Ivmm/native", "-Iprofiler/recorder", "-Itests/native"]
    source = [f"tests/native/{name}.c", "build/release/libbqlvmm.a"]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-pthread", "-Wall", "-Werror", *includes]
    command = ["gcc", *flags, "-o", str(program), *source, "-luring", "-lm", "-ldl"]
    subprocess.run(command, cwd=ROOT, check=True)
    return program


@contextmanager
def load(
    program: Path, recording: Path, threads: int, rate: int, seconds: float
) -> Iterator["subprocess.Popen[str]"]:
    """A running recording_load that waits for a line before it begins."""
    command = [str(program), str(recording), str(threads), str(rate), str(seconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def begin(process: "subprocess.Popen[str]") -> None:
    """Let a load begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
