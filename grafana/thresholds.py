# SPDX-License-Identifier: GPL-2.0-or-later
"""When a number is bad: alerts fire at these values, panels change colour at them."""

from exporters.buckets import CLASSIC_BOUNDS

WAIT_P99_SECONDS = 1e-3
"""A vCPU that waits a millisecond for one exit in a hundred stalls what its guest runs."""

LONG_HOLD_SECONDS = next(bound for bound in CLASSIC_BOUNDS if bound >= 0.1)
"""A hold this long is felt in the guest; a bound of the histograms, so that counting is exact."""

HELD_RATIO = 0.8
"""With the lock held this much of the time every further user mostly waits."""

STUCK_SECONDS = 10.0
"""One hold this long and going on: no vCPU gets through."""

IOTHREAD_RATE = 1.0
"""Acquisitions per second by iothreads; their data path takes the lock never."""

YOUNG_SECONDS = 600.0
"""So long after its start a process is not blamed for long holds: it builds its machine."""

SCRAPE_SECONDS = 15
"""How often the shipped configuration scrapes and evaluates, and what Grafana is told of it."""

EXPORTER_JOBS = ".*bqlscope.*"
"""Which jobs are exporters: series that Prometheus makes itself do not say what a target is."""
