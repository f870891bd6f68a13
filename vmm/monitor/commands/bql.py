# SPDX-License-Identifier: GPL-2.0-or-later
"""The big lock itself: a command that QEMU does not have and cannot answer when it is needed."""

from typing import Any

from vmm.monitor.qapi import BOOL, INT, STR, Array, Command, Member, Struct, optional
from vmm.monitor.registry import Call

_WHO = (
    Member("thread", STR, "its name"),
    optional("thread-id", INT, "OS thread id, if it is recorded"),
    Member("role", STR, "`main`, `vcpu`, `iothread`, `vnc`, `migration`, `worker`, `rcu`, `other`"),
    Member("site", STR, "where it took the lock: the device, or function and place"),
)
_PARTY = Struct("BqlParty", _WHO, "A thread at a call site.")
_HOLDER = Struct(
    "BqlHolder",
    (
        *_WHO,
        Member("held-ns", INT, "for how long by now"),
        optional("blocked", STR, "what it sleeps for meanwhile: `gil`, `drain`, `file_io`, ..."),
        optional("blocked-ns", INT, "for how long by now"),
    ),
    "Who holds the lock.",
)
_BLAME = Struct(
    "BqlBlame",
    (
        Member("waiter", _PARTY),
        Member("holder", _PARTY),
        Member("count", INT, "waits"),
        Member("wait-ns", INT, "ns in all since the machine's start"),
    ),
    "Who made whom wait.",
)
_INFO = Struct(
    "BqlInfo",
    (
        Member("recording", BOOL, "acquisitions are recorded at this time"),
        optional("holder", _HOLDER, "absent while the lock is free"),
        Member("waiters", INT, "threads that wait for it"),
        Member("blame", Array(_BLAME), "the ten longest, longest first"),
    ),
)


def query_bql(call: Call) -> dict[str, Any]:
    """The lock as the recording shows it; takes no lock and may be run in any thread."""
    report = call.state.reports.read()
    answer = {
        "recording": report["enabled"],
        "waiters": report["waiters"],
        "blame": report["blame"],
    }
    return answer | ({"holder": report["holder"]} if report["holder"] is not None else {})


COMMANDS = (
    Command(
        "x-query-bql",
        query_bql,
        "Who holds the big lock, since when, and who made whom wait. Out of band it is answered"
        " while the lock is held.",
        returns=_INFO,
        oob=True,
        features=("unstable",),
    ),
)
