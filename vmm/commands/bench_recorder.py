# SPDX-License-Identifier: GPL-2.0-or-later
"""What recording costs on this machine, measured by the C benchmark in interleaved rounds."""

import os
import tempfile
from pathlib import Path
from typing import Any

from vmm._native import ffi, lib

CONTENDED_THREADS = (2, 4, 8)


def _check(ret: int) -> None:
    if ret < 0:
        raise OSError(-ret, f"recorder benchmark: {os.strerror(-ret)}")


def _last_cpu() -> int:
    return max(os.sched_getaffinity(0))


def run(rounds: int = 101, iterations: int = 20_000) -> dict[str, Any]:
    """Measure recorded against raw lock pairs; medians of interleaved rounds.

    Args:
        rounds: rounds of every kind, 1..1001.
        iterations: lock pairs in a round.

    Returns:
        ``raw_pair_ns``, ``timestamp_ns``, ``recorded_pair_ns`` and ``off_pair_ns``;
        ``overhead_ns`` and ``off_overhead_ns`` on top of the raw pair;
        ``overhead_over_two_timestamps``; ``contended``: by number of threads (as a string) the
        pairs per second of all threads, raw and recorded, and their ratio.

    Raises:
        OSError: the recording could not be made or a thread not be started.

    """
    with tempfile.TemporaryDirectory(prefix="bqlscope-bench-", dir=_memory_backed()) as directory:
        path = str(Path(directory) / "bench.bql").encode()
        pair = ffi.new("BenchRecorderPair *")
        _check(lib.bench_recorder_pair(path, _last_cpu(), rounds, iterations, pair))
        contended: dict[str, dict[str, float]] = {}
        for threads in CONTENDED_THREADS:
            rates = ffi.new("BenchRecorderContended *")
            _check(
                lib.bench_recorder_contended(path, threads, max(1, rounds // 10), iterations, rates)
            )
            contended[str(threads)] = {
                "raw_pairs_per_s": rates.raw_pairs_per_s,
                "recorded_pairs_per_s": rates.recorded_pairs_per_s,
                "recorded_over_raw": rates.recorded_pairs_per_s / rates.raw_pairs_per_s,
            }
    overhead = pair.on_pair_ns - pair.raw_pair_ns
    return {
        "raw_pair_ns": pair.raw_pair_ns,
        "timestamp_ns": pair.timestamp_ns,
        "recorded_pair_ns": pair.on_pair_ns,
        "overhead_ns": overhead,
        "overhead_over_two_timestamps": overhead / (2 * pair.timestamp_ns),
        "off_pair_ns": pair.off_pair_ns,
        "off_overhead_ns": pair.off_pair_ns - pair.raw_pair_ns,
        "contended": contended,
    }


def _memory_backed() -> str | None:
    """A tmpfs directory if there is one: recordings live on one, and disks add write-back."""
    shm = Path("/dev/shm")
    return str(shm) if shm.is_dir() and os.access(shm, os.W_OK) else None
