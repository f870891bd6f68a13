# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope qemu` where there is nothing to record: one line each, and the right exit status."""

import os
import subprocess
from pathlib import Path

import pytest

from profiler import cli
from profiler.preload import library_path
from profiler.qemu.probe import probe
from profiler.qemu.socket_dir import SocketDirectory


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    assert cli.main(["qemu", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_missing_qemu_names_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, "--", "/none/qemu-system-x86_64", "-m", "64", status=3)
    assert "apt install qemu-system-x86" in error


def test_the_dashes_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "/none/qemu-system-x86_64", "-m", "64", "--json", status=3)


def test_a_program_without_the_lock_is_pointed_at_attach(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = refused(capsys, "--", "true")
    assert "exports neither bql_mutex_lock_func nor" in error
    assert "bqlscope attach" in error


def test_a_program_that_fails_is_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = script(tmp_path / "qemu-system-x86_64", "echo no such disk >&2; exit 5")
    assert "no such disk" in refused(capsys, "--", program)


def test_a_prefix_that_does_not_find_qemu_is_a_missing_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused(capsys, "--", "env", "/none/qemu-system-x86_64", status=3)


def test_a_program_that_takes_no_preloaded_library_cannot_be_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, program = tmp_path / "static.c", tmp_path / "qemu-system-x86_64"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-static", "-o", program, source], check=True)
    assert "statically linked" in refused(capsys, "--", str(program))


def test_standard_output_is_qemus(capsys: pytest.CaptureFixture[str]) -> None:
    assert "standard output is QEMU's" in refused(capsys, "--json", "-", "--", "true")


def test_a_daemon_cannot_be_discarded(capsys: pytest.CaptureFixture[str]) -> None:
    assert "-daemonize" in refused(capsys, "--discard", "--", "qemu-system-x86_64", "-daemonize")


def test_nothing_to_run_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys)


def test_the_last_program_of_a_wrapper_is_the_one_that_counts(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="true cannot be recorded"):
        probe([script(tmp_path / "start", "exec true")], library_path(), os.environ)


def test_a_socket_directory_is_private_short_and_removed(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    directory = SocketDirectory({"XDG_RUNTIME_DIR": str(deep), "TMPDIR": "relative"})
    with directory as socket:
        assert len(os.fsencode(socket)) < 107
        assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert not directory.path.exists()


def test_a_socket_directory_can_be_kept(tmp_path: Path) -> None:
    directory = SocketDirectory({"XDG_RUNTIME_DIR": "", "TMPDIR": "/none"})
    with directory:
        directory.keep = True
    directory.path.rmdir()
