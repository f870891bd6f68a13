# SPDX-License-Identifier: GPL-2.0-or-later
"""Several VMMs in one run: one rotation, one table, a verdict each, files that do not collide."""

import io
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from profiler.compare.own import OwnVmm
from profiler.compare.page import print_page, print_verdicts
from profiler.compare.placement import Placement
from profiler.compare.plan import Plan, rotation
from profiler.compare.progress import Lines
from profiler.compare.result import Result, build_result
from profiler.compare.runner import Runner
from profiler.compare.table import WIDTH, shared_name
from profiler.compare.verdict import build_verdict
from tests.support import fake_recorder, fake_vmm
from tests.support.compare import (
    BASE_METRICS,
    BIG_HOST,
    FAST_METRICS,
    IOTHREAD,
    MAINLOOP,
    MICROVM,
    OWN,
    Q35,
    SMALL_HOST,
    make_locks,
    make_plan,
    make_qemu_plan,
    make_result,
    make_trials,
)

GOLDEN = """\
host       kvm (/dev/kvm opens); Linux 6.18.0, 8 CPUs
guest      2 vCPUs, 128M; iothreads poll up to 32768 ns
disk       temporary 256 MiB image, raw, O_DIRECT
workload   read 4 KiB, queue depth 32
bqlscope   0, virtio-mmio, irq irqfd, aio=io_uring
QEMU       10.0.2, q35, virtio-pci, irq irqfd, aio=native
trials     5 each, interleaved, 1 s + 0.2 s warm-up

median [95 %]                   mainloop           iothread       times better
------------------------------------------------------------------------------
disk requests, k/s
  bqlscope               251 [246-259]      376 [368-387]  1.5 [1.45-1.54]
  QEMU                   251 [246-259]      251 [246-259]    1 [0.97-1.03]
"""


def page(*results: Result, width: int = WIDTH) -> str:
    stream = io.StringIO()
    judged = [(result, build_verdict(result)) for result in results]
    print_page(Console(file=stream, width=width), judged)
    return stream.getvalue()


def squeezed(text: str) -> list[str]:
    """Lines with single blanks, dashes in ASCII, and without rules."""
    text = text.replace("\N{EN DASH}", "-").replace("\N{BOX DRAWINGS LIGHT HORIZONTAL}", "-")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line.strip("-")]


def three_placements(plan: Plan) -> Result:
    trials = [
        trial
        for placement in plan.placements
        for trial in make_trials(placement, BASE_METRICS, locks=make_locks(), vmm=plan.key)
    ]
    return build_result(plan, BIG_HOST, trials)


def test_one_rotation_runs_every_vmm_with_every_placement() -> None:
    plans = [make_plan(trials=8), make_qemu_plan(trials=8)]
    slots = list(rotation(plans))
    places = [(slot.vmm, slot.placement.kind) for slot in slots]
    assert [slot.index for slot in slots] == list(range(32))
    assert set(Counter(places).values()) == {8}
    for start in range(0, 32, 4):
        assert len(set(places[start : start + 4])) == 4
        assert len({slot.seed for slot in slots[start : start + 4]}) == 1
    assert set(Counter(places[::4]).values()) == {2}  # each goes first equally often
    assert slots[2].name == "qemu mainloop"


def test_all_vmms_share_a_table_and_state_what_differs() -> None:
    text = page(make_result(), make_result(BASE_METRICS, plan=make_qemu_plan(vmm=Q35)))
    lines = squeezed(text)
    assert lines[: len(squeezed(GOLDEN))] == squeezed(GOLDEN)
    assert text.count("median [95 %]") == 1
    assert text.count("  bqlscope ") == text.count("  QEMU ") == 10
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    for name in ("bqlscope mainloop", "bqlscope iothread", "QEMU mainloop", "QEMU iothread"):
        assert f"who blocked whom, {name} (sum of 5 trials)" in text


def test_each_vmm_has_its_verdict_against_its_own_baseline() -> None:
    text = " ".join(page(make_result(), make_result(BASE_METRICS, plan=make_qemu_plan())).split())
    assert "bqlscope: Moving virtio-blk from mainloop to iothread pays: 1.5 times" in text
    assert "QEMU: Moving virtio-blk from mainloop to iothread: no difference that 5" in text


