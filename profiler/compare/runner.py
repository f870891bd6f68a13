# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the trials of all plans, one child VMM each.

Rules: one child at a time; the child leads a session of its own, so a Ctrl-C at the terminal
reaches only this process, which then ends the process group of the child.  While a trial runs, its
recording lies on a memory file system if there is one: a recording that is written back to a disk
would add page faults to the very threads being timed.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

from profiler.compare.locks import LockReader
from profiler.compare.plan import Plan, Slot, rotation
from profiler.compare.progress import Reporter
from profiler.compare.trial import Trial, TrialError, read_trial
from profiler.compare.vmm import TrialFiles
from profiler.compare.workload import Workload
from profiler.errors import UserError

EXIT_TRIAL_FAILED = 1
START_ALLOWANCE = 60.0
"""Seconds a child may take on top of twice its workload: a loaded host boots slowly."""

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""

ATTEMPTS = 2
FILE_NAME_CHARACTERS = str.maketrans("/ ", "--")


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """End the child if it still runs; returns once it is gone.

    The child may be a wrapper around the VMM, so the signals go to both: they are a process group
    of their own, whose number is taken as long as the child has not been waited for.
    """
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file without filling its holes; a recording is mostly holes."""
    with source.open("rb") as reader, target.open("xb") as writer:
        size = os.fstat(reader.fileno()).st_size
        position = 0
        while position < size:
            try:
                start = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError:
                break  # ENXIO: only a hole is left
            position = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            while start < position:
                chunk = os.pread(reader.fileno(), min(1 << 20, position - start), start)
                if not chunk:
                    break
                os.pwrite(writer.fileno(), chunk, start)
                start += len(chunk)
        writer.truncate(size)


@contextmanager
def _memory_directory() -> Iterator[Path]:
    """A private directory, on a memory file system where there is one; removed at the end."""
    candidates = [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm"]
    parent = next((name for name in candidates if name and os.access(name, os.W_OK)), None)
    directory = tempfile.mkdtemp(prefix="bqlscope-compare-", dir=parent)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class HeldSignals:
    """Holds SIGINT and SIGTERM back until `release`, in the main thread.

    An exception raised by a signal inside `Popen` would lose the child it has just started.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._previous: dict[signal.Signals, Any] = {}
        self._arrived: list[int] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._NUMBERS:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._arrived.append(number)

    def release(self) -> None:
        """Put the handlers back and deliver what has arrived. Idempotent."""
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
        while self._arrived:
            signal.raise_signal(self._arrived.pop())

    def __exit__(self, *_: object) -> None:
        self.release()


class Runner:
    """Runs all trials of some plans, interleaved.  `read_locks` reads a trial's recording.

    `keep` is an existing directory that receives every successful trial's files.
    """

    def __init__(
        self, plans: Sequence[Plan], read_locks: LockReader, *, keep: Path | None = None
    ) -> None:
        self._plans = {plan.key: plan for plan in plans}
        self._slots = tuple(rotation(plans))
        self._read_locks = read_locks
        self._keep = keep

    def run(self, reporter: Reporter) -> list[Trial]:
        """All trials in running order.  Raises `UserError` when one fails twice."""
        trials = []
        with _memory_directory() as directory:
            for slot in self._slots:
                reporter.started(slot, len(self._slots))
                trials.append(self._run_slot(slot, directory, reporter))
                reporter.finished(trials[-1], len(self._slots))
        return trials

    def _run_slot(self, slot: Slot, directory: Path, reporter: Reporter) -> Trial:
        plan, reason = self._plans[slot.vmm], ""
        for attempt in range(ATTEMPTS):
            files = TrialFiles(directory / f"{slot.index}-{attempt}")
            files.directory.mkdir()
            try:
                status = _run_child(plan.vmm.command(plan.job(slot), files), plan.workload, files)
                document = plan.vmm.collect(files, status)
                trial = read_trial(slot, document, files.recording, self._read_locks)
                self._keep_files(slot, files)
            except TrialError as error:
                reason = str(error)
                if attempt + 1 < ATTEMPTS:
                    reporter.retried(slot, reason)
            else:
                return trial
            finally:
                shutil.rmtree(files.directory, ignore_errors=True)
        raise UserError(
            f"trial {slot.trial + 1} of {slot.name} failed twice: {reason}", EXIT_TRIAL_FAILED
        )

    def _keep_files(self, slot: Slot, files: TrialFiles) -> None:
        if self._keep is None:
            return
        stem = f"{slot.name.translate(FILE_NAME_CHARACTERS)}-trial{slot.trial + 1}"
        try:
            for path in sorted(files.directory.iterdir()):
                copy_sparse(path, self._keep / f"{stem}-{path.name}")
        except OSError as error:
            raise UserError(f"cannot save trial files: {error}", EXIT_TRIAL_FAILED) from error


def _run_child(command: Sequence[str], work: Workload, files: TrialFiles) -> int:
    """Run one child to its end and return its status, negative for a signal.

    Raises `TrialError` if it does not start or end; on any exception the child is ended.
    """
    limit = START_ALLOWANCE + 2 * (work.duration + work.warmup)
    with files.log.open("wb") as log, HeldSignals() as held:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise TrialError(f"the VMM cannot be started: {error}") from error
        try:
            held.release()
            return child.wait(limit)
        except subprocess.TimeoutExpired:
            raise TrialError(f"the VMM did not end within {limit:.0f} seconds") from None
        finally:
            _stop(child)
