# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts an exporter beside the VM: a process of its own, so that a scrape never runs in ours.

`profiler` has the same function: neither package may import the other for it.
"""

import os
import sys
from pathlib import Path

DEFAULT_ADDRESS = "127.0.0.1:9752"


def start_exporter(address: str, recording: Path) -> int:
    """Start `bqlscope export` for one recording; returns its process id.

    It says on standard error where it serves, or why it cannot, and ends when the recorded process
    does. Raises OSError if it cannot be started.
    """
    command = [sys.executable, "-m", "exporters"]
    command += ["--listen", address, "--until-ended", str(recording.absolute())]
    return os.posix_spawn(
        sys.executable,
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, 2, 1),
        ],
        setsigmask=[],
    )
