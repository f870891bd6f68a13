# SPDX-License-Identifier: GPL-2.0-or-later
"""The page a person reads: 80 columns, plain words, no colours in a file."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from profiler.compare.blame_words import blame_lines, site_words
from profiler.compare.header import size_text
from profiler.compare.locks import BlamePair
from profiler.compare.page import print_page
from profiler.compare.placement import Placement
from profiler.compare.result import BlameShare, Result, build_result
from profiler.compare.statistics import Estimate, Ratio
from profiler.compare.table import (
    WIDTH,
    estimate_text,
    ratio_text,
)
from profiler.compare.text import factor, number
from profiler.compare.verdict import build_verdict
from tests.support.compare import (
    BASE_METRICS,
    FAST_METRICS,
    IOTHREAD,
    MAINLOOP,
    Q35,
    SMALL_HOST,
    make_locks,
    make_plan,
    make_qemu_plan,
    make_result,
    make_trials,
)

GOLDEN = """\
vmm        bqlscope 0, 2 vCPUs, 128M, virtio-mmio
host       kvm (/dev/kvm opens), nested: exits are slow; Linux 6.18.0, 2 CPUs
disk       temporary 256 MiB image, raw, O_DIRECT, aio=io_uring
workload   read 4 KiB, queue depth 32
irq        irqfd; iothreads poll up to 32768 ns
trials     5 each, interleaved, 1 s + 0.2 s warm-up

median [95 %]                   mainloop           iothread      times better
-----------------------------------------------------------------------------
disk requests, k/s         251 [246-259]      376 [368-387]   1.5 [1.45-1.54]
disk latency p50, µs       118 [116-122]   81.0 [79.4-83.4]   1.46 [1.41-1.5]
disk latency p99, µs       240 [235-247]      160 [157-165]   1.5 [1.46-1.55]
register reads, k/s     18.0 [17.6-18.5]   31.0 [30.4-31.9]  1.72 [1.67-1.77]
register read p50, µs   41.0 [40.2-42.2]   29.0 [28.4-29.9]  1.41 [1.37-1.46]
register read p99, µs      201 [197-207]    98.0 [96.0-101]  2.05 [1.99-2.11]
register read max, ms   0.90 [0.88-0.93]   0.31 [0.30-0.32]   2.9 [2.82-2.99]
vCPU waits for BQL, %   12.9 [12.6-13.3]  0.10 [0.098-0.10]     129 [125-133]
main loop holds, %      80.0 [78.4-82.4]   0.40 [0.39-0.41]     200 [194-206]
main loop hold p99, µs  97.0 [95.1-99.9]   3.00 [2.94-3.09]  32.3 [31.4-33.3]

who blocked whom, mainloop (sum of 5 trials)
  CPU 1 at serial (0x3f8) waited 415 ms:
     97 %  while the main loop held it in virtio-blk queue
      3 %  waking up after the lock was free
  CPU 0 at bqlscope-mark waited 1.00 ms:
    100 %  while CPU 1 held it in serial (0x3f8)

who blocked whom, iothread (sum of 5 trials)
  no vCPU waited for the BQL