def test_a_note_that_holds_for_all_stands_once_and_others_name_their_vmm() -> None:
    own = make_result(host=SMALL_HOST)
    qemu = make_result(host=SMALL_HOST, plan=make_qemu_plan())
    text = " ".join(page(own, qemu).split())
    assert text.count("Note: The host is nested") == 1
    assert text.count("Note: QEMU: virtio-mmio has no irqfd here") == 1
    assert (
        "The VMMs differ in interrupt path (irqfd against mainloop) and backend (io_uring against "
        "native): compare the ratios"
    ) in text
    assert "differ in transport (virtio-mmio against virtio-pci) and backend" in " ".join(
        page(own, make_result(plan=make_qemu_plan(vmm=Q35))).split()
    )


def test_equal_circumstances_need_no_note() -> None:
    same = replace(MICROVM, aio="io_uring")
    own = make_plan(OWN.placements(["mainloop", "iothread"], ["mainloop"]))
    judged = [
        (result, build_verdict(result))
        for result in (make_result(plan=own), make_result(plan=make_qemu_plan(vmm=same)))
    ]
    stream = io.StringIO()
    print_verdicts(Console(file=stream, width=WIDTH), judged)
    assert "differ" not in stream.getvalue()


def test_several_candidates_are_a_table_each_even_on_a_narrow_terminal() -> None:
    kinds = ("mainloop", "vcpu", "iothread-vq-mapping")
    results = [
        three_placements(make_plan(vmm.placements(kinds, ()), vmm=vmm)) for vmm in (OWN, MICROVM)
    ]
    for width in (WIDTH, 60):
        text = page(*results, width=width)
        assert text.count("times better") + text.count("times\n") >= 2
        assert max(len(line) for line in text.splitlines()) <= width
    assert "iothread-vq-mapping" in page(*results)


def test_a_column_is_named_by_the_kind_where_the_names_differ() -> None:
    with_path = Placement("iothread", "mainloop")
    assert shared_name([with_path, with_path]) == "iothread/irq=mainloop"
    assert shared_name([with_path, Placement("iothread", "mainloop", "mainloop")]) == "iothread"


def test_trials_of_another_vmm_do_not_count() -> None:
    plan, other = make_plan(), make_qemu_plan()
    trials = [
        *make_trials(MAINLOOP, BASE_METRICS),
        *make_trials(IOTHREAD, FAST_METRICS),
        *make_trials(other.placements[0], FAST_METRICS, vmm="qemu"),
        *make_trials(other.placements[1], BASE_METRICS, vmm="qemu"),
    ]
    assert build_result(plan, BIG_HOST, trials).ratios["iothread"]["iops"].value > 1  # type: ignore[operator]
    assert build_result(other, BIG_HOST, trials).ratios["iothread"]["iops"].value < 1  # type: ignore[operator]


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """One trial of both VMMs' stand-ins."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    python, directory = sys.executable, str(tmp_path)
    recorder = (python, "-m", fake_recorder.__name__, "ok", directory)
    own = OwnVmm((python, fake_vmm.__file__, "ok", directory), "0")
    return [make_plan(trials=1, vmm=own), make_qemu_plan(1, replace(MICROVM, recorder=recorder))]


def test_kept_files_and_progress_name_the_vmm(tmp_path: Path, plans: list[Plan]) -> None:
    keep, log = tmp_path / "keep", io.StringIO()
    keep.mkdir()
    runner = Runner(plans, lambda _recording, _window: make_locks(), keep=keep)
    trials = runner.run(Lines(Console(file=log)))
    assert [trial.slot.vmm for trial in trials] == ["bqlscope", "bqlscope", "qemu", "qemu"]
    names = {path.name for path in keep.iterdir()}
    for stem in ("bqlscope-mainloop", "bqlscope-iothread", "qemu-mainloop", "qemu-iothread"):
        assert {f"{stem}-trial1-{part}" for part in ("recording.bql", "child.log")} <= names
    assert len(names) == 2 * 5 + 2 * 6  # QEMU's have the names of its regions too
    assert log.getvalue().splitlines()[3] == "[4/4] qemu iothread trial 1: 376000 requests/s"
