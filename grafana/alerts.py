# SPDX-License-Identifier: GPL-2.0-or-later
"""Alerts. docs/runbook.md has a section for each: the anchor is the name in lower case."""

from dataclasses import dataclass

from exporters import names
from grafana import rules, thresholds

RUNBOOK = "docs/runbook.md"
"""Where the runbook is, unless the rules are generated with another address."""

_VM = "{{ $labels.vm }} on {{ $labels.instance }}"


@dataclass(frozen=True)
class Alert:
    """An alert. `lasts` is how long `expr` must hold before it fires (`5m`)."""

    name: str
    severity: str
    expr: str
    lasts: str
    summary: str
    description: str


ALERTS = (
    Alert(
        "BqlWaitHigh",
        "warning",
        f'{rules.WAIT_P99.name}{{role="vcpu"}} > {thresholds.WAIT_P99_SECONDS}',
        "5m",
        f"vCPUs of {_VM} wait long for the big lock",
        "One in a hundred acquisitions by a vCPU waits longer than {{ $value | humanizeDuration }};"
        f" the limit is {thresholds.WAIT_P99_SECONDS * 1e3:g} ms.",
    ),
    Alert(
        "BqlHeldLong",
        "warning",
        f"increase({rules.LONG_HOLDS.name}[5m]) > 0 and on (job, instance, vm)"
        f" time() - {names.PROCESS_START.name} > {thresholds.YOUNG_SECONDS:g}",
        "0s",
        f"{{{{ $labels.role }}}} threads of {_VM} held the big lock for long",
        f"Holds longer than {thresholds.LONG_HOLD_SECONDS * 1e3:.0f} ms in the last 5 minutes:"
        ' about {{ $value | printf "%.0f" }}. Everything that needs the lock stood still'
        " meanwhile.",
    ),
    Alert(
        "BqlSaturated",
        "warning",
        f"{rules.HELD.name} > {thresholds.HELD_RATIO}",
        "5m",
        f"The big lock of {_VM} is nearly always held",
        "It was held for {{ $value | humanizePercentage }} of the last 5 minutes; more vCPUs or"
        " more I/O will only wait longer.",
    ),
    Alert(
        "BqlStuck",
        "critical",
        f"{names.OWNER_HELD.name} > {thresholds.STUCK_SECONDS:g}",
        "0s",
        f"The big lock of {_VM} is not given back",
        "The present holder has had it for {{ $value | humanizeDuration }}. Exits, the monitor and"
        " the main loop wait for it.",
    ),
    Alert(
        "IothreadTakesBql",
        "warning",
        f'{rules.ACQUISITIONS.name}{{role="iothread"}} > {thresholds.IOTHREAD_RATE:g}',
        "5m",
        f"Iothreads of {_VM} take the big lock",
        'They take it {{ $value | printf "%.1f" }} times a second. Their data path needs it never:'
        " what was moved out of the main loop waits for it again.",
    ),
    Alert(
        "RecorderDropsEvents",
        "warning",
        f"increase({names.RECORDING_LOST.name}[5m]) > 0",
        "0s",
        f"The recording of {_VM} is incomplete",
        'It had no room for about {{ $value | printf "%.0f" }} {{ $labels.what }} in 5 minutes.',
    ),
    Alert(
        "ExporterStale",
        "warning",
        f'up{{job=~"{thresholds.EXPORTER_JOBS}"}} == 0 or {names.COLLECTOR_SUCCESS.name} == 0',
        "2m",
        "The exporter {{ $labels.instance }} has no fresh figures",
        "{{ if $labels.collector }}Its collector {{ $labels.collector }} fails.{{ else }}It does"
        " not answer.{{ end }} Alerts about its VMs cannot fire.",
    ),
)


def alert_groups(interval: str, runbook: str = RUNBOOK) -> dict[str, object]:
    """The rule file; `runbook` is the address of the runbook."""
    found = [
        {
            "alert": alert.name,
            "expr": alert.expr,
            "for": alert.lasts,
            "labels": {"severity": alert.severity},
            "annotations": {
                "summary": alert.summary,
                "description": alert.description,
                "runbook_url": f"{runbook}#{alert.name.lower()}",
            },
        }
        for alert in ALERTS
    ]
    return {"groups": [{"name": "bqlscope-alerts", "interval": interval, "rules": found}]}
