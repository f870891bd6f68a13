# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMUs to test with: those that `make test` unpacked, else the installed one."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "qemu-system-x86_64"


def find_qemus() -> list[Path]:
    """Programs, oldest version first; empty where no QEMU is installed."""
    unpacked = list((ROOT / "build" / "qemu").glob(f"*/{PROGRAM}"))
    if unpacked:
        return sorted(unpacked, key=lambda path: int(path.parent.name))
    installed = shutil.which(PROGRAM)
    return [Path(installed)] if installed else []


def qemu_id(path: Path) -> str:
    """Name of a QEMU in test ids: its major version, or `installed`."""
    return path.parent.name if path.parent.name.isdigit() else "installed"


QEMUS = find_qemus()
