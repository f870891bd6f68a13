# SPDX-License-Identifier: GPL-2.0-or-later
"""What the recording says about the lock, told by whoever can read one.

This package writes recordings and does not read them. A distribution that does names, in the
entry-point group ``bqlscope.lock_reports``, a function that takes the path of a recording and
returns plain data, see :data:`LockReport`; ours is ``profiler.lock_report:lock_report``.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from vmm.monitor.errors import MonitorError

GROUP = "bqlscope.lock_reports"

LockReport = dict[str, Any]
"""``sites``: rows with ``file``, ``line``, ``function``, ``region``, ``count`` (acquisitions),
``contended``, ``wait-ns``, ``hold-ns``. ``holder``: who holds the lock (``thread``, ``thread-id``,
``role``, ``site``, ``held-ns``, ``blocked``), or None. ``waiters``: how many threads wait.
``blame``: the pairs with the longest waits (``waiter``, ``holder``, ``count``, ``wait-ns``)."""

Reader = Callable[[str], LockReport]


class LockReports:
    """Reads one recording, with the reader that is installed. Any thread, without the BQL."""

    def __init__(self, recording: str | None) -> None:
        self._recording = recording
        self._reader: Reader | None = None

    def read(self) -> LockReport:
        """The report as of now.

        Raises:
            MonitorError: nothing is recorded, or nobody can read it.
        """
        if self._recording is None:
            raise MonitorError("the lock is not recorded: the machine was started with --no-record")
        reader = self._reader = self._reader or _find_reader()
        try:
            return reader(self._recording)
        except Exception as error:  # of another distribution
            raise MonitorError(f"cannot read the recording: {error}") from error


def _find_reader() -> Reader:
    for point in entry_points(group=GROUP):
        try:
            found: Reader = point.load()
        except (ImportError, AttributeError) as error:
            raise MonitorError(f"cannot load {point.value}: {error}") from error
        return found
    raise MonitorError(f"no reader of recordings is installed (entry points '{GROUP}')")
