# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that keeps the lock makes the shipped alert fire, and letting it go ends that."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grafana.alerts import alert_groups
from grafana.files import yaml_text
from grafana.rules import recording_groups
from tests.support.prometheus import prometheus
from tests.support.rig import PATIENCE_SECONDS, REGISTER, Gate, Later, Rig, wait_until
from tests.support.vm import ROOT
from vmm.cpu import resume_all

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus")
STUCK = 'ALERTS{alertname="BqlStuck", alertstate="firing", severity="critical"}'


def rule_files(directory: Path) -> str:
    """The shipped rules, evaluated every second, as lines of a Prometheus configuration."""
    for name, document in (("rules", recording_groups("1s")), ("alerts", alert_groups("1s"))):
        (directory / f"{name}.yml").write_text(yaml_text(document))
    return f"rule_files: ['{directory}/rules.yml', '{directory}/alerts.yml']\n"


@contextmanager
def exporting(recording: Path, targets: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "exporters", "--listen", "127.0.0.1:0"]
    command += ["--sd", str(targets), str(recording)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_until(targets.exists, "the exporter's target list")
        yield
    finally:
        process.kill()
        process.wait()


def test_a_lock_that_is_not_given_back_raises_the_alarm(tmp_path: Path) -> None:
    path, gate, targets = tmp_path / "r.bql", Gate(), tmp_path / "targets.json"
    with Rig(path) as rig:
        assert rig.try_add(REGISTER, 4, gate, name="stuck-device") == 0
        cpu = rig.add_cpu()
        with rig.bql.held():
            resume_all([cpu])
        stuck = Later(rig, cpu)
        assert gate.entered.wait(PATIENCE_SECONDS)
        with (
            exporting(path, targets),
            prometheus(tmp_path, targets, more=rule_files(tmp_path)) as server,
        ):
            server.wait_for("bql_owner_held_seconds > 0")
            assert server.query(STUCK) == {}
            server.wait_for(STUCK)
            gate.released.set()
            assert stuck.result() == 0x55
            server.wait_for(f"absent({STUCK})")
