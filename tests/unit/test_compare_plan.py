# SPDX-License-Identifier: GPL-2.0-or-later
"""Placements, order of trials and the child's command line."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from profiler.compare.own import drive_option
from profiler.compare.placement import Placement, PlanError, cross_placements
from profiler.compare.plan import Plan, rotation
from profiler.compare.vmm import TrialFiles
from profiler.compare.workload import Drive, Workload, parse_size
from tests.support.compare import IOTHREAD, MAINLOOP, OWN, make_plan


def test_several_irq_paths_multiply_the_iothread_placements_only() -> None:
    names = [p.name for p in cross_placements(["mainloop", "iothread"], ["irqfd", "mainloop"])]
    assert names == ["mainloop", "iothread", "iothread/irq=mainloop"]


def test_a_single_irq_path_holds_for_all_placements() -> None:
    names = [p.name for p in cross_placements(["vcpu", "iothread"], ["mainloop"])]
    assert names == ["vcpu/irq=mainloop", "iothread/irq=mainloop"]


@pytest.mark.parametrize(
    ("kinds", "irqs"), [(["iothred"], ["irqfd"]), (["mainloop"], ["msi"]), ([], ["irqfd"])]
)
def test_an_unknown_name_is_refused(kinds: list[str], irqs: list[str]) -> None:
    with pytest.raises(PlanError):
        cross_placements(kinds, irqs)


def test_each_round_runs_every_placement_once_and_starts_with_another() -> None:
    placements = (MAINLOOP, IOTHREAD, Placement("vcpu"))
    plan = make_plan(placements, trials=7)
    slots = list(rotation([plan]))
    rounds = [slots[start : start + 3] for start in range(0, 21, 3)]
    assert len(plan) == len(slots) == 21
    assert [slot.index for slot in slots] == list(range(21))
    assert all({slot.placement for slot in group} == set(placements) for group in rounds)
    assert all({slot.trial for slot in group} == {n} for n, group in enumerate(rounds))
    starts = Counter(group[0].placement for group in rounds)
    assert max(starts.values()) - min(starts.values()) <= 1


def test_placements_of_a_round_share_the_guest_seed() -> None:
    slots = list(rotation([make_plan(trials=3)]))
    assert [slot.seed for slot in slots] == [1, 1, 2, 2, 3, 3]


def arguments(placement: Placement) -> list[str]:
    plan = make_plan((placement, Placement("mainloop", "mainloop")))
    slot = next(rotation([plan]))
    return OWN.command(plan.job(slot), TrialFiles(Path("/r")))


def option(words: list[str], name: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == name]


DISK = "file=/nowhere/disk.raw,cache=none,aio=io_uring"


@pytest.mark.parametrize(
    ("placement", "drive", "objects"),
    [
        (MAINLOOP, f"{DISK},irq=irqfd", []),
        (Placement("vcpu"), f"{DISK},irq=irqfd,ioeventfd=off", []),
        (
            Placement("iothread", "mainloop"),
            f"{DISK},irq=mainloop,iothread=io0",
            ["iothread,id=io0,poll-max-ns=32768"],
        ),
        (
            Placement("iothread-vq-mapping"),
            f"{DISK},irq=irqfd,iothread-vq-mapping=io0+io1,num-queues=2",
            ["iothread,id=io0,poll-max-ns=32768", "iothread,id=io1,poll-max-ns=32768"],
        ),
    ],
)
def test_a_placement_becomes_drive_and_object_options(
    placement: Placement, drive: str, objects: list[str]
) -> None:
    words = arguments(placement)
    assert option(words, "--drive") == [drive]
    assert option(words, "--object") == objects


def test_the_guest_is_asked_for_marks_and_interrupts() -> None:
    (line,) = option(arguments(Placement("iothread-vq-mapping")), "--append")
    assert line == (
        "smp=2 rw=read iodepth=32 bs=4096 ms=1000 warmup_ms=200 queues=2 random=1 irq=1 seed=1 "
        "marks=1"
    )


def test_a_comma_in_the_path_is_doubled_and_a_readonly_image_stays_so() -> None:
    drive = Drive(Path("/a,b"), "writeback", readonly=True)
    assert drive_option(drive, MAINLOOP) == (
        "file=/a,,b,cache=writeback,aio=io_uring,readonly=on,irq=irqfd"
    )


@pytest.mark.parametrize(
    "field",
    [
        {"smp": 0},
        {"smp": 17},
        {"iodepth": 257},
        {"block_size": 1000},
        {"block_size": 2 << 20},
        {"rw": "erase"},
        {"duration": 0.0},
        {"duration": math.inf},
        {"duration": math.nan},
        {"warmup": math.inf},
        {"warmup": -1.0},
        {"poll_max_ns": -1},
        {"memory": "lots"},
        {"memory": "0M"},
    ],
)
def test_a_workload_out_of_range_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="--"):
        Workload(**field)


def test_a_plan_needs_two_different_placements_and_a_queue_for_each_iothread() -> None:
    drive = Drive(Path("x"), "none")
    for placements, trials in (
        ((MAINLOOP,), 5),
        ((MAINLOOP, MAINLOOP), 5),
        ((MAINLOOP, IOTHREAD), 0),
    ):
        with pytest.raises(PlanError):
            Plan(OWN, placements, Workload(), drive, trials)
    with pytest.raises(PlanError, match="at least 2"):
        Plan(OWN, (MAINLOOP, Placement("iothread-vq-mapping")), Workload(iodepth=1), drive)


@pytest.mark.parametrize(("text", "size"), [("512", 512), ("4k", 4096), ("1M", 1 << 20)])
def test_sizes_have_binary_suffixes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "4kk", "-1", "1.5k", "٣"])
def test_a_bad_size_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        parse_size(text)


def test_a_guest_that_asks_for_no_interrupts_is_told_so_and_has_a_plain_name() -> None:
    (placement, _) = cross_placements(["iothread", "mainloop"], ["none"])
    assert placement.name == "iothread"
    assert "irq=irqfd" in drive_option(Drive(Path("x"), "none"), placement)
    assert " irq=0 " in Workload().guest_parameters(placement, 1)


def test_no_interrupts_cannot_be_combined_with_an_interrupt_path() -> None:
    with pytest.raises(PlanError, match="stands alone"):
        cross_placements(["iothread"], ["none", "irqfd"])
