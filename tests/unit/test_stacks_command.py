# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope stacks` and `bqlscope flame` on recordings and dumps whose content is known."""

import json
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from profiler import cli
from profiler.commands import stacks as command
from profiler.commands.durations import Duration
from profiler.stacks.dump import StackError, ThreadStack
from profiler.stacks.store import append_dump, stacks_path
from tests.support.dumps import make_dump
from tests.support.recordings import example, written_by_us

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return example(ticks_per_ns=1.0).write(tmp_path / "r.bql")


def run(*arguments: str, status: int = 0) -> None:
    assert cli.main(list(arguments)) == status


def test_without_dumps_there_are_call_sites_and_one_line(recording: Path, capsys: Capture) -> None:
    run("stacks", str(recording))
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("no Python stacks beside this recording, so call sites only")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "longest when dumps thread call site"
    assert lines[1].startswith("7.02 µs at ")
    assert lines[1].endswith("main (qemu-system-x86) os_host_main_loop_wait main-loop.c:301")


def test_the_worst_hold_comes_first_with_its_stack_and_waiters(
    recording: Path, capsys: Capture
) -> None:
    append_dump(recording, make_dump(held_ns=12_000_000, hold_ticks=0, same=False, threads=()))
    append_dump(recording, make_dump(hold_ticks=50_000_000))
    run("stacks", str(recording))
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0].startswith("1. held 50 ms by main (qemu-system-x86) in os_host_main_loop_wait")
    assert lines[1:5] == [
        "     slept for a drain when it was looked at",
        "     flush  dev/disk.py:7",
        "     run    loop.py:3",
        "     made wait: CPU 1/KVM at serial for 20 µs",
    ]
    assert lines[6].startswith("2. held at least 12 ms by main")
    assert lines[8:10] == [
        "     it was over before the stack was read: this may be what came next",
        "     it ran no Python then",
    ]


def test_the_json_has_dumps_and_longest_holds(recording: Path, capsys: Capture) -> None:
    append_dump(recording, make_dump())
    with stacks_path(recording).open("a") as file:
        file.write("nonsense\n")
    run("stacks", str(recording), "--json", "-")
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["skipped_lines"]) == (1, 1)
    assert document["dumps"][0]["hold_ns"] == 50_000_000
    assert document["longest_holds"][0]["dumps"] == 1


def test_lines_of_no_use_are_told(recording: Path, capsys: Capture) -> None:
    append_dump(recording, make_dump())
    append_dump(recording, make_dump(start_time=1))
    run("stacks", str(recording), "--rows", "1")
    assert "1 lines of" in capsys.readouterr().err


def test_only_a_running_process_is_watched(recording: Path, capsys: Capture) -> None:
    run("stacks", str(recording), "--watch", status=2)
    assert capsys.readouterr().err == (
        "bqlscope: process 4000001 has ended: --watch needs a running one\n"
    )


def test_without_py_spy_watching_is_refused_in_one_line(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise StackError("no py-spy here, so call sites only")

    monkeypatch.setattr(command, "find_pyspy", missing)
    with written_by_us(example(), tmp_path / "r.bql"):
        run("stacks", str(tmp_path / "r.bql"), "--watch", status=2)
    assert capsys.readouterr().err == "bqlscope: no py-spy here, so call sites only\n"


class FailingPySpy:
    """A py-spy that never succeeds."""

    def __init__(self, program: Path, native: bool) -> None:
        self.native = native

    def dump(self, pid: int) -> tuple[ThreadStack, ...]:
        raise StackError(f"py-spy failed: process {pid} moved")


def test_watching_goes_on_after_a_failure_and_gives_up_after_three(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PySpy", FailingPySpy)
    build = example(ticks_per_ns=1.0)
    build.hold_now(0, 1)
    with written_by_us(build, tmp_path / "r.bql"):
        run("stacks", str(tmp_path / "r.bql"), "--watch", "--every", "0.1s", status=2)
    err = capsys.readouterr().err.splitlines()
    assert [line for line in err if "py-spy failed" in line] == err[1:]
    assert len(err) == 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10ms", 0.01), ("500us", 5e-4), ("500 µs", 5e-4), ("1.5s", 1.5), ("2M", 120.0), ("7", 7.0)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ms", "10 parsecs", "-1s", "1e3s", "0", "9" * 400, "\u0661s"])
def test_what_is_no_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.UsageError):
        Duration().convert(text, None, None)


def test_the_flame_graph_is_folded_on_standard_output(recording: Path, capsys: Capture) -> None:
    append_dump(recording, make_dump(waited=20_000))
    run("flame", str(recording), "-o", "-")
    lines = capsys.readouterr().out.splitlines()
    waits = "vcpu;CPU 1/KVM;mmio_read physmem.c:2874;serial;[blocked by]"
    holds = "main;qemu-system-x86;os_host_main_loop_wait main-loop.c:301"
    assert f"{waits};{holds};run loop.py:3;flush disk.py:7 20" in lines
    assert f"{waits};{holds} 65" in lines


def test_an_estimate_is_called_one(recording: Path, tmp_path: Path) -> None:
    append_dump(recording, make_dump())
    run("flame", str(recording), "-o", str(tmp_path / "w.svg"), "--spread")
    assert "an estimate" in (tmp_path / "w.svg").read_text()


@pytest.mark.parametrize(("name", "start"), [("w.svg", "<?xml"), ("w.html", "<!DOCTYPE html>")])
def test_the_name_of_the_file_chooses_the_format(
    name: str, start: str, recording: Path, tmp_path: Path
) -> None:
    run("flame", str(recording), "-o", str(tmp_path / name))
    text = (tmp_path / name).read_text()
    assert text.startswith(start)
    assert "serial" in text
    if name == "w.svg":
        ElementTree.fromstring(text.encode())


def test_an_unknown_name_needs_a_format(recording: Path, tmp_path: Path, capsys: Capture) -> None:
    run("flame", str(recording), "-o", str(tmp_path / "w.png"), status=2)
    assert "name it .svg, .html or .folded" in capsys.readouterr().err
    run("flame", str(recording), "-o", str(tmp_path / "w.png"), "--format", "folded")
    assert "[blocked by]" in (tmp_path / "w.png").read_text()
