# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the figures can be trusted, and what getting them costs."""

from exporters import names
from grafana.board import Board, Panels, Row, choice
from grafana.panels import (
    BYTES,
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
)
from grafana.promql import SCRAPE_DURATION, SCRAPE_SAMPLES, UP, WINDOW, Scope
from grafana.thresholds import EXPORTER_JOBS

_S = Scope("vm")
_LIVE, _DEAD = 'state="live"', 'state="dead"'
_EXPORTER = "{{instance}}"
_JOBS = f'job=~"{EXPORTER_JOBS}"'


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="bqlscope-health",
        title="bqlscope / Profiler health",
        description="Exporters and recorders themselves: do they see everything, and what do they"
        " cost?",
        variables=(choice("vm", names.UP),),
        rows=(
            Row("Now", _now()),
            Row("Recorders", _recorders()),
            Row("Exporters: what they cost", _cost()),
            Row("Exporters: what fails", _failures()),
            Row("What is what", _tables()),
        ),
    )


def _now() -> Panels:
    cpu = _S.total_rate(names.EXPORTER_CPU)
    lost = f"sum(increase({_S.select(names.RECORDING_LOST)}[{WINDOW}]))"
    silent = f"count({_S.select(UP, _JOBS)} == 0) or vector(0)"
    numbers: tuple[tuple[str, str, str, str, tuple[float, ...]], ...] = (
        ("Exporters that answer", "Of the chosen jobs.", PLAIN, f"sum({_S.select(UP, _JOBS)})", ()),
        ("Silent exporters", "ExporterStale fires after 2 minutes.", PLAIN, silent, (1,)),
        (
            "Live processes",
            "Recorded processes that live.",
            PLAIN,
            f"sum({_S.select(names.PROCESSES, _LIVE)})",
            (),
        ),
        (
            "Ended processes",
            "Processes that ended and are shown until their grace time is over.",
            PLAIN,
            f"sum({_S.select(names.PROCESSES, _DEAD)})",
            (),
        ),
        ("Lost records", "What recorders had no room for, of late.", PLAIN, lost, (1,)),
        ("CPU of exporters", "CPUs that the exporters use.", SHARE, cpu, (0.2, 0.5)),
    )
    return tuple(
        number(About(title, description, unit, width=4, height=4), Query(expr), limits)
        for title, description, unit, expr, limits in numbers
    )


def _recorders() -> Panels:
    return (
        graph(
            About(
                "Lost records",
                "What recorders had no room for, by what it was. Nought is right;"
                " RecorderDropsEvents fires at once.",
                PER_SECOND,
            ),
            Query(_S.total_rate(names.RECORDING_LOST, by="what"), "{{what}}"),
        ),
        graph(
            About(
                "Recording switched on",
                "1 while acquisitions of a VM are recorded. At 0 its counters stand still.",
                PLAIN,
            ),
            Query(_S.select(names.RECORDING_ENABLED), "{{vm}}, {{instance}}"),
            most=1,
        ),
        graph(
            About(
                "Holds spent waiting for Python's lock",
                "Part of the time in which the holder of the big lock waits for the interpreter"
                " lock: the instrument's own bias in VMMs with Python in them.",
                SHARE,
            ),
            Query(_S.total_rate(names.GIL_WAIT, by="vm, role"), "{{vm}}: {{role}}"),
        ),
        graph(
            About(
                "Rows copied per scrape",
                "Rows of recordings that a scrape copies; rows of threads at rest are not copied"
                " again. Unsettled ones changed during every attempt.",
                PLAIN,
            ),
            Query(f"{_per_scrape(names.ROWS_READ)}", "copied, {{instance}}"),
            Query(f"{_per_scrape(names.ROWS_UNSETTLED)}", "unsettled, {{instance}}"),
        ),
    )


def _per_scrape(metric: names.Metric) -> str:
    scrapes = _S.total_rate(names.RESPONSES, by="instance")
    return f"{_S.total_rate(metric, by='instance')} / {scrapes}"


def _cost() -> Panels:
    return (
        graph(
            About(
                "Scrape duration",
                "As Prometheus sees it, transfer included. Beyond its scrape_timeout there are no"
                " figures at all.",
                SECONDS,
            ),
            Query(_S.select(SCRAPE_DURATION, _JOBS), _EXPORTER),
        ),
        graph(
            About(
                "Collectors",
                "How long each collector took in the last scrape, the slowest exporter.",
                SECONDS,
            ),
            Query(f"max by (collector) ({_S.select(names.COLLECTOR_SECONDS)})", "{{collector}}"),
            stacked=True,
        ),
        graph(
            About(
                "Writing a scrape",
                "Time to write a scrape in the format that was asked for, after collecting.",
                SECONDS,
            ),
            Query(
                f"{_S.total_rate(names.RENDER_SECONDS, by='format')}"
                f" / ({_S.total_rate(names.RESPONSES, by='format')} > 0)",
                "{{format}}",
            ),
        ),
        graph(
            About("Size of a scrape", "Before compression.", BYTES),
            Query(_per_scrape(names.RESPONSE_BYTES), _EXPORTER),
        ),
        graph(
            About(
                "Samples per scrape",
                "What a scrape adds to Prometheus. It grows with roles × call sites.",
                PLAIN,
            ),
            Query(_S.select(SCRAPE_SAMPLES, _JOBS), _EXPORTER),
        ),
        graph(
            About("Memory of exporters", "Resident.", BYTES),
            Query(_S.select(names.EXPORTER_MEMORY), _EXPORTER),
        ),
    )


def _failures() -> Panels:
    return (
        graph(
            About(
                "Failures",
                "By reason: damaged recordings, foreign ones, unreadable threads, slow or broken"
                " clients, refused connections, bugs.",
                PER_SECOND,
            ),
            Query(_S.total_rate(names.FAILURES, by="reason"), "{{reason}}"),
        ),
        graph(
            About(
                "Collectors that succeed",
                "1 if a collector got everything it looked for in the last scrape.",
                PLAIN,
            ),
            Query(
                f"min by (instance, collector) ({_S.select(names.COLLECTOR_SUCCESS)})",
                "{{collector}}, {{instance}}",
            ),
            most=1,
        ),
    )


def _tables() -> Panels:
    return (
        grid(
            About(
                "Processes",
                "clock is what times are measured with; gil whether that Python has an interpreter"
                " lock, empty for a VMM without Python.",
                PLAIN,
                width=14,
            ),
            Columns(
                {
                    "vm": "VM",
                    "instance": "Exporter",
                    "process": "Process",
                    "pid": "PID",
                    "clock": "Clock",
                    "python": "Python",
                    "gil": "GIL",
                },
                {"Up": PLAIN},
            ),
            Query(
                f"{_S.select(names.PROCESS)} * on (job, instance, vm) group_left ()"
                f" {_S.select(names.UP)}"
            ),
        ),
        grid(
            About(
                "Hosts",
                "nested: the host is a guest itself without hardware help, and exits are slow.",
                SECONDS,
                width=10,
            ),
            Columns(
                {
                    "instance": "Exporter",
                    "version": "bqlscope",
                    "kernel": "Kernel",
                    "cpus": "CPUs",
                    "kvm": "KVM",
                    "nested": "Nested",
                },
                {"Exporter's age": SECONDS},
            ),
            Query(
                f"{_S.select(names.HOST)} * on (job, instance) group_left (version)"
                f" {_S.select(names.BUILD)} * on (job, instance) group_left ()"
                f" (time() - {_S.select(names.EXPORTER_START)})"
            ),
        ),
    )
