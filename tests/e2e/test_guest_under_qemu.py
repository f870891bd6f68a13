# SPDX-License-Identifier: GPL-2.0-or-later
"""The measuring guest boots under an unmodified QEMU, tells the truth and reports its failures."""

import shutil
from pathlib import Path

import pytest

from tests.support.micro_guest import (
    BAD_PARAMETER,
    DATA_WRONG,
    DEVICE_FAILED,
    ELF,
    OK,
    PLATFORM_FAILED,
    Run,
    build_guest,
    run_guest,
)
from vmm.guest.pattern import pattern

pytestmark = [pytest.mark.kvm, pytest.mark.qemu, pytest.mark.timeout(120)]

BLOCK = 4096
MACHINE = (
    "-M microvm,pic=off,pit=off,rtc=off -global virtio-mmio.force-legacy=false -accel kvm"
    " -cpu qemu64 -m 64 -nodefaults -no-user-config -display none -serial stdio -no-reboot"
    " -device isa-debug-exit,iobase=0xf4,iosize=4"
)


@pytest.fixture(name="qemu", scope="module")
def _qemu() -> str:
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    build_guest()
    return qemu


def boot(qemu: str, words: str, *extra: str, cpus: int = 1, drive: str | None = None) -> Run:
    """Run the guest to its end with these command line words."""
    command = [qemu, *MACHINE.split(), "-smp", str(cpus), "-kernel", str(ELF), "-append", words]
    if drive is not None:
        command += ["-drive", f"if=none,id=d0,{drive}"]
        command += ["-device", "virtio-blk-device,drive=d0,num-queues=4"]
    return run_guest([*command, *extra])


def image(tmp_path: Path, blocks: int) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"\xee" * (blocks * BLOCK))
    return path


@pytest.mark.parametrize(
    ("cpus", "words"),
    [
        (1, "seed=3 indirect=0 iodepth=17 tsc_khz=2000000"),
        (2, "seed=4 queues=4 irq=1 hammer=pio:0x3fd:1,mmio:0xfeb00000:4"),
        (4, "seed=5 iodepth=128 think_ns=1000"),
    ],
)
def test_what_the_guest_writes_is_on_the_disk(
    qemu: str, tmp_path: Path, cpus: int, words: str
) -> None:
    disk = image(tmp_path, 400)
    run = boot(
        qemu,
        f"rw=verify blocks=333 smp={cpus} {words}",
        cpus=cpus,
        drive=f"file={disk},format=raw,cache=writeback",
    )
    assert run.status == OK
    result = run.result
    seed = result["seed"]
    assert (result["smp"], result["rw"], result["bs"]) == (cpus, "verify", BLOCK)
    assert result["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    blk = result["blk"]
    assert (blk["transport"], blk["msix"], blk["msix_pending"]) == ("mmio", 0, 0)
    assert (blk["reads"], blk["writes"], blk["ops"], blk["errors"]) == (333, 333, 667, 0)
    assert disk.read_bytes() == pattern(0, 333 * BLOCK, seed) + b"\xee" * (67 * BLOCK)
    accesses = [register["reads"] for register in result["access"]["registers"]]
    assert sum(accesses) == result["access"]["total"]["reads"]
    assert (min(accesses) > 0) == (cpus > 1)


def test_a_disk_that_forgets_is_found_out(qemu: str) -> None:
    run = boot(qemu, "rw=verify", drive="driver=null-co,size=256k,read-zeroes=on")
    assert run.status == DATA_WRONG
    assert run.result["verify"]["wrong_blocks"] == 64
    assert run.result["verify"]["wrong_bytes"] > 64 * BLOCK * 0.98


def test_io_errors_are_counted(qemu: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text(
        '[inject-error]\nevent = "none"\niotype = "read"\nerrno = "5"\nonce = "on"\nsector = "8"\n'
    )
    disk = image(tmp_path, 8)
    drive = f"driver=blkdebug,config={rules},image.driver=file,image.filename={disk},rerror=report"
    run = boot(qemu, "rw=verify iodepth=1", drive=drive)  # deeper, QEMU merges
    assert run.status == DATA_WRONG
    assert run.result["blk"]["errors"] == 1
    assert run.result["verify"]["wrong_bytes"] == 0


def test_a_measured_window_adds_up(qemu: str, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    run = boot(
        qemu,
        "rw=mixed smp=2 iodepth=16 ms=200 warmup_ms=20 marks=1",
        "-chardev",
        f"file,id=marks,path={marks}",
        "-device",
        "isa-debugcon,iobase=0x5f0,chardev=marks",
        cpus=2,
        drive="driver=null-co,size=64M",
    )
    assert run.status == OK
    result = run.result
    blk, access = result["blk"], result["access"]["total"]
    assert marks.read_bytes() == b"\1\2"
    assert result["elapsed_ns"] >= 200_000_000
    assert blk["ops"] == blk["reads"] + blk["writes"]
    assert min(blk["reads"], blk["writes"]) > blk["ops"] * 0.4
    assert 0 < blk["kicks"] <= blk["ops"]
    for latency in (blk["lat_ns"], {name[:-3]: access[name] for name in access if "_ns" in name}):
        assert 0 < latency["p50"] <= latency["p99"] <= latency["max"]
        assert 0 < latency["mean"] <= latency["max"]
    # A closed loop keeps iodepth requests in flight; those across the window's ends blur it.
    in_flight = blk["iops"] * blk["lat_ns"]["mean"] / 1e9
    assert in_flight == pytest.approx(16, rel=0.25)
    assert access["reads"] * access["mean_ns"] <= result["elapsed_ns"] * 1.25


def test_port_reads_are_counted_exactly(qemu: str) -> None:
    run = boot(qemu, "mode=pio reads=123")
    assert run.status == OK
    assert run.result["pio"]["reads"] == 123
    assert "blk" not in run.result


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        ("iodpeth=4", BAD_PARAMETER, "guest: unknown parameter: iodpeth=4"),
        ("hammer=none", DEVICE_FAILED, "guest: no such virtio block device"),
        (
            "smp=2 mode=idle",
            PLATFORM_FAILED,
            "guest: a CPU did not start: has the machine as many as smp= says?",
        ),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(
    qemu: str, words: str, status: int, line: str
) -> None:
    run = boot(qemu, words)
    assert (run.status, run.lines) == (status, [line])
