# SPDX-License-Identifier: GPL-2.0-or-later
"""Can this QEMU be recorded? Asked before it runs: which version, and through which symbol.

`QEMU --version` is run with the library preloaded; its constructor writes one line for each program
that it is loaded into. A wrapper script gives lines of its shell first: the last line counts.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from profiler.errors import EXIT_UNUSABLE, UserError
from profiler.qemu.command import environment, package_of, probe_words, program_index

EXIT_NO_PROGRAM = 3
"""Exit status: a program is missing."""

_TIME_LIMIT = 60.0
_VERSION = re.compile(r"version (\d+(?:\.\d+)+)")


@dataclass(frozen=True)
class Qemu:
    """A QEMU that can be recorded. `version` is `10.0.2`, or empty if it does not say."""

    path: str
    version: str
    symbol: str

    def to_json(self) -> dict[str, str]:
        """The same as a dictionary."""
        return {"path": self.path, "version": self.version, "symbol": self.symbol}


def probe(words: Sequence[str], library: Path, environ: Mapping[str, str]) -> Qemu:
    """What QEMU this command line runs. Raises UserError if it cannot be recorded, or run."""
    program = words[program_index(words)]
    lines, done = _run(probe_words(words), library, environ)
    name, symbol = _last_answer(lines)
    if symbol == "-" and done.returncode != 0:
        # A wrapper with an exit status of its own is fine once it has run a QEMU.
        raise _failed(probe_words(words), done)
    if not name:
        raise UserError(
            f"{program} does not take preloaded libraries (is it statically linked, or set-uid?),"
            " so it cannot be recorded; `bqlscope attach` can poll a running one"
        )
    if symbol == "-":
        raise UserError(
            f"{name} cannot be recorded: it exports neither bql_mutex_lock_func nor"
            " qemu_bql_mutex_lock_func; start it without bqlscope and with"
            " -qmp unix:SOCKET,server=on,wait=off, then: bqlscope attach PID --qmp SOCKET"
        )
    version = _VERSION.search(done.stdout)
    return Qemu(
        path=shutil.which(program) or program,
        version=version[1] if version else "",
        symbol=symbol,
    )


def cannot_start(program: str, error: OSError) -> UserError:
    """The error for a program that cannot be started."""
    if isinstance(error, FileNotFoundError):
        return UserError(
            f"{program} is not installed; on Debian and Ubuntu: apt install {package_of(program)}",
            EXIT_NO_PROGRAM,
        )
    return UserError(f"cannot run {program}: {(error.strerror or str(error)).lower()}")


def _run(
    words: Sequence[str], library: Path, environ: Mapping[str, str]
) -> tuple[str, "subprocess.CompletedProcess[str]"]:
    """What the library wrote, and how the program ended."""
    read_end, write_end = os.pipe()
    try:
        try:
            done = subprocess.run(
                words,
                env=environment(environ, library, probe=write_end),
                pass_fds=[write_end],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIME_LIMIT,
                check=False,
            )
        except OSError as error:
            raise cannot_start(words[0], error) from error
        except subprocess.TimeoutExpired as error:
            raise UserError(f"'{' '.join(words)}' does not end: is that QEMU?") from error
        finally:
            os.close(write_end)
        os.set_blocking(read_end, False)  # what it left running may hold the other end
        with suppress(BlockingIOError):
            return os.read(read_end, 65536).decode("utf-8", "replace"), done
        return "", done
    finally:
        os.close(read_end)


def _failed(words: Sequence[str], done: "subprocess.CompletedProcess[str]") -> UserError:
    said = next(iter(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
    missing = done.returncode == 127  # as a shell says it
    return UserError(
        f"'{' '.join(words)}' fails: {said}", EXIT_NO_PROGRAM if missing else EXIT_UNUSABLE
    )


def _last_answer(lines: str) -> tuple[str, str]:
    """Name and symbol of the last program that answered; no name if none did."""
    answers = [line.split() for line in lines.splitlines()]
    known = [(words[0], words[1]) for words in answers if len(words) == 2]
    return known[-1] if known else ("", "-")
