# SPDX-License-Identifier: GPL-2.0-or-later
"""The monitor's own event loop: ``IO mon_iothread``, as QEMU's. It never takes the BQL."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from vmm._native import lib
from vmm.bql import Recorder
from vmm.threads import NamedThread, spawn

NAME = "IO mon_iothread"

log = logging.getLogger("vmm.monitor")
_T = TypeVar("_T")


class MonitorThread:
    """An asyncio loop in a thread of its own. Made and closed by the main thread."""

    def __init__(self, recorder: Recorder | None) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread: NamedThread = spawn(NAME, lib.BQLREC_ROLE_IOTHREAD, recorder, self._run)

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def soon(self, fn: Callable[..., object], *args: Any) -> None:
        """Call ``fn`` there, in the order of these calls. Any thread; nothing after the end."""
        try:
            self.loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:  # closed
            log.debug("the monitor's thread has ended")

    def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine there and wait for it. It must be one that cannot block."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        """End the loop and wait for the thread's end."""
        self.soon(self.loop.stop)
        self._thread.join()
