# SPDX-License-Identifier: GPL-2.0-or-later
"""A synthetic recording of any size whose rows all obey the laws, for measurements and limits."""

import numpy as np

from profiler.layout import BUCKETS, Role
from tests.support.recordings import RecordingBuilder

WAIT_BUCKETS = range(72, 120)
HOLD_BUCKETS = range(48, 88)


def big_recording(threads: int, sites: int, **options: object) -> RecordingBuilder:
    """`threads` threads (the first is main, the rest vCPUs), each with a row at `sites` sites.

    Every row has some samples in WAIT_BUCKETS and HOLD_BUCKETS, different ones in each row.
    """
    build = RecordingBuilder(
        threads=threads,
        sites=sites + 1,
        rows=threads * (sites + 1),
        events=1,
        **options,  # type: ignore[arg-type]
    )
    for index in range(threads):
        build.thread(Role.MAIN if index == 0 else Role.VCPU, f"CPU {index}/KVM", tid=1000 + index)
    numbers = [build.site(f"hw/dev{i}.c", 10 + i, "mmio_read", f"dev{i}") for i in range(sites)]
    for index in range(threads):
        for site in numbers:
            build.row(index, site)
    random = np.random.default_rng(7)
    rows = build.rows[threads : threads * (sites + 1)]
    waits = np.zeros((len(rows), BUCKETS), dtype=np.uint64)
    holds = np.zeros_like(waits)
    waits[:, WAIT_BUCKETS] = random.integers(0, 4, (len(rows), len(WAIT_BUCKETS)))
    holds[:, HOLD_BUCKETS] = random.integers(0, 9, (len(rows), len(HOLD_BUCKETS)))
    holds[:, 47] = waits.sum(axis=1)  # no fewer acquisitions than waits
    rows["wait_hist"], rows["hold_hist"] = waits, holds
    rows["contended"] = waits.sum(axis=1)
    rows["acquisitions"][:, 0] = holds.sum(axis=1)
    rows["wait_total"], rows["handoff"] = 4_000_000, 4_000_000
    rows["hold_total"] = 2_000_000
    rows["max_wait"], rows["max_wait_at"] = 90_000, 1_100_000
    rows["max_hold"], rows["max_hold_at"] = 40_000, 1_200_000
    return build
