# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``bqlscope run`` says when it cannot: one clear line and a status, never a traceback."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.vm import drive, make_image, run_vm

MICRO = ("--kernel", "micro")
IDLE = (*MICRO, "--accel", "qtest", "--append", "mode=idle ms=1")


@pytest.fixture
def not_a_kernel(tmp_path: Path) -> Path:
    path = tmp_path / "kernel"
    path.write_bytes(bytes(514) + b"HdrS" + bytes(512))
    return path


@pytest.mark.kvm
def test_a_kernel_without_pvh_is_refused_with_a_hint(not_a_kernel: Path) -> None:
    result = run_vm("--kernel", str(not_a_kernel), "--accel", "kvm")
    assert "bzImage" in result.complaint()
    assert result.status == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kernel", "/nonexistent/vmlinux", "--accel", "qtest"), "--kernel micro"),
        ((*IDLE, "--drive", "file=/nonexistent/disk.img"), "/nonexistent/disk.img"),
        ((*IDLE, "--drive", "file=/"), "/"),
        ((*IDLE, "--drive", "driver=null,iothread=io7"), "io7"),
        ((*IDLE, "--drive", "driver=nul"), "driver=nul"),
        ((*IDLE, "--drive", ""), "drive"),
        ((*IDLE, "--object", "iothread"), "id"),
        ((*IDLE, "--object", "iothread,id=a,poll-max-ns=x"), "poll-max-ns"),
        ((*IDLE, "--object", "iothread,id=a,nonsense=1"), "nonsense"),
        ((*IDLE, "--object", "iothread,id=a,cpu=1000"), "iothread a"),
        ((*IDLE, "--object", "iothread,id=a", "--object", "iothread,id=a"), "duplicate"),
        ((*IDLE, "--object", "iothread,id=abcdefghijklmnop"), "12 bytes"),
        ((*IDLE, "--memory", "1T5"), "--memory"),
        ((*IDLE, "--memory", "999999999999G"), "--memory"),
        ((*IDLE, "--memory", "70368744177663k"), "memory"),
        ((*IDLE, "--memory", "1M"), "--memory"),
        ((*IDLE, "--smp", "0"), "--smp"),
        ((*IDLE, "--smp", "17"), "--smp"),
        ((*IDLE, "--serial", "file:/nonexistent/log"), "/nonexistent/log"),
        ((*IDLE, "--serial", "telnet"), "--serial"),
        ((*IDLE, "--recording", "/nonexistent/r.bql"), "/nonexistent/r.bql"),
        ((*IDLE, "--json", "/nonexistent/r.json"), "/nonexistent/r.json"),
        ((*IDLE, "--accel", "tcg"), "tcg"),
        ((*IDLE, *(["--drive", "driver=null"] * 9)), "at most 8"),
        ((*IDLE, "--nonsense"), "nonsense"),
        ((*IDLE, "--no-record", "--keep-recording"), "--keep-recording"),
        ((*IDLE, "--no-record", "--window-recording"), "--window-recording"),
        ((*IDLE, "--no-record", "--recording", "r.bql"), "--recording"),
        ((*IDLE, "--object", "iothread,id=a/b"), "a/b"),
        ((*IDLE, "--object", "iothread,id=a,cpu=1000"), "does the host have CPU 1000?"),
        ((*IDLE, "--object", "iothread,id=a,cpu=x"), "'x' is not a CPU number"),
        ((*IDLE, "--drive", "disk.img"), "write file=disk.img"),
        ((*IDLE[:-1], "smp=2"), "raise --smp"),
    ],
)
def test_a_wrong_option_is_one_clear_line(options: tuple[str, ...], words: str) -> None:
    result = run_vm(*options)
    assert words in result.complaint()


def test_a_recording_never_replaces_a_file_that_is_none(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    result = run_vm(*IDLE, "--recording", str(thesis))
    assert "is not a recording" in result.complaint()
    assert thesis.read_text() == "years of work"


def test_a_recording_replaces_an_older_one_and_an_empty_file(tmp_path: Path) -> None:
    recording = tmp_path / "r.bql"
    recording.touch()
    for _ in range(2):
        result = run_vm(*IDLE, "--recording", str(recording), "--keep-recording")
        assert result.status == 0, result.stderr


def test_one_image_as_two_drives_is_named_as_the_reason(tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.img", 1 << 20)
    result = run_vm(*IDLE, "--drive", f"file={image}", "--drive", f"file={image}")
    assert "two drives" in result.complaint()


def test_a_closed_standard_output_is_no_reason_to_crash() -> None:
    result = run_vm(*IDLE, program=("sh", "-c", 'exec "$@" >&-', "sh"))
    assert (result.status, "Traceback" in result.stderr) == (0, False)


@pytest.mark.kvm
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kernel", "/nonexistent/vmlinux"), "/nonexistent/vmlinux"),
        (("--kernel", "/"), "directory"),
        ((*MICRO, "--initrd", "/nonexistent/initrd"), "/nonexistent/initrd"),
        ((*MICRO, "--append", "x" * 70000), "command line"),
        ((*MICRO, "--memory", "1M"), "does not fit"),
    ],
)
def test_what_cannot_be_booted_is_one_clear_line(options: tuple[str, ...], words: str) -> None:
    assert words in run_vm(*options, "--accel", "kvm").complaint()


