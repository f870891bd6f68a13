# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of the test session itself, most of them run in inner pytest sessions."""

import importlib
import os
import shutil
import signal
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).resolve().parent.parent / "conftest.py"
CONFIG = """
[pytest]
markers =
    kvm: boots a guest
"""
ONE_RUNS_ONE_SKIPS = """
import pytest

@pytest.mark.kvm
def test_runs():
    pass

@pytest.mark.kvm
def test_skips_on_its_own():
    pytest.skip("no image")

def test_without_the_marker():
    pass
"""


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("BQLSCOPE_VARIANT", raising=False)
    shutil.copy(CONFTEST, pytester.path / "conftest.py")
    pytester.makefile(".ini", pytest=CONFIG)
    pytester.makepyfile(ONE_RUNS_ONE_SKIPS)
    return pytester


def pretend_kvm(session: pytest.Pytester, device: str) -> None:
    conftest = session.path / "conftest.py"
    conftest.write_text(
        conftest.read_text().replace('device: str = "/dev/kvm"', f"device={device!r}")
    )


def test_a_skipped_kvm_test_fails_the_session_where_kvm_works(session: pytest.Pytester) -> None:
    pretend_kvm(session, "/dev/null")
    result = session.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(
        ["*1 tests ran, 1 skipped*", "*although /dev/kvm works: *test_skips_on_its_own"]
    )


def test_without_kvm_every_kvm_test_is_skipped_with_the_reason(session: pytest.Pytester) -> None:
    pretend_kvm(session, str(session.path / "absent"))
    result = session.runpytest_subprocess("-p", "no:cacheprovider", "-rs")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(
        ["*0 tests ran, 2 skipped*", "SKIPPED*absent: No such file or directory"]
    )


def test_a_session_whose_kvm_tests_all_ran_passes(session: pytest.Pytester) -> None:
    pretend_kvm(session, "/dev/null")
    result = session.runpytest_subprocess("-p", "no:cacheprovider", "-k", "test_runs")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*1 tests ran, 0 skipped*"])


def test_the_native_extension_is_the_variant_that_was_asked_for() -> None:
    variant = os.environ.get("BQLSCOPE_VARIANT", "release")
    file = Path(str(importlib.import_module("vmm._native").__file__)).resolve()
    inside_build = f"/build/{variant}/python/" in file.as_posix()
    assert inside_build == (variant != "release")


def test_a_session_in_the_background_still_takes_interrupts(session: pytest.Pytester) -> None:
    session.makepyfile(
        """
        import signal, subprocess, sys

        NUMBERS = "signal.SIGINT, signal.SIGQUIT, signal.SIGHUP"
        IGNORED = f"[n for n in ({NUMBERS}) if signal.getsignal(n) is signal.SIG_IGN]"
        SHOW = f"import signal; print({IGNORED})"

        def test_neither_we_nor_a_child_ignore_what_ends_a_program():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert subprocess.check_output([sys.executable, "-c", SHOW]) == b"[]\\n"
        """
    )
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        session.runpytest_subprocess().assert_outcomes(passed=1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
