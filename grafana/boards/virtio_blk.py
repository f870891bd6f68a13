# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-blk in the main loop against an iothread, side by side: the disk, the vCPUs, the lock.

The two are told apart by `variant`, a label of the target (its file_sd entry).
"""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from exporters import names
from grafana.board import Board, Panels, Row, choice, one_of
from grafana.panels import (
    BYTES_PER_SECOND,
    PER_SECOND,
    PLAIN,
    SECONDS,
    SHARE,
    About,
    Query,
    density,
    graph,
    number,
)
from grafana.promql import Scope
from grafana.thresholds import HELD_RATIO, IOTHREAD_RATE, WAIT_P99_SECONDS

_S = Scope("vm")
_VCPU, _MAIN, _IOTHREAD = 'role="vcpu"', 'role="main"', 'role="iothread"'
_VARIANTS = ("baseline", "candidate")
_ROLE = "{{variant}}: {{role}}"
_REQUEST, _DIRECTION = "{{variant}}: {{request}}", "{{variant}}: {{direction}}"


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="bqlscope-virtio-blk",
        title="bqlscope / virtio-blk: main loop or iothread",
        description="The same load in two placements, told apart by the target label variant. For"
        " a verdict with confidence intervals: bqlscope compare. Figures of disks are there for"
        " bqlscope's own VMM only; a QEMU's recording has none.",
        variables=(
            choice("vm", names.UP),
            one_of("baseline", "baseline", names.UP, "variant", "mainloop"),
            one_of("candidate", "candidate", names.UP, "variant", "iothread"),
        ),
        rows=(
            Row("Baseline and candidate", _numbers()),
            Row("What the disk gains", (*_disk(), *map(_latencies, _VARIANTS))),
            Row("What vCPUs gain", _vcpus()),
            Row("What the placement does to the lock", (*_lock(), *_lock_users())),
            Row("vCPU waits by length", tuple(map(_lengths, _VARIANTS))),
            Row("CPU", _cpu()),
        ),
    )


def _by_variant(metric: names.Metric, *matchers: str, suffix: str = "") -> str:
    return _S.total_rate(metric, *matchers, by="variant", suffix=suffix)


def _vcpu_share(*matchers: str) -> str:
    """Part of their time that vCPUs wait."""
    waiting = _by_variant(names.WAIT, _VCPU, *matchers, suffix="_sum")
    return f"{waiting} / sum by (variant) ({_S.select(names.THREADS, _VCPU, *matchers)})"


def _numbers() -> Panels:
    found: list[Builder[models.Panel]] = []
    for variable in _VARIANTS:
        which = f'variant="${variable}"'
        requests = _by_variant(names.BLK_REQUESTS, which)
        latency = _S.quantile(0.99, names.BLK_DURATION, which, by="variant")
        texts = (
            ("Disk requests", "Completed per second.", PER_SECOND, requests, ()),
            ("Disk latency p99", "99 of 100 requests take less.", SECONDS, latency, ()),
            (
                "vCPU time lost",
                "Part of its time that a vCPU waits for the lock, averaged over vCPUs.",
                SHARE,
                _vcpu_share(which),
                (0.02, 0.1),
            ),
            (
                "Lock held",
                "Part of the time in which somebody holds the lock.",
                SHARE,
                f"avg by (variant) ({_S.select(names.HELD_RATIO, which)})",
                (HELD_RATIO / 2, HELD_RATIO),
            ),
        )
        found += [
            number(
                About(f"{title}: ${variable}", description, unit, width=6, height=4),
                Query(expr, "{{variant}}"),
                limits,
            )
            for title, description, unit, expr, limits in texts
        ]
    return tuple(found)


def _disk() -> Panels:
    requests = _by_variant(names.BLK_REQUESTS)
    taken = _S.total_rate(names.ACQUISITIONS, by="variant, role")
    return (
        graph(
            About("Disk requests", "Completed per second.", PER_SECOND),
            Query(_S.total_rate(names.BLK_REQUESTS, by="variant, request"), _REQUEST),
        ),
        graph(
            About("Disk throughput", "Bytes read and written per second.", BYTES_PER_SECOND),
            Query(_S.total_rate(names.BLK_BYTES, by="variant, direction"), _DIRECTION),
        ),
        graph(
            About(
                "Disk latency",
                "Half and 99 % of the requests take less, from taking a batch off the ring to"
                " completing it.",
                SECONDS,
            ),
            Query(_S.quantile(0.5, names.BLK_DURATION, by="variant"), "{{variant}}: p50"),
            Query(_S.quantile(0.99, names.BLK_DURATION, by="variant"), "{{variant}}: p99"),
            log=True,
        ),
        graph(
            About(
                "Queue depth",
                "Requests in flight, as the last scrape met them.",
                PLAIN,
            ),
            Query(f"sum by (variant) ({_S.select(names.BLK_DEPTH)})", "{{variant}}"),
        ),
        graph(
            About(
                "Acquisitions of the lock per request",
                "By role. In an iothread a request costs none but those of the vCPU's kick.",
                PLAIN,
            ),
            Query(f"{taken} / on (variant) group_left () ({requests} > 0)", _ROLE),
        ),
        graph(
            About("Failed requests", "Nought is right.", PER_SECOND),
            Query(_by_variant(names.BLK_ERRORS), "{{variant}}"),
        ),
    )


def _latencies(variable: str) -> Builder[models.Panel]:
    counts = _S.total_rate(names.BLK_DURATION, f'variant="${variable}"', by="le", suffix="_bucket")
    return density(
        About(
            f"Disk latency: ${variable}",
            "Requests per second by how long they took.",
            SECONDS,
        ),
        Query(counts, "{{le}}"),
    )


def _vcpus() -> Panels:
    exits = _S.total_rate(names.VCPU_EXITS, by="variant, kind")
    return (
        graph(
            About(
                "vCPU time lost to the lock",
                "Part of its time that a vCPU waits for the lock: the number that moving the disk"
                " to an iothread is about.",
                SHARE,
            ),
            Query(_vcpu_share(), "{{variant}}"),
        ),
        graph(
            About(
                "vCPU wait p99",
                "99 of 100 acquisitions by vCPUs wait less.",
                SECONDS,
            ),
            Query(_S.quantile(0.99, names.WAIT, _VCPU, by="variant"), "{{variant}}"),
            log=True,
            limits=(WAIT_P99_SECONDS,),
        ),
        graph(
            About(
                "vCPU exits to user space",
                "With a guest that accesses devices as fast as it can, as the measuring guest does,"
                " pio is what it gets done beside the disk: more is better. mmio are the disk's"
                " kicks and interrupt registers.",
                PER_SECOND,
            ),
            Query(exits, "{{variant}}: {{kind}}"),
        ),
        graph(
            About(
                "Contended acquisitions by vCPUs",
                "Part of the acquisitions by vCPUs that found the lock taken.",
                SHARE,
            ),
            Query(
                f"{_by_variant(names.CONTENTIONS, _VCPU)}"
                f" / {_by_variant(names.ACQUISITIONS, _VCPU)}",
                "{{variant}}",
            ),
        ),
    )


def _lock() -> Panels:
    return (
        graph(
            About(
                "Main loop holds the lock",
                "Part of the time in which the main loop holds it. With the disk in the main loop"
                " this is where requests are processed; with an iothread little is left.",
                SHARE,
            ),
            Query(_by_variant(names.HOLD, _MAIN, suffix="_sum"), "{{variant}}"),
        ),
        graph(
            About(
                "Main loop hold p99",
                "99 of 100 holds by the main loop are shorter.",
                SECONDS,
            ),
            Query(_S.quantile(0.99, names.HOLD, _MAIN, by="variant"), "{{variant}}"),
            log=True,
        ),
    )


def _lock_users() -> Panels:
    everyone = _by_variant(names.ACQUISITIONS)
    return (
        graph(
            About(
                "Acquisitions by role",
                "How often each role takes the lock.",
                PER_SECOND,
            ),
            Query(_S.total_rate(names.ACQUISITIONS, by="variant, role"), _ROLE),
        ),
        graph(
            About(
                "Acquisitions by iothreads",
                "Nought is right: the data path of an iothread takes no big lock. IothreadTakesBql"
                f" fires beyond {IOTHREAD_RATE:g}/s.",
                PER_SECOND,
            ),
            Query(f"{_by_variant(names.ACQUISITIONS, _IOTHREAD)} or 0 * {everyone}", "{{variant}}"),
            limits=(IOTHREAD_RATE,),
        ),
        graph(
            About(
                "Whom vCPUs wait for",
                "vCPUs that wait at an average instant, by the role of the holder; handoff is"
                " waking up after the lock was free.",
                PLAIN,
                width=24,
            ),
            Query(
                _S.total_rate(names.BLOCKED, 'waiter_role="vcpu"', by="variant, holder_role"),
                "{{variant}}: {{holder_role}}",
            ),
        ),
    )


def _lengths(variable: str) -> Builder[models.Panel]:
    counts = _S.total_rate(names.WAIT, _VCPU, f'variant="${variable}"', by="le", suffix="_bucket")
    return density(
        About(
            f"vCPU waits by length: ${variable}",
            "Acquisitions per second by vCPUs, by how long they waited. The lowest row has those"
            " that found the lock free.",
            SECONDS,
        ),
        Query(counts, "{{le}}"),
    )


def _cpu() -> Panels:
    return (
        graph(
            About(
                "CPU by role",
                "CPUs used. An iothread is one more thread that wants one.",
                PLAIN,
            ),
            Query(_S.total_rate(names.THREAD_CPU, by="variant, role"), _ROLE),
        ),
        graph(
            About(
                "Waiting for a CPU by role",
                "Threads that could run and have no CPU, at an average instant. While this is"
                " high, differences between the placements are the scheduler's as well.",
                PLAIN,
            ),
            Query(_S.total_rate(names.THREAD_RUNQUEUE, by="variant, role"), _ROLE),
        ),
    )
