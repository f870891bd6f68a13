# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope top` as a user sees it: in a terminal, beside a machine under load."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rig import wait_until
from tests.support.tmux import Tmux
from tests.support.vm import ROOT, Vm, environment, start_vm

LOAD = "mode=blk iodepth=4 ms=3600000 hammer=pio:0x3fd:1 think_ns=50000"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[0-7]m")
TOP = (sys.executable, "-m", "profiler", "top")


def machine(accel: str, runtime: Path) -> Iterator[Vm]:
    options = ("--kernel", "micro", "--accel", accel, "--smp", "2", "--append", LOAD)
    with start_vm(*options, "--drive", "driver=null,size=16M", runtime=runtime) as vm:
        vm.wait_until_running()
        yield vm


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Vm]:
    yield from machine("kvm", tmp_path / "run")


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Vm]:
    yield from machine("qtest", tmp_path / "run")


def top(runtime: Path, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*TOP, *options],
        env=environment(runtime),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    return done


def pid_of(vm: Vm) -> str:
    return str(vm.process.pid)


def terminal(vm: Vm, width: int = 80, height: int = 24, **environ: str) -> Tmux:
    return Tmux(width, height, {**environment(vm.runtime), **environ})


def assert_left(tmux: Tmux, status: int) -> None:
    """The shell's own screen is back, and the status is this."""
    tmux.wait_for_prompt()  # what is typed before belongs to top
    tmux.say("echo status $?")
    tmux.wait_for(f"status {status}")


@pytest.mark.kvm
def test_the_screen_of_a_guest_is_driven_by_keys(guest: Vm) -> None:
    with terminal(guest) as tmux:
        tmux.run(*TOP, pid_of(guest), "--interval", "0.2")
        lines = tmux.wait_until(
            lambda lines: (
                any("serial" in line for line in lines[10:])
                and any("▁" in line[40:] or "█" in line[40:] for line in lines[1:3])
            ),
            "the site of the serial port and a sparkline",
        )
        assert f"pid {guest.process.pid}, 2 vCPUs" in lines[0]
        assert lines[3].startswith("now  ")
        tmux.type("2")
        tmux.wait_for("CPU 1/KVM")
        tmux.type("h")
        tmux.wait_for("hold%▼")
        tmux.type("Space")
        frozen = tmux.wait_for("FROZEN")
        tmux.type("3")
        tmux.wait_until(lambda lines: "thread, tid" not in "".join(lines), "another tab")
        tmux.type("2")
        assert tmux.wait_for("CPU 1/KVM") == frozen
        tmux.type("Space")
        tmux.wait_until(lambda lines: "FROZEN" not in lines[0] and lines != frozen, "to go on")
        tmux.type("?")
        tmux.wait_for("Keys and columns")
        tmux.type("q")
        assert_left(tmux, 0)


@pytest.mark.kvm
def test_the_end_of_the_guest_is_told_and_its_last_picture_stays(guest: Vm) -> None:
    with terminal(guest) as tmux:
        tmux.run(*TOP, str(guest.process.pid), "--interval", "0.2")
        tmux.wait_until(lambda lines: any("serial" in line for line in lines[10:]), "some load")
        guest.process.kill()
        guest.finish()
        lines = tmux.wait_for("The process has ended")
        assert lines[0].rstrip().endswith("ENDED")
        assert any("serial" in line for line in lines[10:])
        tmux.type("2", "Space", "w")
        tmux.wait_for("CPU 1/KVM")
        tmux.type("q")
        assert_left(tmux, 0)


def test_a_resized_terminal_is_filled_again(vm: Vm) -> None:
    with terminal(vm) as tmux:
        tmux.run(*TOP, pid_of(vm), "--interval", "0.2")
        tmux.wait_until(lambda lines: " q quit" in lines[-1], "the last line at the bottom")
        tmux.resize(150, 40)
        lines = tmux.wait_until(
            lambda lines: len(lines) == 40 and "p99" in lines[5] and " q quit" in lines[-1],
            "a wide screen",
        )
        assert "p99" in lines[5]
        tmux.resize(50, 9)
        tmux.wait_until(lambda lines: len(lines) == 9 and " 1 sites" in lines[-1], "a tiny screen")
        tmux.type("C-c")
        assert_left(tmux, 0)


def assert_sane(tmux: Tmux) -> None:
    tmux.say("clear; stty -a | tr ' ' '\\n' | grep -cxE 'echo;?|icanon;?'")
    tmux.wait_until(lambda lines: "2" in lines, "echo and line editing")
    tmux.say("printf 'cursor\\n'")
    tmux.wait_until(lambda lines: "cursor" in lines, "what is typed")


def test_a_stopped_top_gives_the_terminal_back_and_comes_again(vm: Vm) -> None:
    with terminal(vm) as tmux:
        tmux.run(*TOP, pid_of(vm), "--interval", "0.2")
        tmux.wait_for("bqlscope top")
        tmux.type("C-z")
        tmux.wait_for("Stopped")
        tmux.wait_for_prompt()
        assert_sane(tmux)
        tmux.say("clear; fg")
        tmux.wait_until(lambda lines: lines[0].startswith("bqlscope top"), "the screen")
        tmux.type("q")
        assert_left(tmux, 0)
        assert_sane(tmux)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_a_sane_terminal(vm: Vm, number: signal.Signals, tmp_path: Path) -> None:
    with terminal(vm) as tmux:
        written = tmp_path / "pid"
        tmux.run("sh", "-c", 'echo $$ >"$0"; exec "$@"', str(written), *TOP, pid_of(vm))
        tmux.wait_for("bqlscope top  ")
        pid = int(written.read_text())
        os.kill(pid, number)
        assert_left(tmux, 128 + number)
        assert_sane(tmux)


