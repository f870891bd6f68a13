# SPDX-License-Identifier: GPL-2.0-or-later
"""Where encoding takes place: in ``vnc_worker`` off the BQL, or in the main loop under it.

One worker serves all displays, as in QEMU. It takes no lock but the screen's; it hands results
over through the main loop's call_soon_threadsafe. What QEMU does and this does not: the main loop
never waits for a job (QEMU's ``vnc_jobs_join`` does, with the BQL, when a client leaves or a mode
changes).
"""

import asyncio
import queue

from vmm._native import lib
from vmm.bql import Recorder
from vmm.display.vnc.jobs import Job, JobResult, run_job
from vmm.threads import NamedThread, spawn

THREAD_NAME = "vnc_worker"


class EncodeWorker:
    """The worker thread and its queue. Made, used and closed in the main thread.

    Args:
        loop: the main loop, in which ``job.done`` is called.
        recorder: where the thread is registered, or None.
        cpu: host CPU to run on, or -1.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, recorder: Recorder | None, cpu: int = -1
    ) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: NamedThread = spawn(
            THREAD_NAME, int(lib.BQLREC_ROLE_VNC), recorder, self._work, cpu
        )

    @property
    def tid(self) -> int:
        """The kernel's thread id."""
        return self._thread.tid

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._queue.put(job)

    def close(self) -> None:
        """End the thread after the job it is at. Under the BQL only inside ``bql.blocked``."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            result = JobResult(b"", 0, 0) if job.cancelled else run_job(job)
            try:
                self._loop.call_soon_threadsafe(job.done, result)
            except RuntimeError:  # the main loop is closed: nobody wants results any more
                return
            del job, result  # a client's memory goes when it does, not with the next job


class InlineEncoder:
    """Encodes at once, in the main loop under the BQL: what QEMU did before it had a worker."""

    def submit(self, job: Job) -> None:
        """Encode a job and hand it over."""
        job.done(run_job(job))

    def close(self) -> None:
        """Nothing to end."""
