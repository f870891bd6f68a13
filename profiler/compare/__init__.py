# SPDX-License-Identifier: GPL-2.0-or-later
"""A/B comparison of virtio-blk placements: plan, trials, statistics, table, verdict.

Data flow: a `Plan` (what to run) goes through the `Runner` (one child VMM a trial), which yields
`Trial` objects (plain numbers).  `build_result` turns them into a `Result`, pure arithmetic, and
the table, the verdict, the JSON document and the `--fail-if` checks only read that `Result`.
"""
