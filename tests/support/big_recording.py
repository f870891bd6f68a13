# SPDX-License-Identifier: GPL-2.0-or-later
"""A synthetic recording of any size whose rows all obey the laws, for measurements and limits."""

from typing import Any

import numpy as np
import numpy.typing as npt

from profiler import layout
from profiler.histogram import bucket_index
from profiler.layout import BUCKETS, NEAR_BUCKETS, Role
from tests.support.recordings import RecordingBuilder

HOLDS, WAITS = 400, 100
"""Acquisitions of each row, and those of them that waited."""

HOLDERS = 4
"""Threads that each row waited for."""

Counts = npt.NDArray[np.uint64]


def big_recording(
    threads: int,
    sites: int,
    *,
    interleaved: bool = False,
    every_bucket: bool = False,
    **options: Any,
) -> RecordingBuilder:
    """`threads` threads (the first is main, the rest vCPUs), each with a row at `sites` sites.

    Durations are log-normal. A site's median hold is anything from 2**8 to 2**14 ticks (0.1 to
    7 us at 2.5 GHz), its median wait from 2**10 to 2**16; around it, two thirds of a row's holds
    are within one octave up or down and two thirds of its waits within one and a half. One hold in
    a thousand takes a hundred times as long. With `every_bucket`, each row has samples in each
    bucket there is. With `interleaved`, every stretch of the row table has rows of all threads, as
    if all had come to their sites in step; else each thread has its rows side by side.
    """
    build = RecordingBuilder(
        threads=threads,
        sites=sites + 1,
        rows=threads * (sites + 1),
        blame=HOLDERS * sites,
        events=1,
        **options,
    )
    for index in range(threads):
        build.thread(Role.MAIN if index == 0 else Role.VCPU, f"CPU {index}/KVM", tid=1000 + index)
    numbers = [build.site(f"hw/dev{i}.c", 10 + i, "mmio_read", f"dev{i}") for i in range(sites)]
    pairs = [(index, site) for index in range(threads) for site in numbers]
    for index, site in sorted(pairs, key=lambda pair: pair[1]) if interleaved else pairs:
        build.row(index, site)
    rows = build.rows[threads : threads * (sites + 1)]
    holds, waits = _histograms(rows["site"], sites + 1)
    if every_bucket:
        holds += np.uint64(1)
        waits += np.uint64(1)
    _store(build, threads, np.stack([holds, waits], axis=1))
    rows["contended"] = waits.sum(axis=1)
    rows["acquisitions"][:, 0] = holds.sum(axis=1)
    rows["wait_total"], rows["handoff"] = 4_000_000, 4_000_000 - HOLDERS * 1_000
    for index in range(threads):
        _blame(build, index, numbers)
    rows["hold_total"] = 2_000_000
    rows["max_wait"], rows["max_wait_at"] = 90_000, 1_100_000
    rows["max_hold"], rows["max_hold_at"] = 40_000, 1_200_000
    return build


def _histograms(site_of_row: npt.NDArray[np.uint32], sites: int) -> tuple[Counts, Counts]:
    """Holds and waits of rows, one in each line."""
    random = np.random.default_rng(7)
    hold_medians, wait_medians = random.uniform(8, 14, sites), random.uniform(10, 16, sites)
    rows = len(site_of_row)
    holds = random.normal(hold_medians[site_of_row], 1.0, (HOLDS, rows))
    holds += np.where(random.random(holds.shape) < 1e-3, np.log2(100), 0)
    waits = random.normal(wait_medians[site_of_row], 1.5, (WAITS, rows))
    return _counts(np.exp2(holds)), _counts(np.exp2(waits))


def _counts(ticks: npt.NDArray[np.float64]) -> Counts:
    """Histograms of the columns."""
    rows = ticks.shape[1]
    buckets = np.minimum(bucket_index(ticks.astype(np.uint64)), BUCKETS - 1)
    places = np.arange(rows) * BUCKETS + buckets.astype(np.intp)
    counted = np.bincount(places.ravel(), minlength=rows * BUCKETS)
    return counted.reshape(rows, BUCKETS).astype(np.uint64)


def _blame(build: RecordingBuilder, thread: int, sites: list[int]) -> None:
    """Each row of a thread waited for some others, each at the first site."""
    threads = int(build.header["threads_used"][0])
    entries = build.blame[thread]
    entries["used"], entries["ticks"], entries["count"], entries["max"] = 1, 1_000, 9, 200
    entries["waiter_site"] = np.repeat(sites, HOLDERS)
    holders = [layout.who((thread + 1 + i) % threads, sites[0]) for i in range(HOLDERS)]
    entries["holder"] = np.tile(holders, len(sites))
    build.threads["blames_used"][thread] = len(entries)


def _store(build: RecordingBuilder, first: int, histograms: Counts) -> None:
    """Two histograms of each row from number `first` on."""
    end = first + len(histograms)
    build.rows["near"][first:end] = histograms[:, :, :NEAR_BUCKETS] & np.uint64(0xFFFF)
    spill = histograms.copy()
    spill[:, :, :NEAR_BUCKETS] &= ~np.uint64(0xFFFF)
    build.spill["count"][first:end] = spill
    build.rows["spills"][first:end] = (spill != 0).sum(axis=(1, 2))
