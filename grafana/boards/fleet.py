# SPDX-License-Identifier: GPL-2.0-or-later
"""Many VMs on many hosts: which are the worst? Recording rules only.

So it works on a central Prometheus that gets nothing but those, and its cost grows with the number
of VMs, not with that of call sites.
"""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from grafana import rules
from grafana.board import Board, Panels, Row, choice
from grafana.panels import (
    PER_SECOND,
    PLAIN,
    SECONDS,
    SHARE,
    About,
    Columns,
    Query,
    graph,
    grid,
    number,
    ranking,
)
from grafana.promql import Scope
from grafana.thresholds import HELD_RATIO, LONG_HOLD_SECONDS, STUCK_SECONDS, WAIT_P99_SECONDS

_S = Scope("vm", "role")
_VCPU = 'role="vcpu"'
_NAME = "{{vm}} on {{instance}}"
_HELD_LIMITS = (HELD_RATIO / 2, HELD_RATIO)
_WAIT_LIMITS = (WAIT_P99_SECONDS / 10, WAIT_P99_SECONDS)
_LOST_LIMITS = (0.02, 0.1)


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="bqlscope-fleet",
        title="bqlscope / Fleet",
        description="The worst VMs of all hosts. Needs the recording rules of grafana/prometheus;"
        " every number is over 5 minutes.",
        variables=(choice("vm", rules.HELD), choice("role", rules.WAITING, 'vm=~"$vm"')),
        rows=(
            Row("All", _numbers()),
            Row("Worst now", _worst()),
            Row("Every VM", (_table(),)),
            Row("Over time", _time()),
        ),
        listed_by=rules.HELD,
    )


def _most(rule: rules.Rule, *matchers: str) -> str:
    """The value of each VM."""
    return f"max by (instance, vm) ({_S.select(rule, *matchers)})"


def _numbers() -> Panels:
    wait, held = _most(rules.WAIT_P99, _VCPU), _most(rules.HELD)
    counts = (
        ("VMs", "VMs with figures.", f"count({held})", ()),
        (
            "VMs with slow exits",
            f"VMs whose vCPUs have a wait p99 beyond {WAIT_P99_SECONDS * 1e3:g} ms.",
            f"count({wait} > {WAIT_P99_SECONDS}) or vector(0)",
            (1,),
        ),
        (
            "VMs with a saturated lock",
            f"VMs whose lock is held more than {HELD_RATIO:.0%} of the time.",
            f"count({held} > {HELD_RATIO}) or vector(0)",
            (1,),
        ),
        (
            "Threads waiting",
            "Threads that wait for a big lock at an average instant, of all chosen VMs.",
            f"sum({_S.select(rules.WAITING)})",
            (),
        ),
    )
    return tuple(
        number(About(title, description, PLAIN, width=6, height=4), Query(expr), limits)
        for title, description, expr, limits in counts
    )


def _worst() -> Panels:
    return (
        ranking(
            About(
                "vCPU time lost",
                "Part of its time that a vCPU waits for the lock, averaged over the VM's vCPUs.",
                SHARE,
                width=8,
            ),
            Query(f"topk(10, {_most(rules.VCPU_WAIT)})", _NAME),
            _LOST_LIMITS,
        ),
        ranking(
            About("vCPU wait p99", "99 of 100 acquisitions by vCPUs wait less.", SECONDS, width=8),
            Query(f"topk(10, {_most(rules.WAIT_P99, _VCPU)})", _NAME),
            _WAIT_LIMITS,
        ),
        ranking(
            About("Lock held", "Part of the time in which somebody holds it.", SHARE, width=8),
            Query(f"topk(10, {_most(rules.HELD)})", _NAME),
            _HELD_LIMITS,
        ),
    )


def _table() -> Builder[models.Panel]:
    return grid(
        About(
            "VMs",
            "Each VM with its wait p99, time lost, lock held, longest hold that a scrape met and"
            " acquisitions.",
            SECONDS,
            width=24,
            height=10,
        ),
        Columns(
            {"vm": "VM", "instance": "Exporter"},
            {
                "vCPU wait p99": SECONDS,
                "vCPU time lost": SHARE,
                "Lock held": SHARE,
                "Longest hold met": SECONDS,
                "Acquisitions": PER_SECOND,
            },
            sort="vCPU time lost",
            limits={
                "vCPU wait p99": _WAIT_LIMITS,
                "vCPU time lost": _LOST_LIMITS,
                "Lock held": _HELD_LIMITS,
                "Longest hold met": (LONG_HOLD_SECONDS, STUCK_SECONDS),
            },
        ),
        Query(_most(rules.WAIT_P99, _VCPU)),
        Query(_most(rules.VCPU_WAIT)),
        Query(_most(rules.HELD)),
        Query(_most(rules.OWNER_HELD)),
        Query(f"sum by (instance, vm) ({_S.select(rules.ACQUISITIONS)})"),
    )


def _time() -> Panels:
    return (
        graph(
            About("vCPU wait p99", "The ten worst VMs at each instant.", SECONDS),
            Query(f"topk(10, {_most(rules.WAIT_P99, _VCPU)})", _NAME),
            log=True,
            limits=(WAIT_P99_SECONDS,),
        ),
        graph(
            About("Lock held", "The ten worst VMs at each instant.", SHARE),
            Query(f"topk(10, {_most(rules.HELD)})", _NAME),
            limits=(HELD_RATIO,),
        ),
        graph(
            About(
                "Hold p99 by role",
                "99 of 100 holds are shorter, of the VM where that is worst.",
                SECONDS,
            ),
            Query(f"max by (role) ({_S.select(rules.HOLD_P99)})", "{{role}}"),
            log=True,
        ),
        graph(
            About(
                "Contended acquisitions by role",
                "Part of the acquisitions that had to wait, of the VM where that is worst.",
                SHARE,
            ),
            Query(f"max by (role) ({_S.select(rules.CONTENDED)})", "{{role}}"),
        ),
        graph(
            About(
                "Threads waiting, by holder",
                "Threads of all chosen VMs that wait at an average instant, by whom they wait for.",
                PLAIN,
            ),
            Query(f"sum by (holder_role) ({_S.select(rules.BLAMED)})", "{{holder_role}}"),
            stacked=True,
        ),
        graph(
            About(
                "Lost by recorders",
                "What recorders had no room for, per second. Nought is right.",
                PER_SECOND,
            ),
            Query(f"sum by (what) ({_S.select(rules.LOST)})", "{{what}}"),
        ),
    )