Moving virtio-blk from mainloop to iothread pays: 1.5 times as many disk
requests per second [1.45-1.54], a p99 of register reads that is 2.05 times
shorter [1.99-2.11] and 129 times less waiting of vCPUs for the BQL [125-133].
Note: Up to 4 threads shared 2 CPUs: part of every wait is the scheduler, and a
host with a CPU for each thread may show other gains.
Note: The host is nested (kvm_pvm): a VM exit costs many times its price on
hardware; trust the ratios, not the absolute times.
"""


def page(result: Result, width: int = WIDTH) -> str:
    stream = io.StringIO()
    print_page(Console(file=stream, width=width), [(result, build_verdict(result))])
    return stream.getvalue()


def plain(text: str) -> list[str]:
    """Lines without trailing blanks; dashes in ASCII, as the golden text is kept."""
    text = text.replace("\N{EN DASH}", "-").replace("\N{BOX DRAWINGS LIGHT HORIZONTAL}", "-")
    return [line.rstrip() for line in text.splitlines()]


def test_the_page_is_the_golden_one() -> None:
    assert plain(page(make_result(host=SMALL_HOST))) == plain(GOLDEN)


def test_a_qemu_alone_tells_its_machine_and_where_its_interrupts_go() -> None:
    vmm = replace(Q35, arguments=("-cpu", "host,+x"))
    text = page(make_result(plan=make_qemu_plan(vmm=vmm)))
    assert "QEMU 10.0.2, q35, 2 vCPUs, 128M, virtio-pci, -cpu host,+x" in text
    assert "irq        irqfd; iothreads poll up to 32768 ns" in text
    text = page(make_result(plan=make_qemu_plan()))
    assert "irq        mainloop; iothreads poll" in text
    assert "disk       temporary 256 MiB image, raw, O_DIRECT, aio=native" in text
    assert "on PCI (--machine q35) they do not" in " ".join(text.split())


def test_on_a_narrow_terminal_no_interval_is_broken() -> None:
    text = page(make_result(host=SMALL_HOST), width=60)
    assert max(len(line) for line in text.splitlines()) <= 60
    assert all(line.count("[") == line.count("]") for line in text.splitlines())


def test_four_placements_with_long_names_fit_into_80_columns_without_colours() -> None:
    placements = (
        MAINLOOP,
        IOTHREAD,
        Placement("iothread", "mainloop"),
        Placement("iothread-vq-mapping", "mainloop"),
    )
    huge = {key: value * 12_345 for key, value in BASE_METRICS.items()}
    trials = [t for p in placements for t in make_trials(p, huge, locks=make_locks())]
    result = build_result(make_plan(placements, smp=16), SMALL_HOST, trials)
    text = page(result)
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert "\x1b" not in text
    assert text.count("median [95 %]") == 3
    assert text.count("who blocked whom") == 4


def test_what_was_not_measured_is_a_dash_and_blame_is_left_out() -> None:
    metrics = {key: FAST_METRICS[key] for key in ("iops", "blk_lat_p50_us", "blk_lat_p99_us")}
    trials = [t for p in (MAINLOOP, IOTHREAD) for t in make_trials(p, metrics)]
    text = page(build_result(make_plan(), SMALL_HOST, trials))
    (row,) = [line for line in text.splitlines() if line.startswith("register read p99")]
    assert row.split()[-3:] == ["-", "-", "-"]
    assert "who blocked whom" not in text


def test_the_four_longest_waits_are_told() -> None:
    pairs = [BlamePair("CPU 1", f"device {n}", "main loop", "x", 1e6 + n) for n in range(7)]
    trials = [
        *make_trials(MAINLOOP, BASE_METRICS, locks=make_locks(pairs)),
        *make_trials(IOTHREAD, BASE_METRICS, locks=make_locks(())),
    ]
    text = page(build_result(make_plan(), SMALL_HOST, trials))
    assert [n for n in range(7) if f"device {n} " in text] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1e-9, "<0.001"),
        (0.000741, "0.001"),
        (0.001234, "0.001"),
        (0.1234, "0.12"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (16119, "16100"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_factors_drop_trailing_zeroes() -> None:
    assert [factor(value) for value in (1.5, 2.0, 100.0, 0.5, 6154.0, 454124.0, math.inf)] == [
        "1.5",
        "2",
        "100",
        "0.5",
        "6,200",
        "450,000",
        "\N{INFINITY}",
    ]


def test_missing_and_infinite_values_have_a_text() -> None:
    assert estimate_text(Estimate(None, None, None), 1) == "-"
    assert ratio_text(Ratio(None, None, None)) == "-"
    assert estimate_text(Estimate(0.0, 0.0, 0.0), 1) == "0"
    assert ratio_text(Ratio(math.inf, math.inf, math.inf)) == "\N{INFINITY}"
    assert plain(ratio_text(Ratio(math.inf, 4.0, math.inf))) == ["\N{INFINITY} [4-\N{INFINITY}]"]


@pytest.mark.parametrize(("size", "text"), [(512, "512 B"), (4096, "4 KiB"), (1 << 20, "1 MiB")])
def test_sizes_are_in_the_largest_unit(size: int, text: str) -> None:
    assert size_text(size) == text


def test_qemus_main_loop_is_told_as_an_iteration_too() -> None:
    assert site_words("main-loop.c:308") == "one loop iteration (main-loop.c:308)"
    assert site_words("virtio-mmio[23] 0xfeb00e50") == "virtio-mmio[23] 0xfeb00e50"


def test_the_end_of_a_condition_wait_reads_as_a_time_and_not_as_a_place() -> None:
    site = "after a condition wait (cpus.c:463)"
    pair = BlameShare("CPU 1", site, "CPU 0", site, 1e6, 1e6, 1.0)
    assert [text for _, text in blame_lines([pair])] == [
        "CPU 1, after a condition wait (cpus.c:463), waited 1.00 ms:",
        "100 %  while CPU 0 held it after a condition wait (cpus.c:463)",
    ]


@pytest.mark.parametrize(
    ("holder", "words"),
    [
        ("main loop", " 25 %  while the main loop held it in poll"),
        ("handoff", " 25 %  waking up after the lock was free"),
        ("unknown", " 25 %  for a holder no longer on record"),
    ],
)
def test_blame_is_told_in_plain_words(holder: str, words: str) -> None:
    pair = BlameShare("CPU 1", "serial", holder, "poll", 1e6, 4e6, 0.25)
    assert blame_lines([pair]) == [(2, "CPU 1 at serial waited 4.00 ms:"), (4, words)]


def test_the_main_loops_own_line_is_told_as_an_iteration() -> None:
    words = site_words("main_loop_wait main_loop.c:23")
    assert words == "one loop iteration (main_loop.c:23)"


def test_a_part_that_rounds_to_nothing_is_left_out() -> None:
    parts = (("main loop", 9_990.0), ("CPU 0", 10.0))
    pairs = [BlameShare("CPU 1", "serial", who, "x", ns, 1e4, ns / 1e4) for who, ns in parts]
    assert [text for _, text in blame_lines(pairs)][1:] == [
        "100 %  while the main loop held it in x"
    ]
