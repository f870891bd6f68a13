# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope run`` with -S, --no-shutdown and --no-reboot, as QEMU has them."""

import signal
from pathlib import Path

from tests.support.vm import command_line, run_vm, start_vm

MICRO = ("--kernel", "micro", "--accel", "qtest")


def test_a_machine_that_starts_paused_runs_nothing_and_obeys_a_signal(tmp_path: Path) -> None:
    with start_vm(*MICRO, "-S", "--append", "mode=idle ms=1", report=tmp_path / "r.json") as vm:
        vm.wait_until_running()
        vm.process.send_signal(signal.SIGTERM)
        result = vm.finish()
    assert result.status == 0, result.stderr
    assert result.report["ended"]["kind"] == "shutdown"
    assert [sum(cpu.values()) - cpu["interrupted"] for cpu in result.report["cpus"]] == [0]


def test_help_tells_of_the_three() -> None:
    line = command_line()
    assert line[-1] == "--no-reboot"
    text = run_vm("--help").stdout
    for option in ("-S", "--no-reboot", "--no-shutdown"):
        assert option in text
    assert max(map(len, text.splitlines())) <= 80
