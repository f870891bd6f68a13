# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about this host that decide how far a result can be trusted."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """`cpus` counts those this process may run on; `nested` means kvm_pvm (no VMX/SVM)."""

    kernel: str
    machine: str
    cpus: int
    kvm: bool
    nested: bool


def detect_host(root: Path = Path("/")) -> Host:
    """Look at the running host; `root` is the directory that holds `dev` and `sys`."""
    return Host(
        kernel=platform.release(),
        machine=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        kvm=os.access(root / "dev/kvm", os.R_OK | os.W_OK),
        nested=(root / "sys/module/kvm_pvm").is_dir(),
    )
