# SPDX-License-Identifier: GPL-2.0-or-later
"""The one way to start a thread whose body is Python: named, registered, joined, never silent."""

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vmm._native import lib
from vmm.bql import Recorder

log = logging.getLogger("vmm.threads")

NAME_BYTES = 15  # what the kernel keeps of a thread's name
_KEPT_SIGNALS = {signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGBUS}


class ThreadHandle:
    """A running thread. ``join`` it exactly once; ``error`` is what it died of, if it did."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tid = 0
        """OS thread id."""
        self.error: BaseException | None = None
        self._started = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self) -> None:
        """Wait for its end. Not under the BQL, unless marked with ``bql.blocked``."""
        assert self._thread is not None
        self._thread.join()

    def _run(self, role: int, recorder: Recorder | None, fn: Callable[[], None]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - _KEPT_SIGNALS)
        self.tid = threading.get_native_id()
        with suppress(OSError):  # only a name
            Path(f"/proc/self/task/{self.tid}/comm").write_text(self.name)
        if recorder is not None:
            recorder.enter_thread(role, self.name)
        self._started.set()
        try:
            fn()
        except BaseException as error:
            self.error = error
            log.exception("thread %s ended by an error", self.name)
        finally:
            if recorder is not None:
                lib.bqlrec_thread_exit(recorder.handle)


def spawn(name: str, role: int, recorder: Recorder | None, fn: Callable[[], None]) -> ThreadHandle:
    """Start ``fn`` in a thread; returns once it runs under its name.

    Args:
        name: the OS name, QEMU's where it has one (``IO mon_iothread``); 15 bytes are kept.
        role: a ``BQLREC_ROLE_*``.
        recorder: told of the thread; it must be closed after the thread's end.
        fn: the body. An exception ends the thread, is logged and kept in ``error``.
    """
    handle = ThreadHandle(name.encode()[:NAME_BYTES].decode(errors="ignore"))
    thread = threading.Thread(
        target=handle._run, args=(role, recorder, fn), name=handle.name, daemon=True
    )
    handle._thread = thread
    thread.start()
    handle._started.wait()
    return handle
