# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for `python -m profiler qemu`: notes its arguments and writes the files of a trial.

Usage: fake_recorder.py BEHAVIOUR DIRECTORY [options] -- QEMU's command line.  BEHAVIOUR is `ok`,
`refuse` (nothing ran), `no-result` (QEMU failed), `error` (the guest saw disk errors), `torn` (half
a line of the guest), `reset` (QEMU ended without the debug-exit port), `killed` (by a signal) or
`unrecorded`.
"""

import json
import sys
from pathlib import Path

from tests.support.fake_vmm import guest_line

STATUS = {"no-result": 1, "error": 7, "reset": 0, "killed": 137}
GUEST_LINES = {"no-result": "qemu: no such device", "torn": '{"bqlscope_guest": 1, "bl'}


def main() -> int:
    """Behave as told."""
    behaviour, directory, arguments = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    with (directory / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    if behaviour == "refuse":
        print("bqlscope: QEMU has no lock pointer", file=sys.stderr)
        return 2
    recording = Path(arguments[arguments.index("--recording") + 1])
    for suffix in ("", ".begin", ".end", ".regions.json"):
        Path(f"{recording}{suffix}").write_bytes(b"recording")
    print("qemu: warning: host doesn't support a feature")
    line = json.dumps(guest_line(any(text.startswith("iothread,") for text in arguments)))
    print(GUEST_LINES.get(behaviour, line), flush=True)
    status = STATUS.get(behaviour, 1)
    report = {
        "schema": 1,
        "qemu": {"path": "/opt/qemu", "version": "10.0.2", "symbol": "bql_mutex_lock_func"},
        "pid": 1,
        "exit": {"status": status, "signal": 9 if behaviour == "killed" else None},
        "recording": None if behaviour == "unrecorded" else str(recording),
        "regions": 3,
        "window": {"start_ns": 1_000, "end_ns": 1_000_001_000},
        "summary": None,
    }
    Path(arguments[arguments.index("--json") + 1]).write_text(json.dumps(report))
    return status


if __name__ == "__main__":
    sys.exit(main())
