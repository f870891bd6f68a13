# SPDX-License-Identifier: GPL-2.0-or-later
"""Prometheus's own tool on the configuration, the rules and their unit tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

from grafana.alerts import ALERTS
from grafana.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "grafana" / "prometheus"
UNIT_TESTS = sorted((ROOT / "tests" / "promtool").glob("*.yml"))

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")


def promtool(*words: str | Path) -> str:
    """What promtool says; it must be content."""
    done = subprocess.run(
        ["promtool", *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_shipped_configuration_is_clean() -> None:
    said = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert f"{len(RULES)} rules found" in said
    assert f"{len(ALERTS)} rules found" in said
    assert "WARNING" not in said


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_rules_say_what_their_unit_tests_expect(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


def test_every_alert_and_every_recording_rule_is_tested() -> None:
    text = "".join(path.read_text() for path in UNIT_TESTS)
    assert [alert.name for alert in ALERTS if text.count(f"alertname: {alert.name}\n") < 2] == []
    tested_by_an_alert = {"vm_role:bql_wait_seconds:p99_5m"}
    assert {rule.name for rule in RULES if rule.name not in text} <= tested_by_an_alert


def test_a_wrong_threshold_is_noticed(tmp_path: Path) -> None:
    """The unit tests can fail: with another limit they do."""
    for name in ("recording_rules.yml", "alerts.yml"):
        text = (PROMETHEUS / name).read_text().replace("> 10\n", "> 100\n")
        (tmp_path / name).write_text(text)
    test = (ROOT / "tests" / "promtool" / "alerts_test.yml").read_text()
    (tmp_path / "test.yml").write_text(test.replace("../../grafana/prometheus/", ""))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "BqlStuck" in done.stdout + done.stderr
