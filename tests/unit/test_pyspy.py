# SPDX-License-Identifier: GPL-2.0-or-later
"""py-spy as a program: found, refused, failing, and answering."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from profiler.stacks import pyspy
from profiler.stacks.dump import StackError
from profiler.stacks.pyspy import PySpy, find_pyspy, require_readable

Program = Callable[[str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A shell script in py-spy's place."""

    def make(script: str) -> Path:
        path = tmp_path / "bin" / "py-spy"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def test_the_program_beside_the_interpreter_is_preferred(program: Program, tmp_path: Path) -> None:
    path = program("true")
    assert find_pyspy(str(path.parent / "python"), "") == path
    assert find_pyspy(str(tmp_path / "nowhere" / "python"), str(path.parent)) == path


def test_without_the_program_one_line_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "py-spy").mkdir()  # a directory is no program
    with pytest.raises(StackError, match=r"^no py-spy here, so call sites only; .*pip install"):
        find_pyspy(str(tmp_path / "python"), "")


def test_the_installed_program_reads_this_process() -> None:
    require_readable(os.getpid())
    stacks = PySpy(find_pyspy()).dump(os.getpid())
    (ours,) = (stack for stack in stacks if stack.tid == os.getpid())
    assert any(frame.name.endswith("dump") for frame in ours.frames)


def test_native_stacks_are_asked_for_and_stop_the_process(program: Program, tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = program(f'echo "$@" >>{log}; echo "[]"')
    PySpy(path).dump(7)
    PySpy(path, native=True).dump(7)
    assert log.read_text().splitlines() == [
        "dump --json --nonblocking --pid 7",
        "dump --json --native --pid 7",
    ]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Permission Denied: Try sudo' >&2; exit 1", "no permission to read process 7, so"),
        (
            "printf 'Error: x\\n 0: Operation not permitted (os error 1)\\n' >&2; exit 1",
            "no permission",
        ),
        (
            "echo 'Error: Failed to find python version from target process' >&2; exit 1",
            "process 7 runs no Python that py-spy knows, so call sites only",
        ),
        ("echo '0: No such file or directory (os error 2)' >&2; exit 1", "process 7 has ended"),
        ("printf '\\nError: \\033[31mbad\\n' >&2; exit 1", "py-spy failed: .31mbad"),
        ("exit 3", "py-spy failed: it says nothing"),
        ("echo gibberish", "no list of threads"),
        ("kill -9 $$", "py-spy failed"),
    ],
)
def test_every_failure_is_one_line_with_the_way_out(
    program: Program, script: str, words: str
) -> None:
    with pytest.raises(StackError, match=words) as caught:
        PySpy(program(script)).dump(7)
    assert caught.value.message.isprintable()


def test_a_program_that_hangs_or_talks_without_end_is_given_up(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyspy, "TIMEOUT_SECONDS", 0.05)
    began = time.monotonic()
    with pytest.raises(StackError, match="no answer in"):
        PySpy(program("exec sleep 60")).dump(7)
    assert time.monotonic() - began < 30
    monkeypatch.setattr(pyspy, "TIMEOUT_SECONDS", 30)
    monkeypatch.setattr(pyspy, "LARGEST_ANSWER", 100)
    with pytest.raises(StackError, match="printed more than"):
        PySpy(program("head -c 1000 /dev/zero")).dump(7)


def test_a_program_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no such file"):
        PySpy(tmp_path / "none").dump(7)


def test_a_process_without_python_is_recognised_without_disturbing_it() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with pytest.raises(StackError, match=r"runs no Python \(a QEMU has none\)"):
                require_readable(process.pid)
        finally:
            process.kill()
    with pytest.raises(StackError, match="has ended"):
        require_readable(process.pid)


@pytest.mark.parametrize("yama", ["0\n", "1\n", None])
def test_a_process_that_may_not_be_read_says_what_is_missing(
    yama: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = tmp_path / "ptrace_scope"
    if yama is not None:
        scope.write_text(yama)
    monkeypatch.setattr(pyspy, "_YAMA", scope)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "maps").write_text("")

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StackError, match="no permission to read process 7") as caught:
        require_readable(7, proc=tmp_path)
    assert ("yama" in caught.value.message) == (yama == "1\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_the_kernel_refuses_what_py_spy_would_be_refused() -> None:
    script = f"import os; os.setuid(12345); os.open('/proc/{os.getpid()}/mem', os.O_RDONLY)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "PermissionError" in done.stderr
