# SPDX-License-Identifier: GPL-2.0-or-later
"""The big lock and its recorder as Python objects.

Rule 1  Every acquisition names its call site: ``file:line`` of the Python caller, interned once
        per code location.
Rule 2  Misuse raises ``RuntimeError`` here, before the C lock would abort the process.
Rule 3  Waiting for the lock releases the GIL (cffi does), so that its holder can run.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, TracebackType
from typing import Any, Self

from vmm._native import ffi, lib

POLICIES = ("pthread", "ticket", "mcs")


class Recorder:
    """A recording of one lock's acquisitions in a shared-memory file.

    Args:
        path: the file; ``None`` chooses ``<pid>.bql`` in the user's private runtime directory.
        vm_name: shown to people, at most 63 bytes.
        enabled: record from the start.

    Raises:
        OSError: the file cannot be made; the message says why.

    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, vm_name: str = "", enabled: bool = True
    ) -> None:
        err = ffi.new("char[]", lib.BQLREC_ERR_SIZE)
        path_bytes = ffi.NULL if path is None else ffi.new("char[]", os.fsencode(path))
        name_bytes = ffi.new("char[]", vm_name.encode())
        config = ffi.new(
            "BqlRecConfig *",
            {"path": path_bytes, "vm_name": name_bytes, "start_disabled": not enabled},
        )
        handle = lib.bqlrec_open(config, err)
        if handle == ffi.NULL:
            raise OSError(ffi.errno, ffi.string(err).decode(errors="replace"))
        self._handle: Any = handle
        self._users = 0
        self.path: str = os.fsdecode(ffi.string(lib.bqlrec_path(handle)))

    @property
    def handle(self) -> Any:
        """The ``BqlRec *`` for native code. Raises ``RuntimeError`` after :meth:`close`."""
        if self._handle is None:
            raise RuntimeError("the recorder is closed")
        return self._handle

    @property
    def enabled(self) -> bool:
        """Whether acquisitions are recorded; may be switched at any time."""
        return bool(lib.bqlrec_is_enabled(self.handle))

    @enabled.setter
    def enabled(self, value: bool) -> None:
        lib.bqlrec_set_enabled(self.handle, value)

    def enter_thread(self, role: int, name: str) -> None:
        """Register the calling thread under a ``BQLREC_ROLE_*`` and a name (15 bytes used)."""
        lib.bqlrec_thread_enter(self.handle, role, name.encode())

    def sync_clock(self) -> None:
        """Store a fresh clock calibration triple."""
        lib.bqlrec_clock_sync(self.handle)

    def close(self, unlink: bool = False) -> None:
        """Finish the recording; the file stays readable unless ``unlink``. Idempotent.

        Raises:
            RuntimeError: a :class:`Bql` still uses it.

        """
        if self._handle is None:
            return
        if self._users:
            raise RuntimeError("close the lock before its recorder")
        handle, self._handle = self._handle, None
        lib.bqlrec_close(handle, unlink)

    def _retain(self) -> Any:
        handle = self.handle
        self._users += 1
        return handle

    def _release(self) -> None:
        self._users -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Bql:
    """The big lock. Not recursive; see ``vmm/native/bql.h`` for its rules.

    Args:
        policy: one of :data:`POLICIES`.
        recorder: records every acquisition; serves one lock. ``None`` records nothing.

    Raises:
        ValueError: an unknown policy.
        OSError: the recorder already serves a lock (``EBUSY``), or no memory.

    """

    def __init__(self, policy: str = "pthread", recorder: Recorder | None = None) -> None:
        if policy not in POLICIES:
            raise ValueError(f"unknown lock policy {policy!r}, expected one of {POLICIES}")
        rec = ffi.NULL if recorder is None else recorder._retain()
        handle = lib.bql_new(policy.encode(), rec)
        if handle == ffi.NULL:
            error = ffi.errno
            if recorder is not None:
                recorder._release()
            raise OSError(error, f"cannot make the lock: {os.strerror(error)}")
        self._handle: Any = handle
        self._recorder = recorder
        self._conditions: list[Condition] = []
        self._sites: dict[tuple[CodeType, int], int] = {}

    @property
    def handle(self) -> Any:
        """The ``Bql *`` for native code. Raises ``RuntimeError`` after :meth:`close`."""
        if self._handle is None:
            raise RuntimeError("the lock is closed")
        return self._handle

    @property
    def recorder(self) -> Recorder | None:
        """The recorder this lock reports to."""
        return self._recorder

    def site(self, file: str, line: int, function: str = "", region: str | None = None) -> int:
        """Intern a call site; ``region`` is a device's memory region. Returns its id."""
        return int(
            lib.bql_site(
                self.handle,
                os.fsencode(file),
                line,
                function.encode(),
                ffi.NULL if region is None else region.encode(),
            )
        )

    def _caller_site(self, depth: int) -> int:
        frame = sys._getframe(depth + 1)
        key = (frame.f_code, frame.f_lineno)
        site = self._sites.get(key)
        if site is None:
            code = frame.f_code
            site = self.site(code.co_filename, frame.f_lineno, code.co_qualname)
            self._sites[key] = site
        return site

    @contextmanager
    def _holding(self, site: int) -> Iterator[None]:
        self.lock(site)
        try:
            yield
        finally:
            self.unlock()

    def held(self) -> Any:
        """Context manager that holds the lock. Raises ``RuntimeError`` if already held."""
        return self._holding(self._caller_site(1))

    def lock(self, site: int | None = None) -> None:
        """Take the lock. Raises ``RuntimeError`` if the calling thread holds it."""
        if self.locked():
            raise RuntimeError("the BQL is not recursive: this thread already holds it")
        lib.bql_lock_site(self.handle, self._caller_site(1) if site is None else site)

    def trylock(self, site: int | None = None) -> bool:
        """Take the lock if it is free. Raises ``RuntimeError`` if this thread holds it."""
        if self.locked():
            raise RuntimeError("the BQL is not recursive: this thread already holds it")
        return bool(
            lib.bql_trylock_site(self.handle, self._caller_site(1) if site is None else site)
        )

    def unlock(self) -> None:
        """Release the lock. Raises ``RuntimeError`` unless the calling thread holds it."""
        self.assert_held()
        lib.bql_unlock(self.handle)

    def locked(self) -> bool:
        """Whether the calling thread holds the lock."""
        return bool(lib.bql_locked(self.handle))

    def assert_held(self) -> None:
        """Raise ``RuntimeError`` unless the calling thread holds the lock."""
        if not self.locked():
            raise RuntimeError("the BQL must be held by the calling thread")

    @contextmanager
    def blocked(self, reason: int) -> Iterator[None]:
        """Mark the current hold as sleeping for a ``BQLREC_BLOCKED_*`` reason."""
        self.assert_held()
        lib.bql_blocked_begin(self.handle, reason)
        try:
            yield
        finally:
            lib.bql_blocked_end(self.handle)

    def condition(self) -> "Condition":
        """Make a condition variable whose mutex is this lock. Freed with the lock."""
        condition = Condition(self)
        self._conditions.append(condition)
        return condition

    def close(self) -> None:
        """Free the lock. Idempotent. Nobody may hold it, wait for it or use it afterwards.

        Raises:
            RuntimeError: the calling thread holds it.

        """
        if self._handle is None:
            return
        if self.locked():
            raise RuntimeError("the BQL cannot be closed while it is held")
        for condition in self._conditions:
            condition._free()
        handle, self._handle = self._handle, None
        lib.bql_free(handle)
        if self._recorder is not None:
            self._recorder._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Condition:
    """A condition variable of a :class:`Bql`. Spurious wake-ups happen: always loop."""

    def __init__(self, bql: Bql) -> None:
        handle = lib.bql_cond_new(bql.handle)
        if handle == ffi.NULL:
            raise MemoryError("cannot make a condition variable")
        self._bql = bql
        self._handle: Any = handle

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait for a notification, take the lock again.

        Args:
            timeout: seconds, ``None`` for no limit.

        Returns:
            False if the time ran out.

        Raises:
            RuntimeError: the lock is not held.

        """
        self._bql.assert_held()
        site = self._bql._caller_site(1)
        timeout_ns = -1 if timeout is None else max(0, int(timeout * 1e9))
        return bool(lib.bql_cond_wait_site(self._handle, site, timeout_ns))

    def notify(self) -> None:
        """Wake at least one waiter, if there is one."""
        self._bql.handle  # noqa: B018 - raises if closed
        lib.bql_cond_signal(self._handle)

    def notify_all(self) -> None:
        """Wake all waiters."""
        self._bql.handle  # noqa: B018 - raises if closed
        lib.bql_cond_broadcast(self._handle)

    def _free(self) -> None:
        handle, self._handle = self._handle, ffi.NULL
        lib.bql_cond_free(handle)
