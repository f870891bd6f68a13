# SPDX-License-Identifier: GPL-2.0-or-later
"""Side-by-side benchmarks: the same guest, file and work on this VMM, on QEMU and on the host.

Absolute times of a machine drift, by a factor of two on a shared one. So every benchmark here runs
its contestants in interleaved rounds, takes ratios within each round, and reports the median of
those ratios with its interval.
"""
