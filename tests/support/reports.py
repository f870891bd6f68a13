# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings and saved comparisons to report on, and the reports as files."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiler.commands.compare_output import build_document
from profiler.commands.report import make_page
from profiler.compare.result import Result
from profiler.compare.verdict import build_verdict
from profiler.layout import Blocked, Role
from profiler.reports.page import render
from tests.support.compare import make_qemu_plan, make_result
from tests.support.recordings import RecordingBuilder

NOW = datetime(2027, 3, 1, 12, 30, tzinfo=UTC)
MS = 1_000_000


def busy(**options: Any) -> RecordingBuilder:
    """A machine in milliseconds: two vCPUs that wait for a main loop that draws. 1 tick is 1 ns."""
    options = {"sites": 8, "events": 64, "ticks_per_ns": 1.0} | options
    build = RecordingBuilder(**options)
    main = build.thread(Role.MAIN, "qemu-system-x86", tid=901)
    cpu0 = build.thread(Role.VCPU, "CPU 0/KVM", tid=902)
    cpu1 = build.thread(Role.VCPU, "CPU 1/KVM", tid=903)
    poll = build.site("util/main-loop.c", 301, "os_host_main_loop_wait")
    serial = build.site("system/physmem.c", 2874, "mmio_read", region="serial")
    disk = build.site("system/physmem.c", 2874, "mmio_read", region="virtio-blk")
    for _ in range(10):
        build.acquire(main, poll, hold=3 * MS, blocked={Blocked.FILE_IO: MS})
        build.acquire(cpu0, serial, hold=1_000)
        build.acquire(cpu1, disk, hold=2_000, blame=[(main, poll, 4 * MS)], handoff=500_000)
    build.acquire(cpu0, serial, hold=1_000, blame=[(cpu1, disk, 250_000)], unknown=10_000)
    build.sync()
    return build


def recording(directory: Path, build: RecordingBuilder | None = None) -> Path:
    """A recording in a file."""
    return (build or busy()).write(directory / "vm.bql")


def recording_report(directory: Path) -> Path:
    """The report on it."""
    return write_report(str(recording(directory)), directory / "recording.html")


def save_comparison(
    directory: Path, results: Sequence[Result] = (), recordings: bool = True
) -> Path:
    """What `bqlscope compare --save` leaves: the document, and a recording of every trial."""
    chosen = list(results) or [make_result()]
    document = build_document([(result, build_verdict(result)) for result in chosen], [])
    (directory / "compare.json").write_text(json.dumps(document))
    for result in chosen if recordings else ():
        prefix = f"{result.plan.key}-" if len(chosen) > 1 else ""
        for placement in result.plan.placements:
            stem = f"{prefix}{placement.name.replace('/', '-')}"
            for trial in range(1, result.plan.trials + 1):
                busy().write(directory / f"{stem}-trial{trial}-recording.bql")
    return directory


def comparison_report(directory: Path) -> Path:
    """The report on a comparison of two VMMs."""
    saved = directory / "saved"
    saved.mkdir()
    save_comparison(saved, [make_result(), make_result(plan=make_qemu_plan())])
    return write_report(str(saved), directory / "comparison.html")


def write_report(source: str, target: Path) -> Path:
    """A report in a file, made at NOW."""
    target.write_text(render(make_page(source, NOW)), encoding="utf-8")
    return target
