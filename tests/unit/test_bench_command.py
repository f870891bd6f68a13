# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of ``bqlscope bench``: tables, JSON, missing programs, exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.bench import QEMU, FakeRunner
from vmm.bench.process import MissingToolError
from vmm.commands.bench import bench

FIGURES: dict[str, Any] = {
    "raw_pair_ns": 5.6,
    "timestamp_ns": 9.6,
    "recorded_pair_ns": 27.0,
    "overhead_ns": 21.4,
    "overhead_over_two_timestamps": 1.11,
    "off_pair_ns": 5.9,
    "off_overhead_ns": 0.3,
    "contended": {
        "2": {"raw_pairs_per_s": 4e7, "recorded_pairs_per_s": 2e7, "recorded_over_raw": 0.5}
    },
}


@pytest.fixture(autouse=True)
def _everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmm.commands.bench._require_kvm", lambda: None)
    monkeypatch.setattr("vmm.bench.process.run_child", FakeRunner())
    monkeypatch.setattr("vmm.bench.qemu.find_qemu", lambda _run, _program="": QEMU)
    monkeypatch.setattr("vmm.bench.rounds.SETTLE_S", 0.0)
    monkeypatch.setattr("vmm.bench.qemu.micro_guest_path", lambda: Path("guest.elf"))
    monkeypatch.setattr("vmm.bench.fio.find_fio", lambda: "fio")
    monkeypatch.setattr("vmm.bench.image.supports_direct", lambda _path: True)
    monkeypatch.setattr("vmm.bench.image.TEMPORARY_BYTES", 1 << 20)
    monkeypatch.setattr("vmm.commands.bench_recorder.run", lambda rounds: FIGURES)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(bench, list(arguments), prog_name="bqlscope bench")


@pytest.mark.parametrize("verb", ["recorder", "block", "exits", "qemu-recorder"])
def test_a_table_fits_80_columns_and_has_no_escapes_without_a_terminal(verb: str) -> None:
    result = invoke(verb)
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "\x1b" not in result.output


def test_json_on_standard_output_is_all_there_is_on_it() -> None:
    result = invoke("block", "--trials", "2", "--json", "-")
    document = json.loads(result.stdout)
    assert (document["benchmark"], document["qemu_version"]) == ("block", "10.0.2")
    assert document["iops_ratio"]["mainloop"]["median"] == pytest.approx(1.5)
    assert "reads per second" in result.stderr


def test_json_goes_to_a_file_beside_the_table(tmp_path: Path) -> None:
    target = tmp_path / "exits.json"
    result = invoke("exits", "--trials", "1", "--reads", "10", "--json", str(target))
    assert result.exit_code == 0
    document = json.loads(target.read_text())
    assert document["pio_ratio"]["mean"]["median"] == pytest.approx(0.9)
    assert document["config"]["reads"] == 10
    assert list(tmp_path.iterdir()) == [target]


def test_without_a_verb_all_four_run(tmp_path: Path) -> None:
    target = tmp_path / "all.json"
    result = invoke("--json", str(target))
    assert result.exit_code == 0, result.output
    assert set(json.loads(target.read_text())) == {"recorder", "block", "exits", "qemu-recorder"}
    for title in ("lock and unlock", "random reads", "PIO read", "sync-profile"):
        assert title in result.stdout


def test_what_was_measured_before_a_failure_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise MissingToolError("fio is not installed")

    monkeypatch.setattr("vmm.bench.fio.find_fio", missing)
    target = tmp_path / "all.json"
    result = invoke("--json", str(target))
    assert result.exit_code == 3
    assert "lock and unlock" in result.stdout
    assert set(json.loads(target.read_text())) == {"recorder"}


def test_a_recorder_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rounds: int) -> None:
        raise OSError(28, "recorder benchmark: No space left on device")

    monkeypatch.setattr("vmm.commands.bench_recorder.run", full)
    result = invoke("recorder")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == ("Error: recorder benchmark: No space left on device")


@pytest.mark.parametrize("verb", ["block", "exits", "qemu-recorder"])
def test_a_missing_program_is_one_line_with_the_way_out(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_run: object, _program: str = "") -> None:
        raise MissingToolError("qemu-system-x86_64 is not installed: 'sudo make bench-deps'")

    monkeypatch.setattr("vmm.bench.qemu.find_qemu", missing)
    result = invoke(verb)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].endswith("'sudo make bench-deps'")
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("block", "--block-size", "100k5"),
        ("block", "--block-size", "513"),
        ("block", "--iodepth", "257"),
        ("block", "--trials", "0"),
        ("exits", "--vs", "xen"),
        ("--json", "x", "exits"),
    ],
)
def test_a_wrong_option_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_a_result_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    result = invoke("recorder", "--json", str(tmp_path / "missing" / "result.json"))
    assert result.exit_code == 2
    assert "there is no directory" in result.stderr.splitlines()[-1]
    assert "measuring" not in result.stderr
