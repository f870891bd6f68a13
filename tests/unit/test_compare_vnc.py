# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing where the screen is encoded: plan, command line, viewers, figures, words."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from profiler.commands.compare_output import build_document
from profiler.compare.page import print_page
from profiler.compare.placement import Placement, PlanError, cross_placements
from profiler.compare.plan import Plan, rotation
from profiler.compare.result import build_result
from profiler.compare.saved import load_comparison
from profiler.compare.trial import TrialError, screen_metrics
from profiler.compare.verdict import build_verdict, busy_threads
from profiler.compare.vmm import TrialFiles
from profiler.compare.workload import Drive, Workload
from tests.support import fake_screen
from tests.support.compare import (
    BASE_METRICS,
    BIG_HOST,
    FAST_METRICS,
    MICROVM,
    OWN,
    make_locks,
    make_result,
    make_trials,
)

ROOT = Path(__file__).resolve().parents[2]
WORKER, MAINLOOP = Placement("vnc-worker"), Placement("vnc-mainloop")
SCREEN = {"vnc_updates_per_s": 30.0, "vnc_bytes_per_s": 4e6}


def plan(clients: int = 4, **work: Any) -> Plan:
    drive = Drive(Path("/nowhere/disk.raw"), "none", temporary=True)
    return Plan(OWN, (MAINLOOP, WORKER), Workload(vnc_clients=clients, **work), drive)


def watched_result() -> Any:
    slow = make_trials(MAINLOOP, {**BASE_METRICS, **SCREEN}, locks=make_locks())
    fast = make_trials(WORKER, {**FAST_METRICS, **SCREEN}, locks=make_locks(()))
    return build_result(plan(), BIG_HOST, [*slow, *fast])


def test_placements_of_the_screen_have_the_disk_on_an_iothread_and_their_encoder() -> None:
    worker, mainloop = cross_placements(["vnc-worker", "vnc-mainloop"], ["irqfd", "mainloop"])
    assert (worker.name, worker.encoder, worker.iothreads) == ("vnc-worker", "worker", ("io0",))
    assert (mainloop.name, mainloop.encoder) == ("vnc-mainloop", "mainloop")
    assert Placement("iothread").encoder is None


def test_placements_of_disk_and_screen_do_not_mix() -> None:
    with pytest.raises(PlanError, match="do not go with"):
        cross_placements(["vnc-worker", "mainloop"], ["irqfd"])


def test_qemu_has_no_such_choice() -> None:
    with pytest.raises(PlanError, match="always encodes in its vnc_worker"):
        MICROVM.placements(["vnc-worker", "vnc-mainloop"], [])


def test_a_screen_nobody_watches_is_not_compared() -> None:
    with pytest.raises(PlanError, match="--vnc-clients"):
        plan(clients=0)


@pytest.mark.parametrize("clients", [-1, 33])
def test_an_absurd_number_of_viewers_is_refused(clients: int) -> None:
    with pytest.raises(PlanError, match="--vnc-clients must be 0 to 32"):
        Workload(vnc_clients=clients)


def test_the_vcpu_that_draws_must_fit_too() -> None:
    with pytest.raises(PlanError, match="a further vCPU draws"):
        Workload(smp=16, vnc_clients=1)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(PlanError, match="--vnc-encoding must be one of raw, hextile"):
        Workload(vnc_encoding="vp9")
    with pytest.raises(PlanError, match="--vnc-draw must be one of text, scroll"):
        Workload(vnc_draw="cats")


def test_the_machine_starts_paused_behind_the_viewers_and_the_guest_draws() -> None:
    chosen = plan(vnc_encoding="zrle")
    slot = next(rotation([chosen]))
    words = OWN.command(chosen.job(slot), TrialFiles(Path("/r")))
    assert words[1:7] == ["-m", "profiler.compare.viewers", "4", "16", "/r/vnc", "/r/qmp"]
    assert words[words.index("--vnc") + 1] == "unix:/r/vnc"
    assert words[words.index("--vnc-encode") + 1] == "mainloop"
    assert words[words.index("--qmp") + 1] == "unix:/r/qmp"
    assert "-S" in words
    assert words[words.index("--append") + 1].endswith(" draw=1 draw_cpu=2 draw_kind=text")
    assert words[words.index("--append") + 1].startswith("smp=3 ")
    assert words[words.index("--smp") + 1] == "3"
    assert words[words.index("--drive") + 1].endswith(",iothread=io0")


