# SPDX-License-Identifier: GPL-2.0-or-later
"""Who makes whom wait: the exact split of every wait among those who held the lock meanwhile."""

from exporters import names
from grafana.board import Board, Panels, Row, choice
from grafana.panels import (
    PLAIN,
    SECONDS,
    SHARE,
    About,
    Columns,
    Query,
    graph,
    grid,
    matrix,
    number,
    ranking,
)
from grafana.promql import Scope, largest

_S = Scope("vm", waiter_role="role")
_HANDOFF, _UNKNOWN = 'holder_role="handoff"', 'holder_role="unknown"'
_NOT_A_HOLDER = 'holder_role=~"handoff|unknown"'
_HOLDER = 'holder_role!~"handoff|unknown"'


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="bqlscope-blame",
        title="bqlscope / Blame",
        description="Waiting time by waiter and holder. All holders of a waiter, handoff and"
        " unknown add up to its waits.",
        variables=(
            choice("vm", names.UP),
            choice("role", names.BLOCKED, 'vm=~"$vm"', label="waiter", from_label="waiter_role"),
        ),
        rows=(
            Row("How much", _numbers()),
            Row("Who makes whom wait", _pairs()),
            Row("Over time", _time()),
            Row("Why they hold it so long", _why()),
        ),
    )


def _blocked(*matchers: str, by: str = "") -> str:
    return _S.total_rate(names.BLOCKED, *matchers, by=by)


def _numbers() -> Panels:
    everything = _blocked()
    return (
        number(
            About(
                "Threads waiting",
                "Seconds waited per second by the chosen waiters: how many wait at an average"
                " instant.",
                PLAIN,
                width=6,
                height=4,
            ),
            Query(_blocked()),
        ),
        number(
            About(
                "Waiting for a holder",
                "Part of the waiting time in which somebody held the lock. Only this can be won by"
                " moving work out of it.",
                SHARE,
                width=6,
                height=4,
            ),
            Query(f"{_blocked(_HOLDER)} / {everything}"),
        ),
        number(
            About(
                "Waking up",
                "Part of the waiting time in which the lock was free and the waiter still waking"
                " up (handoff). On a host with too few CPUs this is the scheduler.",
                SHARE,
                width=6,
                height=4,
            ),
            Query(f"{_blocked(_HANDOFF)} / {everything}"),
        ),
        number(
            About(
                "Unknown",
                "Part of the waiting time whose holder the recorder had forgotten.",
                SHARE,
                width=6,
                height=4,
            ),
            Query(f"{_blocked(_UNKNOWN)} / {everything}"),
            (0.01, 0.1),
        ),
    )


def _pairs() -> Panels:
    pairs = _blocked(by="waiter_role, holder_role, holder_site")
    return (
        matrix(
            About(
                "Waiter × holder",
                "Seconds waited per second. Lines are waiters, columns who held the lock meanwhile;"
                " handoff is nobody.",
                PLAIN,
                width=10,
                height=9,
            ),
            "waiter_role",
            "holder_role",
            "Waiter",
            Query(_blocked(by="waiter_role, holder_role")),
        ),
        grid(
            About(
                "Pairs",
                "Seconds waited per second, and the part of the waiter's whole waiting time.",
                PLAIN,
                width=14,
                height=9,
            ),
            Columns(
                {
                    "waiter_role": "Waiter",
                    "holder_role": "Holder",
                    "holder_site": "Holder's site",
                },
                {"Threads waiting": PLAIN, "Part of its waits": SHARE},
                sort="Threads waiting",
            ),
            Query(pairs),
            Query(
                f"{pairs} / on (waiter_role) group_left () {_blocked(by='waiter_role')}",
            ),
        ),
        ranking(
            About(
                "Holder's sites to blame",
                "Seconds that others waited per second while the lock was held here: moving this"
                " work out of the lock is what pays most.",
                PLAIN,
                width=24,
            ),
            Query(largest(_blocked(_HOLDER, by="holder_site")), "{{holder_site}}"),
        ),
    )


def _time() -> Panels:
    return (
        graph(
            About(
                "Waits by holder",
                "Threads that wait at an average instant, by the role of the holder.",
                PLAIN,
            ),
            Query(_blocked(by="holder_role"), "{{holder_role}}"),
            stacked=True,
        ),
        graph(
            About(
                "Waits by holder's site",
                "The same by the place where the holder took the lock, the ten largest.",
                PLAIN,
            ),
            Query(largest(_blocked(by="holder_site")), "{{holder_site}}"),
        ),
        graph(
            About(
                "Unexplained part",
                "Waking up and unknown as parts of the waiting time, by waiter.",
                SHARE,
            ),
            Query(
                f"{_blocked(_NOT_A_HOLDER, by='waiter_role, holder_role')}"
                f" / on (waiter_role) group_left () {_blocked(by='waiter_role')}",
                "{{waiter_role}}: {{holder_role}}",
            ),
            most=1,
        ),
        graph(
            About(
                "Wait p99 of the waiters",
                "Dots are the longest waits so far; their tid is the OS thread to look at.",
                SECONDS,
            ),
            Query(
                Scope("vm", "role").quantile(0.99, names.WAIT, by="role"),
                "{{role}}",
                exemplars=True,
            ),
            log=True,
        ),
    )


def _why() -> Panels:
    return (
        graph(
            About(
                "Holders asleep, by reason",
                "Part of the time in which the holder slept with the lock held: in a drain, a join,"
                " a file, or waiting for Python's interpreter lock (gil).",
                SHARE,
            ),
            Query(_S.total_rate(names.HELD_WHILE_BLOCKED, by="reason"), "{{reason}}"),
            stacked=True,
        ),
        graph(
            About(
                "Holders asleep, by site",
                "The same by the place where the lock was taken, the ten largest.",
                SHARE,
            ),
            Query(
                f"topk(10, {_S.total_rate(names.HELD_WHILE_BLOCKED, by='site, reason')})",
                "{{site}}: {{reason}}",
            ),
        ),
    )
