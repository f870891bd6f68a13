# SPDX-License-Identifier: GPL-2.0-or-later
"""Both benchmarks over a runner that starts nothing, and the command lines they would run."""

from pathlib import Path

import pytest

from tests.support.bench import (
    BATCHED_IOPS,
    FIO_IOPS,
    OWN_IOPS,
    OWN_NS,
    PYTHON_NS,
    QEMU,
    QEMU_IOPS,
    QEMU_NS,
    FakeRunner,
)
from vmm.bench import block, exits, fio
from vmm.bench.contestant import Disk, Job, own_command
from vmm.bench.process import BenchError, Finished, guest_result, run_child
from vmm.bench.qemu import find_qemu
from vmm.block.options import parse_drive


@pytest.fixture(autouse=True)
def _built_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmm.bench.rounds.SETTLE_S", 0.0)
    monkeypatch.setattr("vmm.bench.qemu.micro_guest_path", lambda: Path("guest.elf"))


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    path = tmp_path / "disk, one.raw"
    path.write_bytes(bytes(8192))
    return path


def ignore(_text: str) -> None:
    pass


def test_ratios_are_taken_within_a_round_whatever_the_drift(image: Path) -> None:
    plan = block.BlockPlan(image, trials=4)
    result = block.measure(plan, QEMU, "fio", FakeRunner(drift=1.7), ignore)
    for placement in block.PLACEMENTS:
        found = result.iops_ratio(placement)
        assert found.low == pytest.approx(OWN_IOPS / QEMU_IOPS)
        assert found.high == pytest.approx(OWN_IOPS / QEMU_IOPS)
    document = result.as_dict()
    assert document["host_ratio"]["mainloop"]["median"] == pytest.approx(OWN_IOPS / FIO_IOPS)
    assert document["host_ratio"]["best"]["placement"] == "iothread"
    assert document["host_ratio"]["best"]["median"] == pytest.approx(1.5 * OWN_IOPS / FIO_IOPS)
    batched = document["host_batched_ratio"]["iothread"]["median"]
    assert batched == pytest.approx(1.5 * OWN_IOPS / BATCHED_IOPS)
    assert len(document["iops"]["fio"]["trials"]) == 4
    assert document["qemu_version"] == "10.0.2"


def test_the_better_placement_is_the_measured_one(image: Path) -> None:
    runner = FakeRunner(iothread_gain=0.5)
    result = block.measure(block.BlockPlan(image, trials=1), QEMU, "fio", runner, ignore)
    assert result.best_placement() == "mainloop"


def test_all_contestants_get_the_same_work(image: Path) -> None:
    runner = FakeRunner()
    plan = block.BlockPlan(image, trials=1, seconds=0.5, depth=7, block_size=8192)
    block.measure(plan, QEMU, "fio", runner, ignore)
    own = [command for command in runner.commands if "vmm" in command]
    rival = [command for command in runner.commands if command[0] == QEMU.path]
    host = [command for command in runner.commands if command[0] == "fio"]
    assert (len(own), len(rival), len(host)) == (2, 2, 2)
    words = {command[command.index("--append") + 1] for command in own}
    words |= {command[command.index("-append") + 1] for command in rival}
    assert words == {"ms=500 warmup_ms=200 hammer=none iodepth=7 bs=8192"}
    assert all({"--iodepth=7", "--bs=8192", "--runtime=500ms"} <= set(command) for command in host)
    assert not any("--no-record" in command for command in own)


def test_this_vmms_drive_option_means_what_the_benchmark_means(image: Path) -> None:
    command = own_command(Job("", 1.0, Disk(image, direct=True, iothread=True)))
    options = parse_drive(command[command.index("--drive") + 1])
    assert options.file is not None
    assert Path(options.file) == image
    assert (options.cache, options.iothread, options.readonly) == ("none", "io0", True)


def test_qemus_file_name_survives_a_comma_and_native_aio_needs_o_direct(image: Path) -> None:
    direct = QEMU.command(Job("", 1.0, Disk(image, direct=True, iothread=False)))
    cached = QEMU.command(Job("", 1.0, Disk(image, direct=False, iothread=False)))
    drive = direct[direct.index("-drive") + 1]
    assert "disk,, one.raw" in drive
    assert drive.endswith("cache=none,aio=native")
    assert cached[cached.index("-drive") + 1].endswith("cache=writeback,aio=threads")


def test_register_ratios_name_the_faster_side() -> None:
    plan = exits.ExitsPlan(trials=3, reads=50)
    runner = FakeRunner(drift=0.5, contestants=4)
    document = exits.measure(plan, QEMU, runner, ignore).as_dict()
    for statistic in ("mean", "p50"):
        ratio = document["pio_ratio"][statistic]
        assert ratio["median"] == pytest.approx(OWN_NS / QEMU_NS)
        assert ratio["ci95"] == pytest.approx([OWN_NS / QEMU_NS] * 2)
        python = document["pio_python_ratio"][statistic]["median"]
        assert python == pytest.approx(PYTHON_NS / QEMU_NS)
    assert document["latency_ns"]["qemu-serial"]["p99"]["trials"][0] == 2 * QEMU_NS
    ports = [word for command in runner.commands for word in command if "hammer=" in word]
    assert sum("pio:0x3fd:1" in word for word in ports) == 6


def test_qemus_version_is_read_with_and_without_a_package() -> None:
    def answering(text: str) -> Finished:
        return Finished(0, text, "")

    plain = find_qemu(lambda *_: answering("QEMU emulator version 9.2.1\n"), "true")
    debian = find_qemu(
        lambda *_: answering("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n"), "true"
    )
    assert (plain.version, plain.package) == ("9.2.1", "")
    assert (debian.version, debian.package) == ("10.0.2", "Debian 1:10.0.2+ds-2")
    with pytest.raises(BenchError, match="no version"):
        find_qemu(lambda *_: answering("something else\n"), "true")


@pytest.mark.parametrize(
    ("done", "message"),
    [
        (Finished(2, "guest: no disk\n", "noise"), "status 2 and no result: guest: no disk"),
        (Finished(1, "", "a\nKVM: no\n\n"), "status 1 and no result: KVM: no"),
        (Finished(0, "", ""), "it said nothing"),
        (Finished(0, '{"bqlscope_guest":1,"cut', ""), "no result"),
        (Finished(3, '{"bqlscope_guest":1,"blk":{"errors":4}}\n', ""), "4 I/O errors"),
    ],
)
def test_a_guest_without_a_result_is_one_line(done: Finished, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        guest_result("QEMU", done)


@pytest.mark.parametrize("answer", ["", "{}", '{"jobs": []}', '{"jobs": [{"read": {"iops": 0}}]}'])
def test_fio_without_a_number_is_an_error(image: Path, answer: str) -> None:
    disk = Disk(image, direct=False, iothread=False)
    with pytest.raises(BenchError, match="engine missing"):
        fio.measure(
            "fio",
            disk,
            fio.Load(1, 4096, 0.1, 0.1),
            lambda *_: Finished(1, answer, "fio: engine missing\n"),
        )


def test_a_child_that_hangs_or_does_not_start_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="did not end within 0 s"):
        run_child(["sleep", "60"], 0.05)
    with pytest.raises(BenchError, match="No such file"):
        run_child([str(tmp_path / "missing")], 1.0)
    assert run_child(["sh", "-c", "echo out; echo err >&2; exit 3"], 10.0) == Finished(
        3, "out\n", "err\n"
    )
