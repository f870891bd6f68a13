# SPDX-License-Identifier: GPL-2.0-or-later
"""The data pattern of ``rw=verify``, so that the host can check what the guest wrote.

Defined in ``pattern.h``: the little-endian 8-byte word at byte offset ``o`` of the disk is
SplitMix64's output function applied to ``seed + (o / 8 + 1) * GOLDEN``.
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def pattern(offset: int, length: int, seed: int) -> bytes:
    """Return the ``length`` bytes that the guest writes at byte ``offset`` of a disk.

    ``offset`` and ``length`` are bytes, multiples of 8; ``seed`` is the guest's ``seed=``, 0 to
    2**64 - 1. Raises ``ValueError`` for anything else.
    """
    if offset < 0 or length < 0 or offset % 8 or length % 8:
        raise ValueError(f"offset {offset} and length {length} must be multiples of 8")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed {seed} does not fit into 64 bits")
    first = offset // 8 + 1
    z = np.arange(first, first + length // 8, dtype=np.uint64)  # array arithmetic wraps at 2**64
    z = z * _GOLDEN + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z = z ^ (z >> np.uint64(31))
    return z.astype("<u8").tobytes()
