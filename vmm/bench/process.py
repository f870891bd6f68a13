# SPDX-License-Identifier: GPL-2.0-or-later
"""Children of a benchmark: run one to its end, read the guest's result line."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vmm.errors import VmmError

RESULT_MARK = '{"bqlscope_guest"'
SLACK_S = 60.0
"""What a child may take on top of the time it measures: boot, warm-up, a loaded machine."""


class BenchError(VmmError):
    """A contestant failed; the message is one line."""


class MissingToolError(BenchError):
    """A program that the comparison needs is not installed; the message names the way out."""


@dataclass(frozen=True)
class Finished:
    """What a child left behind."""

    status: int
    stdout: str
    stderr: str


Run = Callable[[Sequence[str], float], Finished]
"""Runs a command for at most so many seconds; tests pass a fake one."""


def run_child(command: Sequence[str], timeout_s: float) -> Finished:
    """Run a command to its end; on every other way out of here it is killed and reaped.

    Raises:
        BenchError: it did not start or did not end in time.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{command[0]} did not end within {timeout_s:.0f} s") from None
    except OSError as error:
        raise BenchError(f"{command[0]}: {error.strerror}") from None
    return Finished(done.returncode, done.stdout, done.stderr)


def find_tool(name: str) -> str:
    """Absolute path of a program.

    Raises:
        MissingToolError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(
            f"{name} is not installed: 'sudo make bench-deps' installs QEMU and fio"
        )
    return path


def last_line(text: str) -> str:
    """The last line that is not blank, for messages."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def guest_result(who: str, done: Finished) -> dict[str, Any]:
    """The micro-guest's result out of a VMM's standard output.

    Raises:
        BenchError: there is none, or the guest met I/O errors.
    """
    for line in done.stdout.splitlines():
        if line.startswith(RESULT_MARK):
            try:
                result: dict[str, Any] = json.loads(line)
            except ValueError:
                break
            if result.get("blk", {}).get("errors", 0):
                raise BenchError(f"{who}: the guest met {result['blk']['errors']} I/O errors")
            return result
    said = last_line(done.stdout if "guest:" in done.stdout else done.stderr)
    raise BenchError(f"{who} ended with status {done.status} and no result: {said}")