FAILS = """
import sys
from profiler import cli
from profiler.errors import RecordingError
from profiler.top.sampler import Sampler

sample = Sampler.sample
calls = []

def sometimes(sampler):
    calls.append(1)
    if len(calls) == 3:
        raise {error}
    return sample(sampler)

Sampler.sample = sometimes
sys.exit(cli.main(["top", "{pid}", "--interval", "0.2"]))
"""


@pytest.mark.parametrize("error", ["RecordingError('it is damaged')", "ZeroDivisionError()"])
def test_an_error_leaves_a_sane_terminal_and_is_readable(
    vm: Vm, error: str, tmp_path: Path
) -> None:
    script = tmp_path / "fails.py"
    script.write_text(FAILS.format(error=error, pid=pid_of(vm)))
    with terminal(vm, PYTHONPATH=str(ROOT)) as tmux:
        tmux.run(sys.executable, str(script))
        tmux.wait_for("it is damaged" if "damaged" in error else "ZeroDivisionError")
        tmux.wait_for_prompt()
        assert_sane(tmux)


def test_a_terminal_that_goes_away_ends_top(vm: Vm, tmp_path: Path) -> None:
    written = tmp_path / "pid"
    with terminal(vm) as tmux:
        tmux.run("sh", "-c", 'echo $$ >"$0"; exec "$@"', str(written), *TOP, pid_of(vm))
        tmux.wait_for("bqlscope top  ")
    proc = Path("/proc") / written.read_text().strip()
    wait_until(lambda: not proc.exists(), "the end of top")


def test_keys_come_from_the_terminal_even_if_standard_input_does_not(vm: Vm) -> None:
    with terminal(vm) as tmux:
        tmux.say(f"{sys.executable} -m profiler top {pid_of(vm)} --interval 0.2 </dev/null")
        tmux.wait_for("bqlscope top  ")
        tmux.type("q")
        assert_left(tmux, 0)


def test_no_colour_is_drawn_where_none_is_wanted(vm: Vm) -> None:
    with terminal(vm, NO_COLOR="1") as tmux:
        tmux.run(*TOP, pid_of(vm), "--interval", "0.2")
        tmux.wait_for("bqlscope top  ")
        assert not COLOUR.search("\n".join(tmux.lines(colours=True)))
        tmux.type("q")
    with terminal(vm) as tmux:
        tmux.run(*TOP, pid_of(vm), "--interval", "0.2")
        tmux.wait_for("bqlscope top  ")
        assert COLOUR.search("\n".join(tmux.lines(colours=True)))


def test_a_dumb_terminal_gets_one_plain_picture_after_the_other(vm: Vm) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*TOP, pid_of(vm), "--interval", "0.1"],
        env={**environment(vm.runtime), "TERM": "dumb"},
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
    )
    os.close(theirs)
    text = b""
    while text.count(b"bqlscope top") < 2:
        text += os.read(ours, 65536)
    process.terminate()
    process.wait(timeout=30)
    os.close(ours)
    assert b"\x1b" not in text


def test_once_prints_one_interval_as_text_or_json(vm: Vm) -> None:
    assert vm.runtime is not None
    text = top(vm.runtime, pid_of(vm), "--once", "--interval", "0.2").stdout
    assert text.count("bqlscope top") == 1
    assert "serial" in text
    assert "\x1b" not in text
    document = json.loads(
        top(vm.runtime, "--once", "--json", "--interval", "0.2", pid_of(vm)).stdout
    )
    assert document["pid"] == vm.process.pid
    assert 0.2e9 <= document["interval_ns"] < 20e9
    assert 0 <= document["held_ratio"] <= 1
    assert any(site["name"] == "serial" for site in document["sites"])


def test_json_lines_go_on_until_the_process_ends(vm: Vm) -> None:
    command = [*TOP, pid_of(vm), "--json", "--interval", "0.1"]
    process = subprocess.Popen(
        command, env=environment(vm.runtime), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = [json.loads(process.stdout.readline()) for _ in range(3)]
    vm.process.kill()
    vm.finish()
    rest = process.communicate(timeout=30)[0].splitlines()
    assert all(line["alive"] for line in first)
    assert not json.loads(rest[-1])["alive"]
    assert process.returncode == 0


def test_several_recorded_processes_are_listed(vm: Vm) -> None:
    assert vm.runtime is not None
    for other in machine("qtest", vm.runtime):
        told = top(vm.runtime, "--once", status=2).stderr
        assert f"{vm.process.pid} (microguest)" in told
        assert f"{other.process.pid} (microguest)" in told
        assert told.count("\n") == 1


def test_a_process_that_has_ended_has_a_summary_and_no_top(vm: Vm) -> None:
    assert vm.runtime is not None
    vm.process.kill()
    vm.finish()
    told = top(vm.runtime, str(vm.process.pid), status=2).stderr
    assert "has ended; 'bqlscope summary " in told
    assert told.count("\n") == 1
