# SPDX-License-Identifier: GPL-2.0-or-later
"""Who blocked whom, in plain words."""

from collections.abc import Sequence

from profiler.compare.locks import AFTER_WAIT, HANDOFF, UNKNOWN
from profiler.compare.result import BlameShare
from profiler.compare.text import number

TOP_WAITERS = 4
TOP_HOLDERS = 3
LEAST_PART = 0.005
"""A smaller part of a wait would be told as 0 %."""

LOOP_FUNCTION, LOOP_FILE = "main_loop_wait", "main-loop.c:"
"""How the lock's place in the main loop is called by bqlscope's VMM and by QEMU."""


def milliseconds(nanoseconds: float) -> str:
    """A duration in ms with three significant digits."""
    return f"{number(nanoseconds / 1e6)} ms"


def site_words(site: str) -> str:
    """Where a lock was held, as a person would say it."""
    function, _, place = site.partition(" ")
    if function == LOOP_FUNCTION:
        return f"one loop iteration ({place})"
    if site.startswith(LOOP_FILE):
        return f"one loop iteration ({site})"
    return site


def part_text(pair: BlameShare) -> str:
    """What one holder has to do with a wait, in plain words after the percentage."""
    part = f"{100 * pair.wait_ns / pair.waiter_wait_ns:3.0f} %"
    if pair.holder == HANDOFF:
        return f"{part}  waking up after the lock was free"
    if pair.holder == UNKNOWN:
        return f"{part}  for a holder no longer on record"
    site = site_words(pair.holder_site)
    where = f" {site}" if site.startswith(AFTER_WAIT) else f" in {site}" if site else ""
    holder = pair.holder if pair.holder.startswith("CPU ") else f"the {pair.holder}"
    return f"{part}  while {holder} held it{where}"


def _waiter_text(waiter: str, site: str, wait_ns: float) -> str:
    where = f", {site}," if site.startswith(AFTER_WAIT) else f" at {site_words(site)}"
    return f"{waiter}{where} waited {milliseconds(wait_ns)}:"


def _worth_telling(pair: BlameShare) -> bool:
    return pair.wait_ns >= LEAST_PART * pair.waiter_wait_ns


def blame_lines(pairs: Sequence[BlameShare]) -> list[tuple[int, str]]:
    """Indentation and text of each line: a waiter, then its holders; the longest waits only."""
    waiters: dict[tuple[str, str], list[BlameShare]] = {}
    for pair in pairs:
        waiters.setdefault((pair.waiter, pair.waiter_site), []).append(pair)
    longest = sorted(waiters.items(), key=lambda item: -item[1][0].waiter_wait_ns)
    lines = []
    for (waiter, site), own in longest[:TOP_WAITERS]:
        lines.append((2, _waiter_text(waiter, site, own[0].waiter_wait_ns)))
        told = [pair for pair in own[:TOP_HOLDERS] if _worth_telling(pair)]
        lines += [(4, part_text(pair)) for pair in told]
    return lines
