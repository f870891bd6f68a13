# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope bench qemu-recorder`` over a runner that starts nothing."""

from pathlib import Path

import pytest

from tests.support.bench import QEMU, QEMU_IOPS, SYNC_PROFILE_SPEED, FakeRunner
from vmm.bench.contestant import Job
from vmm.bench.qemu_recorder import RATES, VARIANTS, QemuRecorderPlan, command, measure


@pytest.fixture(autouse=True)
def _built_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmm.bench.rounds.SETTLE_S", 0.0)
    monkeypatch.setattr("vmm.bench.qemu.micro_guest_path", lambda: Path("guest.elf"))


def test_a_slowdown_is_taken_within_a_round_whatever_the_drift(tmp_path: Path) -> None:
    plan = QemuRecorderPlan(tmp_path / "disk.raw", trials=4)
    run = FakeRunner(drift=1.7)
    result = measure(plan, QEMU, run, lambda _text: None)
    assert len(run.commands) == 4 * len(RATES) * len(VARIANTS)
    for rate in RATES:
        assert result.slowdown(rate, "recorded").high == pytest.approx(0)
        assert result.slowdown(rate, "sync-profile").low == pytest.approx(
            1 / SYNC_PROFILE_SPEED - 1
        )
    document = result.as_dict()
    assert document["rates"]["iops"]["plain"]["trials"][0] == pytest.approx(QEMU_IOPS)
    assert document["slowdown"]["accesses_per_s"]["sync-profile"]["median"] == pytest.approx(0.25)


def test_only_the_recorded_variant_goes_through_bqlscope() -> None:
    job = Job("mode=pio", 1.0)
    commands = {name: command(name, QEMU, job, "native", Path("r.bql")) for name in VARIANTS}
    plain = commands["plain"]
    assert plain[0] == QEMU.path
    assert commands["sync-profile"] == [*plain, "-enable-sync-profile"]
    recorded = commands["recorded"]
    assert recorded[recorded.index("--") + 1 :] == plain
    assert recorded[recorded.index("--recording") + 1] == "r.bql"
