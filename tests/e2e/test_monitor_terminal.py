# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope monitor` as a person uses it: on a terminal, with a machine at the other end."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler.qemu.qmp import Qmp
from tests.support.monitors import MonitoredVm, monitored_vm
from tests.support.rig import somebody_listens, wait_until
from tests.support.tmux import Tmux

pytestmark = pytest.mark.kvm

MONITOR = (sys.executable, "-m", "profiler", "monitor")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[MonitoredVm]:
    with monitored_vm(tmp_path) as vm:
        yield vm


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Tmux]:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Tmux(width=80, height=40, environ=state) as tmux:
        yield tmux


def test_a_conversation(machine: MonitoredVm, terminal: Tmux, tmp_path: Path) -> None:
    terminal.run(*MONITOR, str(machine.socket))
    terminal.wait_for("(qmp)")
    terminal.type("query-statu", "Tab", "Enter")
    terminal.wait_for('"status": "running"')
    terminal.say("qom-get path=/objects/nosuch property=x")
    terminal.wait_for("Device '/objects/nosuch' not found")
    terminal.say("query-status oops")
    terminal.wait_for("expected key=value")
    terminal.say("set_password protocol=vnc password=secret")
    terminal.wait_for("Could not set password")
    terminal.type("half a li", "C-c")
    terminal.say("query-kvm")
    terminal.wait_for('"enabled": true')
    terminal.type("C-d")
    terminal.wait_for_prompt()
    history = tmp_path / "state" / "bqlscope" / "monitor_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "query-kvm" in history.read_text().splitlines()
    assert "secret" not in history.read_text()


def test_an_event_is_shown_in_the_middle_of_a_line(machine: MonitoredVm, terminal: Tmux) -> None:
    terminal.run(*MONITOR, str(machine.socket))
    terminal.wait_for("(qmp)")
    terminal.type("query-na")
    terminal.wait_for("(qmp) query-na")
    with machine.qmp() as other:
        other.execute("stop")
        lines = terminal.wait_for("STOP")
        assert "(qmp) query-na" in [line.rstrip() for line in lines]
        terminal.type("me", "Enter")
        terminal.wait_for('"name": "microguest"')
        other.execute("quit")
    terminal.wait_for("the monitor was closed")
    terminal.type("Enter")
    terminal.wait_for_prompt()


def test_the_human_monitor_on_a_terminal(machine: MonitoredVm, terminal: Tmux) -> None:
    terminal.run(*MONITOR, "-H", str(machine.socket))
    terminal.wait_for("(hmp)")
    terminal.type("info", "Space", "stat", "Tab", "Enter")
    terminal.wait_for("VM status: running")
    terminal.say("quit")
    terminal.wait_for_prompt()


def test_who_comes_while_the_lock_is_stuck_is_told_who_holds_it(
    terminal: Tmux, tmp_path: Path
) -> None:
    """A Python device sleeps under the lock for longer than anybody here waits."""
    path = tmp_path / "qmp"
    program = ("tests/support/slow_device.py", str(tmp_path / "r.bql"), "kvm", "600", str(path))
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, *program], cwd=root, env=environment)
    try:
        wait_until(lambda: somebody_listens(path), "the monitor")
        with Qmp(str(path)) as other:
            other.execute("cont")
            terminal.run(*MONITOR, str(path))
            terminal.wait_for("The main loop does not answer")
            terminal.wait_for("(qmp)")
            terminal.say('{"exec-oob": "x-query-bql"}')
            terminal.wait_for('"site": "slow-device"')
            terminal.type("C-d")
            terminal.wait_for_prompt()
    finally:
        process.kill()
        process.wait()
