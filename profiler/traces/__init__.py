# SPDX-License-Identifier: GPL-2.0-or-later
"""Acquisitions one by one: recording them for as long as one likes, and writing them as traces.

    rings (a live process) ─┐                      ┌─ stream ─ perfetto, csv, json
    files (`record`'s) ─────┼─ source ─ Batch ─────┤
    snapshot (`.bql`) ──────┘                      └─ aggregate ─ Snapshot ─ pprof, folded, …

Everything after `source` sees the same values whatever they came from; one output format is one
module.
"""
