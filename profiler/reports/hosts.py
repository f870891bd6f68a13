# SPDX-License-Identifier: GPL-2.0-or-later
"""The host as a reader of the report wants to know it."""

import re
from pathlib import Path

from profiler.compare.host import detect_host


def host_facts(root: Path = Path("/")) -> tuple[tuple[str, str], ...]:
    """CPU, kernel and KVM of the running host; `root` has `proc`, `dev` and `sys`."""
    host = detect_host(root)
    kvm = "/dev/kvm opens" if host.kvm else "/dev/kvm does not open here"
    if host.nested:
        kvm += ", nested (kvm_pvm): exits are slow"
    return (
        ("CPU", f"{_cpu_model(root)}, {host.cpus} of them usable, {host.machine}"),
        ("Kernel", f"Linux {host.kernel}"),
        ("KVM", kvm),
    )


def _cpu_model(root: Path) -> str:
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown model"
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else "unknown model"
