# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of the micro-guest under a QEMU, and what it printed."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ELF = ROOT / "vmm" / "guest" / "microguest.elf"
OK, BAD_PARAMETER, DEVICE_FAILED, DATA_WRONG, PLATFORM_FAILED = (
    code << 1 | 1
    for code in range(5)  # as isa-debug-exit encodes them
)


@dataclass(frozen=True)
class Run:
    """How a QEMU ended and what it printed; ``log`` is its stderr."""

    status: int
    lines: list[str]
    log: list[str]

    @property
    def result(self) -> dict[str, Any]:
        """The one result line."""
        assert len(self.lines) == 1, (self.lines, self.log)
        result: dict[str, Any] = json.loads(self.lines[0])
        assert result["bqlscope_guest"] == 1
        return result


def build_guest() -> None:
    """Bring ``microguest.elf`` up to date."""
    subprocess.run(["make", "-s", "-f", "native.mk", "guest"], cwd=ROOT, check=True)


def run_guest(command: list[str]) -> Run:
    """Run a QEMU to its end."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return Run(done.returncode, done.stdout.splitlines(), done.stderr.splitlines())
