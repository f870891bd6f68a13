# SPDX-License-Identifier: GPL-2.0-or-later
"""fio on the host: what the kernel gives a process that has no guest to serve."""

import json
from dataclasses import dataclass

from vmm.bench.contestant import Disk
from vmm.bench.process import SLACK_S, BenchError, Run, find_tool, last_line

# norandommap: like the guest, do not remember which blocks were read. Everything else is fio's
# default: completions reaped as they come, no registered buffers or files, no kernel polling.
_FIXED = (
    "--name=host", "--ioengine=io_uring", "--rw=randread", "--numjobs=1", "--thread",
    "--norandommap=1", "--time_based", "--readonly", "--allow_file_create=0",
    "--output-format=json",
)  # fmt: skip


@dataclass(frozen=True)
class Load:
    """Random reads: so many in flight, of so many bytes, for so many seconds after a warm-up.

    ``batch`` requests go to the kernel in one system call; 1 is fio's default.
    """

    depth: int
    block_size: int
    seconds: float
    warm_up_s: float
    batch: int = 1


def command(fio: str, disk: Disk, load: Load) -> list[str]:
    """fio's command line."""
    return [
        fio,
        *_FIXED,
        f"--filename={str(disk.path).replace(':', chr(92) + ':')}",
        f"--direct={int(disk.direct)}",
        f"--iodepth={load.depth}",
        f"--iodepth_batch={load.batch}",
        "--iodepth_batch_complete_min=1",
        f"--iodepth_batch_complete_max={load.depth}",
        f"--bs={load.block_size}",
        f"--runtime={round(load.seconds * 1000)}ms",
        f"--ramp_time={round(load.warm_up_s * 1000)}ms",
    ]


def find_fio() -> str:
    """Path of fio.

    Raises:
        MissingToolError: it is not installed.
    """
    return find_tool("fio")


def measure(fio: str, disk: Disk, load: Load, run: Run) -> float:
    """Reads per second of one run.

    Raises:
        BenchError: fio failed or its answer has no such number.
    """
    done = run(command(fio, disk, load), SLACK_S + 4 * load.seconds)
    try:
        answer = json.loads(done.stdout[done.stdout.index("{") :])
        iops = float(answer["jobs"][0]["read"]["iops"])
    except (ValueError, KeyError, IndexError, TypeError):
        iops = 0.0
    if done.status != 0 or iops <= 0:
        raise BenchError(f"fio ended with status {done.status}: {last_line(done.stderr)}")
    return iops
