# SPDX-License-Identifier: GPL-2.0-or-later
"""What a disk counted of its requests by type, and its latency histograms.

The types are QEMU's (block/accounting.c): ``rd``, ``wr``, ``flush``, ``unmap``.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmm._native import ffi, lib
from vmm.bql import Recorder
from vmm.errors import check

TYPES = ("rd", "wr", "flush", "unmap")
MAX_BOUNDARIES: int = lib.VIRTIO_BLK_ACCT_BOUNDARIES


@dataclass(frozen=True)
class Account:
    """Requests of one type, all queues together. ``ticks``: see :class:`TickClock`."""

    operations: int
    failed: int
    invalid: int
    bytes: int
    ticks: int
    highest_offset: int
    bins: tuple[int, ...]
    """By latency, one more than there are boundaries; empty without a histogram."""


class TickClock:
    """Turns ticks of the recorder's clock, in which disks count, into nanoseconds.

    Without a recorder they count nanoseconds.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._start = self._now()

    def _now(self) -> tuple[int, int]:
        ns = time.monotonic_ns()
        return (ns if self._recorder is None else lib.bqlrec_ticks(self._recorder.handle)), ns

    @property
    def ns_per_tick(self) -> float:
        """By all the time since this object was made; 1.0 if a tick is a nanosecond."""
        if self._recorder is None:
            return 1.0
        ticks, ns = (b - a for a, b in zip(self._start, self._now(), strict=True))
        return ns / ticks if ticks > 0 else 1.0


def read_accounts(native: Any, queues: int, bins: dict[str, int]) -> dict[str, Account]:
    """The accounts of a ``VirtioBlk *`` by type; ``bins``: how many its histograms have."""
    found = {}
    one = ffi.new("VirtioBlkAcct *")
    for number, name in enumerate(TYPES):
        sums = dict.fromkeys(("operations", "failed", "invalid", "bytes", "ticks"), 0)
        counts = [0] * bins.get(name, 0)
        highest = 0
        for queue in range(queues):
            lib.virtio_blk_acct(native, queue, number, one)
            for field in sums:
                sums[field] += int(getattr(one, field))
            counts = [count + int(one.bins[i]) for i, count in enumerate(counts)]
            highest = max(highest, int(one.highest_offset))
        found[name] = Account(**sums, highest_offset=highest, bins=tuple(counts))
    return found


def set_boundaries(native: Any, name: str, ticks: Sequence[int]) -> None:
    """Begin a histogram of a type, or end it (no boundaries). Main thread, under the BQL.

    Waits until the disk has no request in flight. Raises OSError: not ascending, or too many.
    """
    lib.virtio_blk_drain_begin(native)
    try:
        array = ffi.new("uint64_t[]", list(ticks))
        number = TYPES.index(name)
        check(lib.virtio_blk_set_boundaries(native, number, array, len(ticks)), "boundaries")
    finally:
        lib.virtio_blk_drain_end(native)
