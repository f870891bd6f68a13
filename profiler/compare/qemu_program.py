# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU to compare with: finding it, and asking it which one it is."""

import re
import shutil
import subprocess
from dataclasses import dataclass

from profiler.errors import UserError

PROGRAM = "qemu-system-x86_64"
EXIT_MISSING = 3
VERSION_TIMEOUT_S = 30.0
_VERSION = re.compile(r"version (?P<number>\d+\.\d+(?:\.\d+)?)(?: \((?P<package>[^)]*)\))?")


@dataclass(frozen=True)
class QemuProgram:
    """A binary that answered `--version`; `package` is a distribution's name for the build."""

    path: str
    version: str
    package: str | None = None

    @property
    def major(self) -> int:
        """First number of the version."""
        return int(self.version.partition(".")[0])


def find_qemu(name: str = PROGRAM) -> QemuProgram:
    """Find the program in PATH, or take the path as it is, and ask for its version.

    Raises `UserError`: with status 3 and the way out if it is missing, with 2 if it is no QEMU.
    """
    path = shutil.which(name)
    if path is None:
        raise UserError(
            f"{name} is not there or not executable: 'apt install qemu-system-x86' installs QEMU, "
            "--qemu names another one",
            EXIT_MISSING,
        )
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{path} --version: {error}") from error
    found = _VERSION.search(answer.stdout)
    if answer.returncode != 0 or found is None:
        raise UserError(f"{path} --version does not answer as QEMU does")
    return QemuProgram(path, found["number"], found["package"])
