# SPDX-License-Identifier: GPL-2.0-or-later
"""py-spy as a program: where it is, whether it may, and one dump of one process.

A dump is `--nonblocking`: the process is read while it goes on, so no vCPU is kicked out of the
guest. Stacks of native code cannot be had that way; `native` stops every thread for some tens of
milliseconds, and each vCPU leaves the guest for it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from profiler.discovery import PROC
from profiler.stacks.dump import StackError, ThreadStack, parse_dump

PROGRAM = "py-spy"
TIMEOUT_SECONDS = 15.0
LARGEST_ANSWER = 32 << 20
"""Bytes of an answer that are read; 64 threads of 30 frames are 0.5 MB."""

SITES_ONLY = "call sites only"
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")


def find_pyspy(interpreter: str | None = None, path: str | None = None) -> Path:
    """The program: beside the interpreter, where its package installs it, else on the path.

    Raises StackError if there is none.
    """
    beside = Path(interpreter or sys.executable).parent / PROGRAM
    if os.access(beside, os.X_OK) and beside.is_file():
        return beside
    elsewhere = shutil.which(PROGRAM, path=path)
    if elsewhere is None:
        raise StackError(
            f"no {PROGRAM} here, so {SITES_ONLY}; to have Python stacks: pip install {PROGRAM}"
        )
    return Path(elsewhere)


def require_readable(pid: int, proc: Path = PROC) -> None:
    """Raise StackError if a process has no Python, or may not be read by us. Disturbs nothing."""
    try:
        mapped = (proc / str(pid) / "maps").read_text(encoding="utf-8", errors="replace")
        # Opening it asks the kernel exactly what reading the process will ask.
        os.close(os.open(proc / str(pid) / "mem", os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        raise _forbidden(pid) from None
    except OSError:
        raise StackError(f"process {pid} has ended") from None
    files = (line.split(maxsplit=5)[5:] for line in mapped.splitlines())
    if not any("python" in Path(file[0]).name for file in files if file):
        raise StackError(f"process {pid} runs no Python (a QEMU has none), so {SITES_ONLY}")


def _forbidden(pid: int) -> StackError:
    hint = "run as its user, or as root"
    try:
        restricted = _YAMA.read_text().strip() not in ("", "0")
    except OSError:
        restricted = False
    if restricted:
        hint += "; as its user also needs: sudo sysctl kernel.yama.ptrace_scope=0"
    return StackError(f"no permission to read process {pid}, so {SITES_ONLY}; {hint}")


class PySpy:
    """Takes dumps. `native`: with frames of native code, which stops the process meanwhile."""

    def __init__(self, program: Path, native: bool = False) -> None:
        self.native = native
        self._command = [str(program), "dump", "--json", "--native" if native else "--nonblocking"]

    def dump(self, pid: int) -> tuple[ThreadStack, ...]:
        """The stacks of a process right now. Raises StackError."""
        command = [*self._command, "--pid", str(pid)]
        with tempfile.TemporaryFile() as answer:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=answer,
                    stderr=subprocess.PIPE,
                    env={**os.environ, "RUST_BACKTRACE": "0", "RUST_LIB_BACKTRACE": "0"},
                    timeout=TIMEOUT_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise StackError(f"{PROGRAM} gave no answer in {TIMEOUT_SECONDS:g} s") from None
            except OSError as error:
                raise StackError(
                    f"{command[0]}: {(error.strerror or str(error)).lower()}"
                ) from error
            if done.returncode:
                raise _failed(pid, done.stderr.decode(errors="replace"))
            answer.seek(0)
            data = answer.read(LARGEST_ANSWER + 1)
        if len(data) > LARGEST_ANSWER:
            raise StackError(f"{PROGRAM} printed more than {LARGEST_ANSWER >> 20} MiB")
        return parse_dump(data)


def _failed(pid: int, told: str) -> StackError:
    """What py-spy's complaint means."""
    lower = told.lower()
    if "permission denied" in lower or "operation not permitted" in lower:
        return _forbidden(pid)
    if "find python version" in lower:
        return StackError(f"process {pid} runs no Python that {PROGRAM} knows, so {SITES_ONLY}")
    if "no such file" in lower or "no such process" in lower:
        return StackError(f"process {pid} has ended")
    first = next((line.strip() for line in told.splitlines() if line.strip()), "it says nothing")
    printable = "".join(c for c in first[:200] if c.isprintable())
    return StackError(f"{PROGRAM} failed: {printable.removeprefix('Error: ')}")
