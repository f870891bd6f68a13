# SPDX-License-Identifier: GPL-2.0-or-later
"""Session-wide rules: when guests must boot, how hard properties are searched, which build runs.

A machine with a working /dev/kvm has no excuse: a test marked ``kvm`` that is skipped there fails
the session, so that a broken set-up cannot pass as a green run.
"""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile(
    "quick", max_examples=50, deadline=None, print_blob=True, derandomize=False
)
settings.register_profile("stress", parent=settings.get_profile("quick"), max_examples=2000)
settings.register_profile(
    "sanitize",  # everything takes five to twenty times as long there
    parent=settings.get_profile("quick"),
    max_examples=10,
    suppress_health_check=[HealthCheck.too_slow],
)


def kvm_problem(device: str = "/dev/kvm") -> str | None:
    """Why no guest can run under KVM here, or None when one can."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{device}: {error.strerror}"
    return None


def use_native_variant(variant: str) -> None:
    """Make ``vmm._native`` the extension built for a sanitizer (scripts/sanitize.sh)."""
    import vmm  # noqa: PLC0415 - only sanitizer runs need the package this early

    vmm.__path__.insert(0, str(ROOT / "build" / variant / "python" / "vmm"))
    # The sanitizer's runtime is loaded; other programs that tests start must not get it.
    os.environ.pop("LD_PRELOAD", None)


def take_interrupts() -> None:
    """Undo what a shell does to a job in the background, here and in the programs tests start.

    Such a job begins with SIGINT and SIGQUIT ignored, one of nohup with SIGHUP, and so would
    everything below it: a test that interrupts something would wait for good.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


class KvmLedger:
    """Counts what happened to the tests marked ``kvm`` and judges the session by it."""

    def __init__(self, problem: str | None) -> None:
        self.problem = problem
        self.ran = 0
        self.skipped: list[str] = []

    @property
    def unexcused(self) -> bool:
        """Whether a test was skipped although KVM works."""
        return self.problem is None and bool(self.skipped)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip with the reason where KVM does not work."""
        if self.problem and item.get_closest_marker("kvm"):
            pytest.skip(self.problem)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count each kvm test once: by its call, or by the skip that came before it."""
        if "kvm" not in report.keywords:
            return
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.append(report.nodeid)
        elif report.when == "call":
            self.ran += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the session when a test was skipped without an excuse."""
        if self.unexcused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many tests booted a guest."""
        state = self.problem or "/dev/kvm works"
        line = f"KVM ({state}): {self.ran} tests ran, {len(self.skipped)} skipped"
        terminalreporter.write_line(line, red=self.unexcused)
        if self.unexcused:
            for nodeid in self.skipped:
                terminalreporter.write_line(f"  skipped although /dev/kvm works: {nodeid}")


def pytest_configure(config: pytest.Config) -> None:
    """Load the Hypothesis profile, select the native build, start the ledger."""
    take_interrupts()
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
    variant = os.environ.get("BQLSCOPE_VARIANT", "release")
    if variant != "release":
        use_native_variant(variant)
    config.pluginmanager.register(KvmLedger(kvm_problem()), "kvm-ledger")
