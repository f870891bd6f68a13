# SPDX-License-Identifier: GPL-2.0-or-later
"""Recording rules: what fleets are watched by, and what long-term storage should get.

Names are LEVEL:METRIC:OPERATION. Levels are `vm` and `vm_role`; all labels of the target (job,
instance, host, variant) are kept at both. Sites stay behind: their number is what makes the raw
series expensive.
"""

from dataclasses import dataclass

from exporters import names
from exporters.families import float_text
from grafana.thresholds import LONG_HOLD_SECONDS

_SITES = "site, thread, tid"


@dataclass(frozen=True)
class Rule:
    """A recording rule. `labels` are those it has besides the target's."""

    name: str
    labels: tuple[str, ...]
    expr: str
    help: str


def _rate(metric: names.Metric, drop: str, suffix: str = "", where: str = "") -> str:
    selector = f"{metric.name}{suffix}{{{where}}}" if where else f"{metric.name}{suffix}"
    return f"sum without ({drop}) (rate({selector}[5m]))"


def _quantile(metric: names.Metric) -> str:
    return f"histogram_quantile(0.99, {_rate(metric, _SITES, '_bucket')})"


_VCPU = 'role="vcpu"'
_VM, _VM_ROLE = ("vm",), ("vm", "role")

WAIT_P99 = Rule(
    "vm_role:bql_wait_seconds:p99_5m",
    _VM_ROLE,
    _quantile(names.WAIT),
    "99th percentile of waits for the lock, uncontended ones included.",
)
HOLD_P99 = Rule(
    "vm_role:bql_hold_seconds:p99_5m",
    _VM_ROLE,
    _quantile(names.HOLD),
    "99th percentile of holds.",
)
WAITING = Rule(
    "vm_role:bql_wait_seconds:rate5m",
    _VM_ROLE,
    _rate(names.WAIT, _SITES, "_sum"),
    "Threads that wait at an average instant.",
)
HOLDING = Rule(
    "vm_role:bql_hold_seconds:rate5m",
    _VM_ROLE,
    _rate(names.HOLD, _SITES, "_sum"),
    "Part of the time in which a thread of this role holds the lock.",
)
ACQUISITIONS = Rule(
    "vm_role:bql_acquisitions:rate5m",
    _VM_ROLE,
    _rate(names.ACQUISITIONS, f"{_SITES}, kind"),
    "Acquisitions per second.",
)
CONTENDED = Rule(
    "vm_role:bql_contentions:ratio_rate5m",
    _VM_ROLE,
    f"{_rate(names.CONTENTIONS, _SITES)} / {_rate(names.ACQUISITIONS, f'{_SITES}, kind')}",
    "Part of the acquisitions that had to wait.",
)
LONG_HOLDS = Rule(
    "vm_role:bql_long_holds:total",
    _VM_ROLE,
    f"sum without ({_SITES}) ({names.HOLD.name}_count)"
    f" - ignoring (le) sum without ({_SITES})"
    f' ({names.HOLD.name}_bucket{{le="{float_text(LONG_HOLD_SECONDS)}"}})',
    "Holds longer than 131 ms since the process began: a counter, so take its increase.",
)
HELD = Rule(
    "vm:bql_held_ratio:avg5m",
    _VM,
    f"avg_over_time({names.HELD_RATIO.name}[5m])",
    "Part of the time in which somebody held the lock, the hold that is going on included.",
)
OWNER_HELD = Rule(
    "vm:bql_owner_held_seconds:max5m",
    _VM,
    f"max_over_time({names.OWNER_HELD.name}[5m])",
    "The longest hold that a scrape met.",
)
VCPU_WAIT = Rule(
    "vm:bql_vcpu_wait:ratio_rate5m",
    _VM,
    f"{_rate(names.WAIT, f'role, {_SITES}', '_sum', _VCPU)}"
    f" / sum without (role) ({names.THREADS.name}{{{_VCPU}}} > 0)",
    "Part of its time that a vCPU spends waiting for the lock, averaged over vCPUs.",
)
BLAMED = Rule(
    "vm:bql_blocked_seconds:rate5m",
    ("vm", "holder_role"),
    _rate(names.BLOCKED, "waiter_role, holder_site"),
    "Threads that wait at an average instant, by the role of whom they wait for.",
)
LOST = Rule(
    "vm:bql_recording_lost:rate5m",
    ("vm", "what"),
    f"rate({names.RECORDING_LOST.name}[5m])",
    "What the recorder had no room for, per second.",
)

RULES = (
    WAIT_P99,
    HOLD_P99,
    WAITING,
    HOLDING,
    ACQUISITIONS,
    CONTENDED,
    LONG_HOLDS,
    HELD,
    OWNER_HELD,
    VCPU_WAIT,
    BLAMED,
    LOST,
)
"""All of them, in the order in which Prometheus evaluates them."""


def recording_groups(interval: str) -> dict[str, object]:
    """The rule file; `interval` is how often rules are evaluated (`15s`)."""
    rules = [{"record": rule.name, "expr": rule.expr} for rule in RULES]
    return {"groups": [{"name": "bqlscope", "interval": interval, "rules": rules}]}