def test_viewers_are_a_load_for_placements_of_a_disk_too() -> None:
    drive = Drive(Path("/nowhere/disk.raw"), "none")
    chosen = Plan(OWN, cross_placements(["mainloop", "iothread"], ["irqfd"]), Workload(), drive)
    slot = next(rotation([chosen]))
    assert "--vnc" not in OWN.command(chosen.job(slot), TrialFiles(Path("/r")))
    busy = Plan(OWN, chosen.placements, Workload(vnc_clients=1), drive)
    words = OWN.command(busy.job(slot), TrialFiles(Path("/r")))
    assert words[words.index("--vnc-encode") + 1] == "worker"


def test_a_viewer_gets_the_average_of_all() -> None:
    clients = [
        {"updates": 60, "bytes": 1_000_000, "connected_ns": 2_000_000_000},
        {"updates": 20, "bytes": 3_000_000, "connected_ns": 1_000_000_000},
    ]
    found = screen_metrics({"clients": clients})
    assert found == {"vnc_updates_per_s": 25.0, "vnc_bytes_per_s": 1_750_000.0}


@pytest.mark.parametrize(
    "screen", [{}, {"clients": []}, {"clients": [3]}, {"clients": [{"updates": "many"}]}]
)
def test_a_server_that_tells_nothing_useful_fails_the_trial(screen: dict[str, Any]) -> None:
    with pytest.raises(TrialError):
        screen_metrics(screen)


def test_the_page_and_the_verdict_speak_of_the_screen() -> None:
    result = watched_result()
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_page(console, [(result, build_verdict(result))])
    console.file.close()
    text = console.export_text()
    assert "Moving VNC encoding from vnc-mainloop to vnc-worker pays" in text
    assert "4 VNC viewers of text, tight" in text
    assert "3 vCPUs" in text
    assert "screen updates, 1/s" in text
    assert max(map(len, text.splitlines())) <= 80
    assert busy_threads(result) == 3 + 1 + 1 + 2


def test_lines_about_a_screen_are_left_out_where_there_was_none() -> None:
    result = make_result()
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_page(console, [(result, build_verdict(result))])
    console.file.close()
    assert "screen" not in console.export_text()
    document = build_document([(result, build_verdict(result))], [])
    assert "vnc_updates_per_s" not in json.dumps(document)


def test_a_saved_comparison_of_screens_can_be_read_again(tmp_path: Path) -> None:
    result = watched_result()
    document = build_document([(result, build_verdict(result))], [])
    (tmp_path / "compare.json").write_text(json.dumps(document))
    (again,) = load_comparison(tmp_path).results
    assert again.plan.workload == result.plan.workload
    assert again.estimates == result.estimates
    for key in ("vnc_clients", "vnc_encoding", "vnc_draw"):
        del document["workload"][key]
    document["placements"] = (
        {  # as it was before there were screens
            name.removeprefix("vnc-"): {**own, "config": {**own["config"], "kind": name[4:]}}
            for name, own in (("vnc-mainloop", document["placements"]["vnc-mainloop"]),)
        }
        | {"iothread": {**document["placements"]["vnc-worker"]}}
    )
    document["placements"]["iothread"]["config"]["kind"] = "iothread"
    document["baseline"] = "mainloop"
    document["blame"] = {"mainloop": [], "iothread": []}
    (tmp_path / "compare.json").write_text(json.dumps(document))
    (old,) = load_comparison(tmp_path).results
    assert old.plan.workload.vnc_clients == 0


def run_viewers(
    directory: Path, behaviour: str, clients: int = 3
) -> subprocess.CompletedProcess[str]:
    sockets = [str(directory / "vnc"), str(directory / "qmp")]
    fake = [sys.executable, fake_screen.__file__, behaviour, *sockets, str(directory / "notes")]
    wrapper = [sys.executable, "-m", "profiler.compare.viewers", str(clients), "16", *sockets]
    return subprocess.run(
        [*wrapper, *fake], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_viewers_ask_for_everything_let_the_guest_run_and_end_with_its_status(
    tmp_path: Path,
) -> None:
    done = run_viewers(tmp_path, "ok")
    assert done.returncode == 7, done.stderr
    seen = json.loads((tmp_path / "notes").read_text())
    assert len(seen) == 3
    for viewer in seen:
        assert viewer["shared"] == 1
        assert viewer["encodings"] == [16, -313]
        assert viewer["updates"] == [150, 1, 0, 0, 640, 480]
        assert viewer["request"] == [3, 0, 0, 0, 640, 480]


def test_a_server_that_wants_a_password_is_told_in_one_line(tmp_path: Path) -> None:
    done = run_viewers(tmp_path, "password", 1)
    assert done.returncode == 1
    assert done.stderr.strip() == "viewers: the VNC server wants a password"


def test_a_machine_that_does_not_start_gives_its_own_status(tmp_path: Path) -> None:
    assert run_viewers(tmp_path, "dead").returncode == 3
