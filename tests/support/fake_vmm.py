# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for `python -m vmm run`: notes its arguments and writes the files of a trial.

Usage: fake_vmm.py BEHAVIOUR DIRECTORY [arguments of the VMM].  BEHAVIOUR is `ok`, `fail` (always),
`fail-once`, `status` (the guest reports an error), `garbage` (no JSON), `no-marks`, `hang` (ends
only by a signal, which it notes in DIRECTORY/signalled) or `segfault`.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType


def guest_line(iothread: bool) -> dict[str, object]:
    """A guest line; the iothread placement is faster."""
    access = {"reads": 1009, "p50_ns": 40_000, "p99_ns": 200_000, "max_ns": 900_000}
    latency = {"mean": 120_000, "p50": 118_000, "p99": 240_000, "max": 1_000_000}
    return {
        "bqlscope_guest": 1,
        "blk": {"iops": 376_000 if iothread else 251_000, "errors": 0, "lat_ns": latency},
        "access": {"total": {**access, "reads_per_s": 18_000}},
    }


def hang(directory: Path) -> None:
    """Wait for SIGTERM, and leave a note when it comes."""

    def note(_signal: int, _frame: FrameType | None) -> None:
        (directory / "signalled").write_text(str(os.getpid()))
        sys.exit(1)

    signal.signal(signal.SIGTERM, note)
    (directory / "hanging").write_text(str(os.getpid()))
    while True:
        signal.pause()


def main() -> int:
    """Behave as told."""
    behaviour, directory, arguments = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    with (directory / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    count = len((directory / "calls").read_text().splitlines())
    if behaviour == "fail" or (behaviour == "fail-once" and count == 1):
        print("vmm: first line", file=sys.stderr)
        print("vmm: cannot open the frobnicator", file=sys.stderr)
        return 1
    if behaviour == "hang":
        hang(directory)
    if behaviour == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    recording = Path(arguments[arguments.index("--recording") + 1])
    output = Path(arguments[arguments.index("--json") + 1])
    for suffix in ("", ".begin", ".end"):
        Path(f"{recording}{suffix}").write_bytes(b"recording")
    document = {
        "accel": {"name": "qtest", "reason": "no /dev/kvm"},
        "host": {"cpus": 2},
        "guest": guest_line(any(text.startswith("iothread,") for text in arguments)),
        "recording": str(recording),
        "guest_status": 7 if behaviour == "status" else 0,
        "window": {"start_ns": 1_000, "end_ns": 1_000_001_000},
        "snapshots": None,
    }
    output.write_text("{" if behaviour == "garbage" else json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
