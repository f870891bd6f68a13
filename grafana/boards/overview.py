# SPDX-License-Identifier: GPL-2.0-or-later
"""How much the big lock costs, who waits, who holds it and where: the place to begin."""

from exporters import names
from grafana.board import Board, Panels, Row, choice
from grafana.panels import (
    PER_SECOND,
    PLAIN,
    SECONDS,
    SHARE,
    About,
    Columns,
    Query,
    density,
    graph,
    grid,
    number,
    ranking,
)
from grafana.promql import WINDOW, Scope, largest
from grafana.thresholds import HELD_RATIO, LONG_HOLD_SECONDS, STUCK_SECONDS, WAIT_P99_SECONDS

_S = Scope("vm", "role")
_VCPU = 'role="vcpu"'
_ANY_ROLE = 'role=~".+"'
_WAIT_LIMITS = (WAIT_P99_SECONDS / 10, WAIT_P99_SECONDS)
_PER_TARGET = "on (job, instance, vm)"


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="bqlscope-overview",
        title="bqlscope / Overview",
        description="Waits for the big lock of a VMM and holds of it, by thread role and call"
        " site.",
        variables=(choice("vm", names.UP), choice("role", names.THREADS, 'vm=~"$vm"')),
        rows=(
            Row("Now", (*_lost(), *_now())),
            Row("Waiting", (*_waiting(), *_waiting_where())),
            Row("Holding", (*_holding(), *_holding_where())),
            Row("Work of the VM", _work()),
            Row("Right now", _tables()),
        ),
    )


def _small(title: str, about: str, unit: str) -> About:
    return About(title, about, unit, width=4, height=5)


def _lost() -> Panels:
    waiting = _S.total_rate(names.WAIT, _VCPU, suffix="_sum")
    vcpus = f"sum({_S.select(names.THREADS, _VCPU)})"
    return (
        number(
            _small(
                "Lock held",
                "Part of the time in which somebody holds the lock, of the VM where it is held"
                f" most. Beyond {HELD_RATIO:.0%} every further user mostly waits.",
                SHARE,
            ),
            Query(f"max({_S.select(names.HELD_RATIO)})"),
            (HELD_RATIO / 2, HELD_RATIO),
        ),
        number(
            _small(
                "vCPU time lost",
                "Part of its time that a vCPU waits for the lock, averaged over vCPUs. The guest"
                " stands still meanwhile.",
                SHARE,
            ),
            Query(f"{waiting} / {vcpus}"),
            (0.02, 0.1),
        ),
        number(
            _small(
                "vCPU wait p99",
                "99 of 100 acquisitions by vCPUs wait less. Acquisitions that found the lock free"
                " are counted.",
                SECONDS,
            ),
            Query(_S.quantile(0.99, names.WAIT, _VCPU)),
            _WAIT_LIMITS,
        ),
    )


def _now() -> Panels:
    return (
        number(
            _small(
                "Held right now for",
                "How long the present holder has had the lock, the longest of the chosen VMs, as"
                " the last scrape met it. It answers while the lock is stuck.",
                SECONDS,
            ),
            Query(f"max({_S.select(names.OWNER_HELD)})"),
            (LONG_HOLD_SECONDS, STUCK_SECONDS),
        ),
        number(
            _small(
                "Waiting right now",
                "Threads that wait for the lock, as the last scrape met them.",
                PLAIN,
            ),
            Query(f"sum({_S.select(names.WAITERS)})"),
        ),
        number(
            _small(
                "Acquisitions",
                "How often the lock is taken, by the chosen roles.",
                PER_SECOND,
            ),
            Query(_S.total_rate(names.ACQUISITIONS)),
        ),
    )


def _waiting() -> Panels:
    return (
        graph(
            About(
                "Wait p99 by role",
                "99 of 100 acquisitions wait less. The dashed line is where BqlWaitHigh fires for"
                " vCPUs. Classic buckets are powers of two: a value is off by up to a factor of"
                " two.",
                SECONDS,
            ),
            Query(_S.quantile(0.99, names.WAIT, by="role"), "{{role}}", exemplars=True),
            log=True,
            limits=(WAIT_P99_SECONDS,),
        ),
        graph(
            About(
                "Wait quantiles of the chosen roles",
                "Half, 99 % and 99.9 % of acquisitions wait less. A distance between the lines that"
                " grows means that a few holds are long, not that all are.",
                SECONDS,
            ),
            Query(_S.quantile(0.5, names.WAIT), "p50"),
            Query(_S.quantile(0.99, names.WAIT), "p99"),
            Query(_S.quantile(0.999, names.WAIT), "p99.9"),
            log=True,
        ),
        graph(
            About(
                "Threads waiting by role",
                "Seconds waited per second: how many threads of a role wait at an average instant.",
                PLAIN,
            ),
            Query(_S.total_rate(names.WAIT, by="role", suffix="_sum"), "{{role}}"),
            stacked=True,
        ),
        graph(
            About(
                "Contended acquisitions by role",
                "Part of the acquisitions that found the lock taken.",
                SHARE,
            ),
            Query(
                f"{_S.total_rate(names.CONTENTIONS, by='role')}"
                f" / {_S.total_rate(names.ACQUISITIONS, by='role')}",
                "{{role}}",
            ),
        ),
    )


