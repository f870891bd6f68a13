# SPDX-License-Identifier: GPL-2.0-or-later
"""In-band commands of all monitors, one at a time, in the main loop under the BQL.

As QEMU's dispatcher coroutine: the clients take turns, so that one who sends without pause does
not starve the others; a command that waits (a coroutine) holds up the commands behind it, nothing
else of the main loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

Job = Callable[[], Awaitable[bytes]]

log = logging.getLogger("vmm.monitor")


class Asker(Protocol):
    """Who asked: gets the answer, in the main thread."""

    def answer(self, reply: bytes) -> None:
        """Send the answer to its oldest request."""


class Dispatcher:
    """A queue for each client. Main thread only; clients bound what they submit."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queues: dict[Asker, deque[Job]] = {}
        self._turns: deque[Asker] = deque()
        self._task: asyncio.Task[None] | None = None

    def submit(self, asker: Asker, job: Job) -> None:
        """Run ``job`` when it is its turn, and give ``asker`` what it returns."""
        if asker not in self._queues:
            self._queues[asker] = deque()
            self._turns.append(asker)
        self._queues[asker].append(job)
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._work())

    def forget(self, asker: Asker) -> None:
        """Its client left: what it still wants is dropped."""
        self._queues.pop(asker, None)

    async def _work(self) -> None:
        while self._turns:
            asker = self._turns.popleft()
            queue = self._queues.get(asker)
            if queue is None:
                continue
            job = queue.popleft()
            reply = await job()
            asker.answer(reply)
            if queue:
                self._turns.append(asker)
            elif self._queues.get(asker) is queue:
                del self._queues[asker]

    def close(self) -> None:
        """Give up what waits. The loop must not be running."""
        self._turns.clear()
        self._queues.clear()
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            self._loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
