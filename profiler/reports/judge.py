# SPDX-License-Identifier: GPL-2.0-or-later
"""What one recording shows, in a sentence for people without time, and what to look at next."""

from collections import defaultdict
from collections.abc import Sequence

from profiler.compare.blame_words import site_words
from profiler.compare.locks import HANDOFF, UNKNOWN
from profiler.model import Role
from profiler.reports.model import Tile
from profiler.reports.sample import Pair, Sample
from profiler.reports.words import SLEEP_WORDS, duration, percent, rate, rough

NOTICEABLE, SERIOUS = 0.01, 0.10
"""Parts of the vCPUs' time spent waiting from which on the lock is worth a look, or a project."""

LONG_WAIT = 1e6
"""Nanoseconds of a single wait that somebody may feel."""

WORTH_A_LOOK = 0.05
"""A part of all waiting below which a holder is not the place to begin."""

MOSTLY = 0.25
"""A part of all waiting that is worth naming."""


def verdict(sample: Sample) -> str:
    """The answer in one sentence."""
    share = sample.vcpu_wait_share
    if not sample.roles:
        return "Nothing can be said: nobody took the big lock while it was recorded."
    if share is None:
        return (
            f"No virtual CPU was recorded; all threads together waited {duration(sample.waited)} "
            f"for the big lock in {duration(sample.elapsed)}."
        )
    if share == 0:
        return "The big lock costs this VM nothing: no virtual CPU ever waited for it."
    lost = f"its virtual CPUs spent {rough(share)} of their time waiting for it"
    if share < NOTICEABLE:
        return f"The big lock costs this VM hardly anything: {lost}."
    waking = _waking_part(vcpu_pairs(sample))
    if waking > 0.5:
        return (
            f"The big lock is not the main problem of this VM: {lost}, but {rough(waking)} of that "
            "was waiting for a CPU after the lock was free."
        )
    effect = "is a serious bottleneck of" if share >= SERIOUS else "slows"
    return f"The big lock {effect} this VM: {lost}{_mostly(sample)}."


def _mostly(sample: Sample) -> str:
    """Whom the vCPUs waited for most."""
    holders: dict[str, float] = defaultdict(float)
    for pair in vcpu_pairs(sample):
        holders[pair.holder] += pair.total
    total = sum(holders.values())
    holder, most = max(holders.items(), key=lambda item: item[1], default=("", 0.0))
    if not total or most < MOSTLY * total:
        return ""
    if holder in (HANDOFF, UNKNOWN):
        return ""
    other = "another virtual CPU" if holder == "vCPUs" else _the(holder)
    return f", {rough(most / total)} of it while {other} held it"


def _waking_part(pairs: Sequence[Pair]) -> float:
    """The part of some waiting in which the lock was free already."""
    total = sum(pair.total for pair in pairs)
    return sum(p.total for p in pairs if p.holder == HANDOFF) / total if total else 0.0


def vcpu_pairs(sample: Sample) -> list[Pair]:
    """The parts of the vCPUs' waiting."""
    return [pair for pair in sample.pairs if pair.waiter.startswith(("CPU", "vCPU"))]


def hints(sample: Sample) -> tuple[str, ...]:
    """What to look at next, at most four sentences."""
    found = [*_top_holder(sample), *_longest(sample), *_waking(sample), *_asleep(sample)]
    return tuple(found)


def _top_holder(sample: Sample) -> list[str]:
    named: dict[tuple[str, str], float] = defaultdict(float)
    for pair in sample.pairs:
        if pair.holder not in (HANDOFF, UNKNOWN):
            named[pair.holder, pair.holder_site] += pair.total
    if not named or not sample.waited:
        return []
    (holder, site), most = max(named.items(), key=lambda item: item[1])
    if most < WORTH_A_LOOK * sample.waited:
        return []
    return [
        f"Look first at {site_words(site)} of {_the(holder)}: {rough(most / sample.waited)} of all "
        "waiting is for it."
    ]


def _the(holder: str) -> str:
    return holder if holder.startswith("CPU ") else f"the {holder}"


def _longest(sample: Sample) -> list[str]:
    groups = [g for g in sample.sites if g.role is Role.VCPU and g.wait.largest >= LONG_WAIT]
    if not groups:
        return []
    worst = max(groups, key=lambda group: group.wait.largest)
    return [
        f"The longest single wait of a virtual CPU took {duration(worst.wait.largest)}, at "
        f"{site_words(worst.site)}."
    ]


def _waking(sample: Sample) -> list[str]:
    part = _waking_part(sample.pairs)
    if part < MOSTLY:
        return []
    return [
        f"For {rough(part)} of all waiting the lock was free and the waiter had not been scheduled "
        "yet: more CPUs help there, other code does not."
    ]


def _asleep(sample: Sample) -> list[str]:
    sleeps = [(ns, group, reason) for group in sample.sites for reason, ns in group.slept.items()]
    ns, group, reason = max(sleeps, key=lambda sleep: sleep[0], default=(0.0, None, None))
    if group is None or reason is None or ns < MOSTLY * sum(g.hold.total for g in sample.roles):
        return []
    return [
        f"Holders slept with the lock held, for {SLEEP_WORDS[reason]} most of all: "
        f"{duration(ns)} in {site_words(group.site)}."
    ]


def tiles(sample: Sample) -> tuple[Tile, ...]:
    """The four numbers under the verdict."""
    share = sample.vcpu_wait_share
    vcpus = [group for group in sample.roles if group.role is Role.VCPU]
    taken = sum(group.acquisitions for group in sample.roles)
    seconds = sample.elapsed / 1e9
    return (
        Tile(
            "-" if share is None else percent(share),
            "of the vCPUs' time went into waiting for the lock",
        ),
        Tile(percent(sample.main_held_share), "of all time the main loop held it"),
        Tile(duration(vcpus[0].wait.largest) if vcpus else "-", "longest single wait of a vCPU"),
        Tile(f"{rate(taken / seconds) if seconds else '-'}/s", "acquisitions of all threads"),
    )