def _waiting_where() -> Panels:
    return (
        density(
            About(
                "Waits by length",
                "Acquisitions per second by how long they waited. The lowest row has those that"
                " found the lock free.",
                SECONDS,
            ),
            Query(_S.total_rate(names.WAIT, by="le", suffix="_bucket"), "{{le}}"),
        ),
        ranking(
            About(
                "Call sites that wait most",
                "Threads that wait at an average instant, by the place that asked for the lock: for"
                " vCPUs that is the device the guest accessed.",
                PLAIN,
            ),
            Query(largest(_S.total_rate(names.WAIT, by="site", suffix="_sum")), "{{site}}"),
        ),
    )


def _holding() -> Panels:
    return (
        graph(
            About(
                "Lock held by role",
                "Part of the time in which a role holds the lock; the sum cannot pass 100 % for"
                f" one VM. BqlSaturated fires at {HELD_RATIO:.0%}.",
                SHARE,
            ),
            Query(_S.total_rate(names.HOLD, by="role", suffix="_sum"), "{{role}}"),
            stacked=True,
            limits=(HELD_RATIO,),
        ),
        graph(
            About(
                "Hold p99 by role",
                "99 of 100 holds are shorter. A wait is at least what is left of somebody's hold.",
                SECONDS,
            ),
            Query(_S.quantile(0.99, names.HOLD, by="role"), "{{role}}", exemplars=True),
            log=True,
        ),
    )


def _holding_where() -> Panels:
    return (
        density(
            About("Holds by length", "Holds per second by how long they lasted.", SECONDS),
            Query(_S.total_rate(names.HOLD, by="le", suffix="_bucket"), "{{le}}"),
        ),
        ranking(
            About(
                "Call sites that hold most",
                "Part of the time in which the lock is held by what was taken here: the work that"
                " must leave the lock first.",
                SHARE,
            ),
            Query(largest(_S.total_rate(names.HOLD, by="site", suffix="_sum")), "{{site}}"),
        ),
    )


def _work() -> Panels:
    return (
        graph(
            About("Acquisitions by role", "How often each role takes the lock.", PER_SECOND),
            Query(_S.total_rate(names.ACQUISITIONS, by="role"), "{{role}}"),
        ),
        graph(
            About(
                "vCPU exits to user space",
                "By what for. What the kernel handles is not counted.",
                PER_SECOND,
            ),
            Query(_S.total_rate(names.VCPU_EXITS, by="kind"), "{{kind}}"),
        ),
        graph(
            About(
                "CPU by role",
                "CPUs used by the threads of each role, the guest's own work included.",
                PLAIN,
            ),
            Query(_S.total_rate(names.THREAD_CPU, by="role"), "{{role}}"),
            stacked=True,
        ),
        graph(
            About(
                "Waiting for a CPU by role",
                "Threads that could run and have no CPU, at an average instant. While this is"
                " high, part of every wait for the lock is the host's scheduler.",
                PLAIN,
            ),
            Query(_S.total_rate(names.THREAD_RUNQUEUE, by="role"), "{{role}}"),
            stacked=True,
        ),
        graph(
            About(
                "Disk requests by placement",
                "Completed per second, by who processes the queue: the vCPU that kicked and the"
                " main loop hold the lock meanwhile, an iothread does not. For bqlscope's own VMM"
                " only.",
                PER_SECOND,
            ),
            Query(_S.total_rate(names.BLK_REQUESTS, by="placement"), "{{placement}}"),
        ),
        graph(
            About(
                "Disk latency p99 by placement",
                "99 of 100 requests take less. For bqlscope's own VMM only.",
                SECONDS,
            ),
            Query(_S.quantile(0.99, names.BLK_DURATION, by="placement"), "{{placement}}"),
            log=True,
        ),
    )


def _tables() -> Panels:
    owner = f"{_S.select(names.OWNER, _ANY_ROLE)} * {_PER_TARGET} group_left ()"
    lasted = f"time() - max by (instance, vm) ({_S.select(names.PROCESS_START)})"
    held = f"avg_over_time({_S.select(names.HELD_RATIO)}[{WINDOW}])"
    return (
        grid(
            About(
                "Who holds the lock",
                "Holder, its call site and what it sleeps for, as the last scrape met it. Empty"
                " while the lock is free.",
                SECONDS,
            ),
            Columns(
                {
                    "vm": "VM",
                    "role": "Role",
                    "thread": "Thread",
                    "site": "Site",
                    "blocked": "Sleeps",
                },
                {"Held for": SECONDS},
                sort="Held for",
                limits={"Held for": (LONG_HOLD_SECONDS, STUCK_SECONDS)},
            ),
            Query(f"{owner} {_S.select(names.OWNER_HELD)}"),
        ),
        grid(
            About(
                "VMs",
                "The chosen VMs: age, part of the time the lock is held, vCPU wait p99.",
                SECONDS,
            ),
            Columns(
                {"vm": "VM", "instance": "Exporter"},
                {"Age": SECONDS, "Lock held": SHARE, "vCPU wait p99": SECONDS},
                sort="Lock held",
                limits={"Lock held": (HELD_RATIO / 2, HELD_RATIO), "vCPU wait p99": _WAIT_LIMITS},
            ),
            Query(lasted),
            Query(f"max by (instance, vm) ({held})"),
            Query(_S.quantile(0.99, names.WAIT, _VCPU, by="instance, vm")),
        ),
    )
