# SPDX-License-Identifier: GPL-2.0-or-later
"""Running QEMU as if we were not there, with shell scripts in QEMU's place."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler.errors import UserError
from profiler.qemu.launch import Child, Exit

PYTHON = sys.executable


def run(*words: str, tick: Callable[[int], object] = lambda _pid: None) -> Exit:
    with Child(words, os.environ) as child:

        def ticking() -> float:
            tick(child.pid)
            return 0.01

        return child.run(ticking)


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_the_exit_status_is_the_programs(status: int) -> None:
    ended = run("sh", "-c", f"exit {status}")
    assert (ended, ended.code) == (Exit(status, None), status)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_deadly_signal_is_told_as_shells_do(number: signal.Signals) -> None:
    ended = run("sh", "-c", f"kill -{int(number)} $$")
    assert (ended, ended.code) == (Exit(None, number), 128 + number)
    assert ended.to_json() == {"status": None, "signal": number}


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(UserError, match="apt install qemu-system-x86") as caught:
        run("/none/qemu-system-x86_64")
    assert caught.value.exit_code == 3


def test_a_program_that_cannot_run_is_one_line(tmp_path: Path) -> None:
    script = tmp_path / "qemu"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match="permission denied") as caught:
        run(str(script))
    assert caught.value.exit_code == 2


TRAP = 'trap "exit 40" TERM; trap "exit 41" INT; trap "exit 42" USR1; echo $$ >"$0.ready"; ' + (
    "while :; do sleep 0.05; done"
)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 40), (signal.SIGINT, 41), (signal.SIGUSR1, 42)]
)
def test_a_signal_by_kill_is_passed_on(tmp_path: Path, number: int, status: int) -> None:
    ready = tmp_path / "x.ready"
    sent = False

    def tick(_pid: int) -> None:
        nonlocal sent
        if not sent and ready.exists():
            sent = True
            os.kill(os.getpid(), number)

    assert run("sh", "-c", TRAP, str(tmp_path / "x"), tick=tick).code == status


def test_what_is_passed_on_is_handled_again_afterwards_as_before() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    run("true")
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


def test_a_signal_that_comes_when_the_program_has_ended_hurts_nobody() -> None:
    with Child(["true"], os.environ) as child:
        child.run(lambda: 0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


def test_the_program_starts_with_the_callers_mask_and_default_sigpipe(tmp_path: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
    try:
        # Not Python, nor a shell: both change what they find.
        run("cp", "/proc/self/status", str(tmp_path / "s"))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGWINCH])
    lines = (tmp_path / "s").read_text().splitlines()
    fields = dict(line.split() for line in lines if line.startswith("Sig"))
    assert int(fields["SigBlk:"], 16) == 1 << (signal.SIGWINCH - 1)
    ignored = int(fields["SigIgn:"], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))
    assert not ignored & (1 << (signal.SIGXFSZ - 1))


def test_an_ignored_sigchld_does_not_cost_the_exit_status() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run("sh", "-c", "exit 9").code == 9
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_stopped_program_stops_nothing_here() -> None:
    ticks = 0

    def tick(pid: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 1:
            os.kill(pid, signal.SIGSTOP)
        elif ticks > 1 and _state(pid) == "T":
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)

    assert run("sleep", "60", tick=tick).signal == signal.SIGTERM
    assert ticks > 1


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


LAUNCHER = """
import os, sys
from profiler.qemu.launch import Child
with Child(sys.argv[1:], os.environ) as child:
    sys.exit(child.run(lambda: 0.05).code)
"""

COUNTER = """
import os, signal, sys, time
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(10 + len(seen)))
assert os.getpgid(0) == os.getpgid(os.getppid()) and os.getsid(0) == os.getsid(os.getppid())
print("ready", flush=True)
while not seen:
    time.sleep(0.01)
print("seen", flush=True)
while True:
    time.sleep(0.01)
"""


def test_ctrl_c_on_a_terminal_reaches_the_program_once() -> None:
    """A second one would come before the SIGTERM by kill, which is what ends it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(PYTHON, [PYTHON, "-c", LAUNCHER, PYTHON, "-c", COUNTER])
    try:
        _read_until(terminal, b"ready")
        os.write(terminal, b"\x03")
        _read_until(terminal, b"seen")
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 11
    finally:
        os.close(terminal)


def test_ctrl_z_stops_both_and_continuing_goes_on() -> None:
    script = "import os, sys; print('ready', flush=True); sys.exit(len(sys.stdin.readline()))"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(PYTHON, [PYTHON, "-c", LAUNCHER, PYTHON, "-c", script])
    try:
        _read_until(terminal, b"ready")
        # An orphaned process group cannot be stopped by its terminal: SIGSTOP is as good here.
        os.killpg(pid, signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        os.killpg(pid, signal.SIGCONT)
        os.write(terminal, b"four\n")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 5
    finally:
        os.close(terminal)


def _read_until(terminal: int, word: bytes) -> None:
    seen = b""
    deadline = time.monotonic() + 30
    while word not in seen and time.monotonic() < deadline:
        seen += os.read(terminal, 1024)
    assert word in seen


def test_standard_streams_pass_through_untouched() -> None:
    done = subprocess.run(
        [PYTHON, "-c", LAUNCHER, "sh", "-c", "cat; echo err >&2"],
        input=b"\x00bytes\xff",
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"\x00bytes\xff", b"err\n")


def test_a_thread_that_was_there_before_does_not_swallow_signals(tmp_path: Path) -> None:
    ready, sent, over = tmp_path / "x.ready", False, threading.Event()
    thread = threading.Thread(target=over.wait)  # its signal mask is open
    thread.start()

    def tick(_pid: int) -> None:
        nonlocal sent
        if not sent and ready.exists():
            sent = True
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        assert run("sh", "-c", TRAP, str(tmp_path / "x"), tick=tick).code == 40
    finally:
        over.set()
        thread.join()


def test_threads_of_imported_libraries_take_no_signals() -> None:
    script = (
        "from profiler.qemu.launch import signals_blocked\n"
        "import glob, signal, profiler.commands.qemu, sys\n"
        "assert 'numpy' not in sys.modules\n"
        "with signals_blocked():\n"
        "    import profiler.commands.qemu_run\n"
        "for status in glob.glob('/proc/self/task/*/status'):\n"
        "    mask = next(l for l in open(status) if l.startswith('SigBlk'))\n"
        "    print(int(mask.split()[1], 16) >> (signal.SIGTERM - 1) & 1)\n"
    )
    out = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True).stdout
    masked = out.split()
    assert masked.count("0") == 1  # the main thread
