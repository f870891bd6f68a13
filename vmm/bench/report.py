# SPDX-License-Identifier: GPL-2.0-or-later
"""Benchmark results as tables of at most 80 columns."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vmm.bench.block import PLACEMENTS, BlockResult
from vmm.bench.exits import ExitsResult
from vmm.bench.qemu_recorder import QemuRecorderResult
from vmm.bench.statistics import Estimate, estimate

WIDTH = 80
BUSY = 0.5
"""Load average above which other processes are assumed to have taken part in the result."""
PLACEMENT_TITLES = {"mainloop": "main loop", "iothread": "iothread"}
VARIANT_TITLES = {
    "plain": "as it is",
    "recorded": "recorded by bqlscope qemu",
    "sync-profile": "with -enable-sync-profile",
}
REGISTER_TITLES = {
    "bqlscope-serial": "bqlscope, serial port",
    "qemu-serial": "QEMU, serial port",
    "bqlscope-c": "bqlscope, register in C",
    "bqlscope-python": "bqlscope, register in Python",
}


def print_to(console: Console, what: RenderableType) -> None:
    """Print, never wider than 80 columns."""
    console.print(what, width=min(console.width, WIDTH))


def _table(*columns: str) -> Table:
    # The title is a line of its own above: as a table's title it would be folded to its width.
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _thousands(value: Estimate) -> str:
    return f"{value.median / 1e3:.0f} k [{value.low / 1e3:.0f}–{value.high / 1e3:.0f}]"


def _factor(value: Estimate) -> str:
    return f"{value.median:.2f} [{value.low:.2f}–{value.high:.2f}]"


def _microseconds(value: Estimate) -> str:
    return f"{value.median / 1e3:.1f} [{value.low / 1e3:.1f}–{value.high / 1e3:.1f}]"


def _busy(load_average: float) -> str:
    return (
        f"the machine was busy (load average {load_average:.1f}): a VM's two threads lose more by "
        "that than fio's one"
    )


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _note(text: str) -> Text:
    return Text(text, style="dim")


def block_report(result: BlockResult) -> RenderableType:
    """Reads per second and the ratios, a line a placement."""
    plan = result.plan
    title = f"{plan.block_size} B random reads, depth {plan.depth}: reads per second"
    table = _table("queue in", "bqlscope", f"QEMU {result.qemu.version}", "ratio")
    for placement in PLACEMENTS:
        table.add_row(
            PLACEMENT_TITLES[placement],
            _thousands(estimate(result.iops[f"bqlscope-{placement}"])),
            _thousands(estimate(result.iops[f"qemu-{placement}"])),
            _factor(result.iops_ratio(placement)),
        )
    host = _table("fio io_uring on the host", "fio", "main loop / fio", "iothread / fio")
    for name, row in (("fio", "a request a call"), ("fio-batched", f"{plan.batch} a call")):
        ratios = (_factor(result.host_ratio(placement, name)) for placement in PLACEMENTS)
        host.add_row(row, _thousands(estimate(result.iops[name])), *ratios)
    note = f"{plan.trials} interleaved rounds; median [95 % interval]; ratios taken per round"
    notes = [_note(note)]
    if not result.direct:
        notes.append(_note("the file has no O_DIRECT: this measured the page cache"))
    if result.load_average > BUSY:
        notes.append(_note(_busy(result.load_average)))
    return Group(_title(title), table, Text(), host, *notes)


def exits_report(result: ExitsResult) -> RenderableType:
    """Latency of a register read, a line a register, and the ratios."""
    table = _table("register", "mean", "p50", "p99")
    for name, title in REGISTER_TITLES.items():
        mean, p50, p99 = (estimate(result.values(name, w)) for w in ("mean", "p50", "p99"))
        plain = (f"{value.median / 1e3:.1f}" for value in (p50, p99))
        table.add_row(title, _microseconds(mean), *plain)
    ratios = _table("ratio (below 1: the first is faster)", "of means", "of p50")
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
    return Group(
        _title("One PIO read as the guest sees it, in µs"), table, Text(), ratios, _note(note)
    )


def _percent(value: Estimate) -> str:
    return f"{value.median:+.1%} [{value.low:+.1%} to {value.high:+.1%}]".replace("%", " %")


def qemu_recorder_report(result: QemuRecorderResult) -> RenderableType:
    """What recording and sync-profile cost QEMU, a line each."""
    parts: list[RenderableType] = []
    for rate, title in (
        ("iops", "Disk reads, queue in the main loop"),
        ("accesses_per_s", "Reads of a serial port's register"),
    ):
        table = _table("QEMU", "per second", "slowdown [95 %]")
        for name, own in result.rates[rate].items():
            slowdown = "" if name == "plain" else _percent(result.slowdown(rate, name))
            table.add_row(VARIANT_TITLES[name], _thousands(estimate(own)), slowdown)
        parts += [_title(title), table, Text()]
    note = f"QEMU {result.qemu.version}; {result.plan.trials} interleaved rounds; ratios per round"
    parts.append(_note(note))
    if result.load_average > BUSY:
        parts.append(_note(f"the machine was busy (load average {result.load_average:.1f})"))
    return Group(*parts)


def recorder_report(figures: Mapping[str, Any]) -> RenderableType:
    """What recording adds to a lock pair, uncontended and contended."""
    pair = _table("", "ns")
    for title, key in (
        ("pthread mutex", "raw_pair_ns"),
        ("recorded", "recorded_pair_ns"),
        ("recording off", "off_pair_ns"),
        ("what recording adds", "overhead_ns"),
        ("one timestamp", "timestamp_ns"),
    ):
        pair.add_row(title, f"{figures[key]:.1f}")
    relation = f"added over two timestamps: {figures['overhead_over_two_timestamps']:.2f}"
    contended = _table("threads", "pthread mutex",
                       "recorded", "ratio")  # fmt: skip
    for threads, rates in figures["contended"].items():
        contended.add_row(
            threads,
            f"{rates['raw_pairs_per_s'] / 1e6:.1f} M",
            f"{rates['recorded_pairs_per_s'] / 1e6:.1f} M",
            f"{rates['recorded_over_raw']:.2f}",
        )
    return Group(
        _title("One uncontended lock and unlock"),
        pair,
        Text(relation),
        Text(),
        _title("Contended: pairs per second of all threads"),
        contended,
    )
