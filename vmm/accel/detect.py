# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host offers, detected and said in one line; nothing is assumed."""

import errno
import fcntl
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from vmm.errors import VmmError

KVM_DEVICE = "/dev/kvm"
_KVM_GET_API_VERSION = 0xAE00  # linux/kvm.h; needed before anybody knows whether KVM works


@dataclass(frozen=True)
class AccelChoice:
    """Which accelerator was taken, and why, in words."""

    name: str
    reason: str

    def line(self) -> str:
        """One line for people."""
        return f"accelerator: {self.name} ({self.reason})"


@dataclass(frozen=True)
class HostInfo:
    """The host as far as it changes results."""

    kernel: str
    machine: str
    cpus: int
    cpu_model: str
    memory_bytes: int
    kvm_module: str
    kvm_emulates_ring0: bool
    io_uring: bool

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def kvm_module() -> str:
    """Name of the KVM vendor module in use, or an empty string.

    ``kvm_pvm`` runs guests without VMX or SVM: guest ring 0 is emulated, ring 3 is native.
    """
    for name in ("kvm_intel", "kvm_amd", "kvm_pvm"):
        if Path("/sys/module", name).exists():
            return name
    return ""


def kvm_problem() -> str | None:
    """Why /dev/kvm cannot be used, in one line with the way out, or None when it can."""
    try:
        fd = os.open(KVM_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return f"{KVM_DEVICE} does not exist: enable virtualisation or load the kvm module"
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"no permission on {KVM_DEVICE}: add yourself to its group (often 'kvm')"
        return f"{KVM_DEVICE} cannot be opened: {error.strerror}"
    try:
        fcntl.ioctl(fd, _KVM_GET_API_VERSION)
    except OSError:
        return f"{KVM_DEVICE} is not KVM's device: look at what it is with ls -l"
    finally:
        os.close(fd)
    if platform.machine() != "x86_64":
        return f"the kvm accelerator runs x86-64 guests only, this host is {platform.machine()}"
    return None


def choose_accelerator(wanted: str) -> AccelChoice:
    """Resolve ``auto``, ``kvm`` or ``qtest``.

    Raises:
        VmmError: kvm was asked for and cannot be used.
    """
    if wanted == "qtest":
        return AccelChoice("qtest", "asked for; no CPU is executed")
    problem = kvm_problem()
    if problem is None:
        module = kvm_module() or "kvm"
        note = ", guest ring 0 is emulated here" if module == "kvm_pvm" else ""
        return AccelChoice("kvm", f"{KVM_DEVICE} works, module {module}{note}")
    if wanted == "kvm":
        raise VmmError(f"--accel kvm: {problem} (or use --accel qtest)")
    return AccelChoice("qtest", problem)


def _io_uring_works() -> bool:
    try:
        state = Path("/proc/sys/kernel/io_uring_disabled").read_text()
    except OSError:
        return Path("/proc/sys/kernel").exists() and os.uname().release >= "5."
    return state.strip() != "2"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown"


def host_info() -> HostInfo:
    """Detect the host."""
    module = kvm_module()
    return HostInfo(
        kernel=platform.release(),
        machine=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        cpu_model=_cpu_model(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kvm_module=module,
        kvm_emulates_ring0=module == "kvm_pvm",
        io_uring=_io_uring_works(),
    )
