# SPDX-License-Identifier: GPL-2.0-or-later
"""Is this the monitor of that process? And which monitors has a process?"""

import os
from itertools import pairwise
from pathlib import Path

from profiler.discovery import PROC, process_start_time
from profiler.errors import UserError
from profiler.qemu.qmp import Qmp, QmpError

_MONITOR_OPTIONS = ("-qmp", "--qmp", "-qmp-pretty", "--qmp-pretty")


def require_process(pid: int) -> None:
    """Raises UserError if there is no such process."""
    if process_start_time(pid) is None:
        raise UserError(f"there is no process {pid}")


def require_peer(qmp: Qmp, pid: int) -> None:
    """Check that a monitor is that of a process. Raises UserError if it is not.

    The kernel tells who made the Unix socket, which settles most cases. A socket that a manager
    made and handed over, or one over TCP, is judged by the threads of QEMU's virtual CPUs.
    """
    if qmp.peer_pid == pid:
        return
    try:
        tasks = {int(name) for name in os.listdir(PROC / str(pid) / "task")}
    except OSError as error:
        raise UserError(f"there is no process {pid}") from error
    threads = qmp.thread_ids()
    if threads and threads <= tasks:
        return
    other = f"process {qmp.peer_pid}" if qmp.peer_pid else "another process"
    raise QmpError(f"the monitor {qmp.address} is that of {other}, not of {pid}")


def monitors_of(pid: int, proc: Path = PROC) -> list[str]:
    """Addresses of the QMP monitors on a process's command line, as `Qmp` takes them."""
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    texts = [word.decode("utf-8", "replace") for word in words]
    found = []
    for option, value in pairwise(texts):
        kind, _, rest = value.partition(":")
        if option in _MONITOR_OPTIONS and kind in ("unix", "tcp"):
            found.append(rest.partition(",")[0])
    return [address for address in found if address and address.isprintable()]
