# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorder preloaded into what is not a QEMU, or is one that it cannot record."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.qemu_vm import environment
from tests.support.qemus import QEMUS, qemu_id

TRUE = shutil.which("true") or "/bin/true"


def run(
    program: Path | str, directory: Path, **settings: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [program],
        env=environment(directory, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )


def probe(words: list[str], directory: Path) -> str:
    """What the library answers about the last program that `words` execute."""
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8") as answer:
        subprocess.run(
            words,
            env=environment(directory, BQLSCOPE_PROBE=str(writer)),
            pass_fds=[writer],
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=30,
        )
        os.close(writer)
        return answer.read().splitlines()[-1]


def test_another_program_does_not_notice(tmp_path: Path) -> None:
    done = run(TRUE, tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_qemu_without_the_symbols_says_so_and_runs(tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-unknown"
    shutil.copy(TRUE, program)
    done = run(program, tmp_path)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("bqlscope: this QEMU exports neither bql_mutex_lock_func nor ")
    assert line.endswith("'bqlscope attach' can read its sync-profile")
    assert probe([str(program)], tmp_path) == "qemu-system-unknown -"


@pytest.mark.qemu
@pytest.mark.parametrize("qemu", QEMUS, ids=qemu_id)
def test_the_symbol_of_a_qemu_behind_a_wrapper_script_is_found(qemu: Path, tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec "{qemu}" "$@"\n')
    wrapper.chmod(0o755)
    found = probe([str(wrapper), "--version"], tmp_path)
    expected = {"7": "qemu_bql_mutex_lock_func", "10": "bql_mutex_lock_func"}
    if qemu_id(qemu) in expected:
        assert found == f"qemu-system-x86_64 {expected[qemu_id(qemu)]}"
    else:
        assert found.endswith("bql_mutex_lock_func")
