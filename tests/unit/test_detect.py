# SPDX-License-Identifier: GPL-2.0-or-later
import errno
import json
import os
from pathlib import Path

import pytest

from vmm.accel import detect
from vmm.accel.detect import choose_accelerator, host_info, kvm_problem
from vmm.errors import VmmError


def hide_kvm(monkeypatch: pytest.MonkeyPatch, device: Path) -> None:
    monkeypatch.setattr(detect, "KVM_DEVICE", str(device))


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    hide_kvm(monkeypatch, tmp_path / "kvm")
    return tmp_path / "kvm"


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr("vmm.accel.detect.os.open", refuse)


def works(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr(detect, "kvm_problem", lambda: None)
    monkeypatch.setattr(detect, "kvm_module", lambda: module)


def test_qtest_is_taken_when_asked_for_whatever_the_host_has(missing: Path) -> None:
    assert choose_accelerator("qtest").line() == (
        "accelerator: qtest (asked for; no CPU is executed)"
    )


@pytest.mark.parametrize("wanted", ["auto", "kvm"])
def test_kvm_is_taken_where_it_works(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    works(monkeypatch, "kvm_intel")
    assert choose_accelerator(wanted).line() == (
        "accelerator: kvm (/dev/kvm works, module kvm_intel)"
    )


def test_a_host_that_emulates_ring_0_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, "kvm_pvm")
    assert choose_accelerator("auto").reason.endswith(", guest ring 0 is emulated here")


def test_a_missing_device_is_one_line_with_the_way_out(missing: Path) -> None:
    line = f"{missing} does not exist: enable virtualisation or load the kvm module"
    assert kvm_problem() == line
    choice = choose_accelerator("auto")
    assert (choice.name, choice.reason) == ("qtest", line)
    with pytest.raises(VmmError) as caught:
        choose_accelerator("kvm")
    assert str(caught.value) == f"--accel kvm: {line} (or use --accel qtest)"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_no_permission_is_one_line_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refuse_to_open(monkeypatch, code)
    line = "no permission on /dev/kvm: add yourself to its group (often 'kvm')"
    assert kvm_problem() == line
    assert choose_accelerator("auto").name == "qtest"
    with pytest.raises(VmmError, match="no permission on /dev/kvm"):
        choose_accelerator("kvm")


def test_any_other_refusal_is_told_in_the_systems_words(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_open(monkeypatch, errno.ENODEV)
    assert kvm_problem() == "/dev/kvm cannot be opened: No such device"


def test_a_device_that_is_not_kvm_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    impostor = tmp_path / "kvm"
    impostor.touch()
    hide_kvm(monkeypatch, impostor)
    descriptors = len(os.listdir("/proc/self/fd"))
    assert kvm_problem() == f"{impostor} is not KVM's device: look at what it is with ls -l"
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_another_architecture_uses_qtest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmm.accel.detect.os.open", lambda path, flags: os.eventfd(0))
    monkeypatch.setattr("vmm.accel.detect.fcntl.ioctl", lambda fd, request: 12)
    monkeypatch.setattr("vmm.accel.detect.platform.machine", lambda: "aarch64")
    assert kvm_problem() == "the kvm accelerator runs x86-64 guests only, this host is aarch64"


@pytest.mark.kvm
def test_here_kvm_works_and_leaves_no_descriptor_open() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    assert kvm_problem() is None
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_the_host_is_described_for_json() -> None:
    info = json.loads(json.dumps(host_info().as_dict()))
    assert info["cpus"] == len(os.sched_getaffinity(0))
    assert info["kernel"] == os.uname().release
    assert info["memory_bytes"] > 1 << 26
    assert info["kvm_emulates_ring0"] == (info["kvm_module"] == "kvm_pvm")
