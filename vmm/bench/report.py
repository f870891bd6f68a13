# SPDX-License-Identifier: GPL-2.0-or-later
"""Benchmark results as tables of at most 80 columns."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vmm.bench.block import PLACEMENTS, BlockResult
from vmm.bench.exits import ExitsResult
from vmm.bench.statistics import Estimate, estimate

WIDTH = 80
PLACEMENT_TITLES = {"mainloop": "main loop", "iothread": "iothread"}
REGISTER_TITLES = {
    "bqlscope-serial": "bqlscope, serial port (C)",
    "qemu-serial": "QEMU, serial port (C)",
    "bqlscope-c": "bqlscope, scratch register (C)",
    "bqlscope-python": "bqlscope, scratch register (Python)",
}


def print_to(console: Console, what: RenderableType) -> None:
    """Print, never wider than 80 columns."""
    console.print(what, width=min(console.width, WIDTH))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _thousands(value: Estimate) -> str:
    return f"{value.median / 1e3:.0f} k [{value.low / 1e3:.0f}–{value.high / 1e3:.0f}]"


def _factor(value: Estimate) -> str:
    return f"{value.median:.2f} [{value.low:.2f}–{value.high:.2f}]"


def _microseconds(value: Estimate) -> str:
    return f"{value.median / 1e3:.1f} [{value.low / 1e3:.1f}–{value.high / 1e3:.1f}]"


def _note(text: str) -> Text:
    return Text(text, style="dim")


def block_report(result: BlockResult) -> RenderableType:
    """Reads per second and the ratios, a line a placement."""
    plan = result.plan
    title = f"{plan.block_size} B random reads, depth {plan.depth}: reads per second"
    table = _table(title, "queue in", "bqlscope", f"QEMU {result.qemu.version}", "ratio")
    for placement in PLACEMENTS:
        table.add_row(
            PLACEMENT_TITLES[placement],
            _thousands(estimate(result.iops[f"bqlscope-{placement}"])),
            _thousands(estimate(result.iops[f"qemu-{placement}"])),
            _factor(result.iops_ratio(placement)),
        )
    best = result.best_placement()
    host = (
        f"fio io_uring on the host {_thousands(estimate(result.iops['fio']))}; "
        f"bqlscope ({PLACEMENT_TITLES[best]}) over host: {_factor(result.host_ratio(best))}"
    )
    note = f"{plan.trials} interleaved rounds; median [95 % interval]; ratios taken per round"
    if not result.direct:
        note += "; the file has no O_DIRECT: this measured the page cache"
    return Group(table, Text(host), _note(note))


def exits_report(result: ExitsResult) -> RenderableType:
    """Latency of a register read, a line a register, and the ratios."""
    table = _table("One PIO read as the guest sees it, in us", "register", "mean", "p50", "p99")
    for name, title in REGISTER_TITLES.items():
        cells = [
            _microseconds(estimate(result.values(name, which))) for which in ("mean", "p50", "p99")
        ]
        table.add_row(title, *cells)
    ratios = _table("Ratios (below 1: the first is faster)", "", "of means", "of p50")
    for title, top, bottom in (
        (f"bqlscope / QEMU {result.qemu.version}, serial", "bqlscope-serial", "qemu-serial"),
        ("Python register / QEMU serial", "bqlscope-python", "qemu-serial"),
        ("Python register / C register", "bqlscope-python", "bqlscope-c"),
    ):
        means, medians = (result.ratio(top, bottom, which) for which in ("mean", "p50"))
        ratios.add_row(title, _factor(means), _factor(medians))
    note = (
        f"{result.plan.trials} interleaved rounds of {result.plan.reads} reads; "
        "median [95 % interval]"
    )
    return Group(table, ratios, _note(note))


def recorder_report(figures: Mapping[str, Any]) -> RenderableType:
    """What recording adds to a lock pair, uncontended and contended."""
    pair = _table("One uncontended lock and unlock", "", "ns")
    for title, key in (
        ("pthread mutex", "raw_pair_ns"),
        ("recorded", "recorded_pair_ns"),
        ("recording off", "off_pair_ns"),
        ("what recording adds", "overhead_ns"),
        ("one timestamp", "timestamp_ns"),
    ):
        pair.add_row(title, f"{figures[key]:.1f}")
    relation = f"added over two timestamps: {figures['overhead_over_two_timestamps']:.2f}"
    contended = _table("Contended: pairs per second of all threads", "threads", "pthread mutex",
                       "recorded", "ratio")  # fmt: skip
    for threads, rates in figures["contended"].items():
        contended.add_row(
            threads,
            f"{rates['raw_pairs_per_s'] / 1e6:.1f} M",
            f"{rates['recorded_pairs_per_s'] / 1e6:.1f} M",
            f"{rates['recorded_over_raw']:.2f}",
        )
    return Group(pair, Text(relation), contended)
