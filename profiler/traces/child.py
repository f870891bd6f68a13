# SPDX-License-Identifier: GPL-2.0-or-later
"""The process whose recording `bqlscope record` drains: found, or started.

A recording is found by who has it mapped, not by its name: so it does not matter where it lies, and
whether the command or something that it starts is the one that is recorded.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from profiler.discovery import candidates, descendants, mapped_recordings
from profiler.errors import RecordingError, UserError
from profiler.reader import Recording

SEARCH_SECONDS = 0.02
EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 126, 127


class Child:
    """A command that runs beside us with our standard streams. A context manager."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises UserError if it cannot be run."""
        try:
            self._process = subprocess.Popen(command)
        except OSError as error:
            code = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_EXECUTABLE
            raise UserError(f"{command[0]}: {(error.strerror or '').lower()}", code) from error
        self._passed = 0

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.running:
            if error is not None:
                self._process.terminate()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def pass_on(self, received: Sequence[int]) -> None:
        """Send it the signals that came since the last call.

        A terminal sends Ctrl-C to both of us.
        """
        for number in received[self._passed :]:
            if not (number == signal.SIGINT and sys.stdin and sys.stdin.isatty()):
                self._process.send_signal(number)
        self._passed = len(received)

    def wait(self, received: Sequence[int]) -> int:
        """Wait until it ends. Returns its exit status, 128 + N if signal N ended it."""
        while self.running:
            self.pass_on(received)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SEARCH_SECONDS)
        status = self._process.returncode
        return status if status >= 0 else 128 - status


def await_recording(pid: int, runs: Callable[[], bool]) -> Recording | None:
    """The recording of a process or of a descendant, once there is one; None if it ends before.

    `runs()` is asked every 20 ms whether to go on.
    """
    while runs():
        for candidate in descendants(pid):
            found = _recording_of(candidate)
            if found is not None:
                return found
        time.sleep(SEARCH_SECONDS)
    return None


def live_recording(target: str | None) -> Recording:
    """The recording of a live process: by id, by the recording's path, or the only one there is.

    Raises RecordingError, and UserError if the process has ended or there are several.
    """
    if target is None:
        return _only_one()
    found = None
    if target.isascii() and target.isdigit() and not Path(target).exists():
        found = _recording_of(int(target))
    recording = found or Recording.open(target)
    process = recording.process
    if not process.alive:
        recording.close()
        raise UserError(
            f"process {process.pid} has ended; `bqlscope convert {process.path}` reads its last"
            " events"
        )
    return recording


def _recording_of(pid: int) -> Recording | None:
    for path in mapped_recordings(pid):
        with suppress(RecordingError):
            recording = Recording.open(path)
            if recording.process.pid == pid and recording.process.alive:
                return recording
            recording.close()
    return None


def _only_one() -> Recording:
    live = []
    for path in candidates():
        with suppress(RecordingError), Recording.open(path) as recording:
            if recording.process.alive and recording.process.pid != os.getpid():
                live.append(recording.process)
    if not live:
        raise UserError("no process is recorded now; start a VM with `bqlscope run`")
    if len(live) > 1:
        pids = ", ".join(f"{process.pid} ({process.name})" for process in live)
        raise UserError(f"several processes are recorded: {pids}; name one")
    return Recording.open(live[0].path)