def test_a_parameter_the_guest_does_not_know_ends_it_with_a_status() -> None:
    result = run_vm(*MICRO, "--accel", "qtest", "--append", "iodpeth=3")
    assert result.status != 0
    assert "iodpeth" in result.stdout
    assert "Traceback" not in result.stderr


def test_bytes_that_are_no_text_are_no_reason_to_crash() -> None:
    result = run_vm(*MICRO, "--accel", "qtest", "--append", os.fsdecode(b"\xff\xfe"))
    assert result.status != 0
    assert "Traceback" not in result.stderr


def in_namespace(script: str) -> tuple[str, ...]:
    """A mount namespace of its own; the command follows the words of ``script``."""
    shell = f'{script} "$@"'
    program = ("unshare", "--mount", "sh", "-c", shell, "sh")
    probe = subprocess.run([*program, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mount namespaces here: {probe.stderr.decode().strip()}")
    return program


def test_a_dev_kvm_that_is_not_kvm_is_one_clear_line_and_auto_takes_qtest() -> None:
    if not Path("/dev/kvm").exists():
        pytest.skip("there is no /dev/kvm to hide")
    program = in_namespace("mount --bind /dev/null /dev/kvm && exec")
    refused = run_vm(*MICRO, "--accel", "kvm", program=program)
    assert "/dev/kvm" in refused.complaint()
    fallen_back = run_vm(*MICRO, "--append", "mode=idle ms=1", program=program)
    assert fallen_back.status == 0, fallen_back.stderr
    assert fallen_back.stderr.startswith("bqlscope: accelerator: qtest (/dev/kvm ")


def test_no_permission_on_dev_kvm_is_one_clear_line_and_auto_takes_qtest(tmp_path: Path) -> None:
    if not Path("/dev/kvm").exists():
        pytest.skip("there is no /dev/kvm to be kept from")
    locked = tmp_path / "kvm"
    locked.touch(mode=0)
    drop = "exec setpriv --bounding-set=-dac_override,-dac_read_search"  # even root obeys then
    program = in_namespace(f"mount --bind {locked} /dev/kvm && {drop}")
    refused = run_vm(*MICRO, "--accel", "kvm", program=program)
    assert "no permission on /dev/kvm" in refused.complaint()
    fallen_back = run_vm(*MICRO, "--append", "mode=idle ms=1", program=program)
    assert fallen_back.status == 0, fallen_back.stderr
    assert "qtest (no permission on /dev/kvm" in fallen_back.stderr


@pytest.fixture
def tiny_disk(tmp_path: Path) -> str:
    """Shell words that make ``tmp_path``/full a file system of one page."""
    full = tmp_path / "full"
    full.mkdir()
    return f"mount -t tmpfs -o size=4k,mode=0777 tmpfs {full}"


def test_a_full_disk_for_the_recording_is_one_clear_line(tiny_disk: str, tmp_path: Path) -> None:
    recording = tmp_path / "full" / "r.bql"
    result = run_vm(
        *IDLE, "--recording", str(recording), program=in_namespace(f"{tiny_disk} && exec")
    )
    assert str(recording) in result.complaint()
    assert os.strerror(errno.ENOSPC) in result.complaint()


def test_a_full_disk_under_the_image_is_an_io_error_of_the_guest(tmp_path: Path) -> None:
    disk = tmp_path / "full"
    disk.mkdir()
    image = disk / "sparse.img"
    prepare = f"mount -t tmpfs -o size=1m tmpfs {disk} && truncate -s 8M {image}"
    result = run_vm(
        *(*MICRO, "--accel", "qtest", "--append", "rw=verify blocks=512 hammer=none"),
        *drive(image, "mainloop", "cache=writeback"),
        program=in_namespace(f"{prepare} && exec"),
        report=tmp_path / "report.json",
    )
    assert result.status != 0
    assert "Traceback" not in result.stderr
    assert result.report["ended"]["kind"] == "debug_exit"  # the guest itself gave up
    (queue,) = result.report["disks"][0]
    assert queue["errors"] > 0
    assert 0 < queue["written_bytes"] <= 1 << 20


def test_a_full_disk_for_the_report_is_one_clear_line(tiny_disk: str, tmp_path: Path) -> None:
    report = tmp_path / "full" / "r.json"
    fill = f"{tiny_disk} && head -c 4096 /dev/zero > {tmp_path}/full/fill"
    result = run_vm(*IDLE, "--json", str(report), program=in_namespace(f"{fill} && exec"))
    assert result.complaint() == f"Error: --json {report}: {os.strerror(errno.ENOSPC)}"
