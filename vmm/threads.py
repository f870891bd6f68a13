# SPDX-License-Identifier: GPL-2.0-or-later
"""The one helper that starts Python threads: name, role, affinity, signals and a start handshake
cannot be forgotten because there is no other way to get a thread (``vmm/native/thread.h`` is the
same for native ones).

Exception policy: a body is expected to catch what its work may raise; what escapes it ends the
thread with a log entry, never the process.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from vmm.bql import Recorder

log = logging.getLogger("vmm.threads")

_SYNCHRONOUS = {signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGBUS}


class NamedThread:
    """A running Python thread. Made by :func:`spawn`."""

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread

    @property
    def tid(self) -> int:
        """The kernel's thread id."""
        assert self._thread.native_id is not None
        return self._thread.native_id

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; False: it still runs.

        Never under the BQL without ``bql.blocked``.
        """
        self._thread.join(timeout)
        return not self._thread.is_alive()


def spawn(
    name: str, role: int, recorder: Recorder | None, body: Callable[[], None], cpu: int = -1
) -> NamedThread:
    """Start a thread and return once it runs under its name and is known to the recorder.

    Args:
        name: OS name, cut to 15 bytes.
        role: a ``BQLREC_ROLE_*``.
        recorder: where it is registered, or None.
        body: what it does.
        cpu: host CPU to run on, or -1 for any.

    Raises:
        OSError: the CPU does not exist.
        RuntimeError: the host has no room for a thread.
    """
    started = threading.Event()
    failure: list[OSError] = []

    def run() -> None:
        try:
            _enter(name, role, recorder, cpu)
        except OSError as error:
            failure.append(error)
            return
        finally:
            started.set()
        try:
            body()
        except Exception:
            log.exception("thread %s ended", name)

    # Daemon: it must not keep a process alive whose main thread is gone.
    thread = threading.Thread(target=run, name=name, daemon=True)
    # A new thread inherits the mask, so no signal can be missed at its start.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _SYNCHRONOUS)
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    started.wait()
    if failure:
        thread.join()
        raise failure[0]
    return NamedThread(thread)


def _enter(name: str, role: int, recorder: Recorder | None, cpu: int) -> None:
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})
    Path("/proc/thread-self/comm").write_text(name[:15])
    if recorder is not None:
        recorder.enter_thread(role, name)
