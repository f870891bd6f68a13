# SPDX-License-Identifier: GPL-2.0-or-later
"""What vCPUs and devices ask of the main loop, as an awaitable."""

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vmm._native import ffi, lib
from vmm.errors import CallbackError, check_pointer


class RequestKind(Enum):
    """What is asked for; the values are C's."""

    DEBUG_EXIT = 1
    SHUTDOWN = 2
    RESET = 3
    GUEST_CRASH = 4
    INTERNAL_ERROR = 5
    CALLBACK_ERROR = 6
    TRIPLE_FAULT = 7

    @property
    def is_reset(self) -> bool:
        """Whether a machine answers it with a system reset."""
        return self in (RequestKind.RESET, RequestKind.TRIPLE_FAULT)


@dataclass(frozen=True)
class Request:
    """One taken request: its kind, a code (debug-exit value), the vCPU (-1: none), and words."""

    kind: RequestKind
    code: int
    vcpu: int
    message: str

    def raise_callback_error(self, error: BaseException | None) -> None:
        """Raise CallbackError from ``error`` if that is what this request is about."""
        if self.kind is RequestKind.CALLBACK_ERROR and error is not None:
            raise CallbackError(self.message) from error


class Requests:
    """The native request slot, watched by the main loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.native: Any = check_pointer(ffi, lib.vm_requests_new(), "creating the request slot")
        self._loop = loop
        self._taken: deque[Request] = deque()
        self._arrived = asyncio.Event()
        self._fd = lib.vm_requests_fd(self.native)
        loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        raw = ffi.new("VmRequest *")
        if not lib.vm_request_take(self.native, raw):
            return
        message = ffi.string(raw.message).decode(errors="replace")
        self._taken.append(Request(RequestKind(raw.kind), raw.code, raw.vcpu, message))
        self._arrived.set()

    def file(self, kind: RequestKind, code: int, message: str) -> None:
        """Ask for something from Python, in any thread."""
        lib.vm_request_file(
            self.native,
            ffi.cast("int", kind.value),
            ffi.cast("int", code),
            ffi.cast("int", -1),
            b"%s",
            ffi.new("char[]", message.encode()),
        )

    def drop_resets(self) -> None:
        """Forget resets that were asked for so far: one answers them all. The vCPUs are stopped."""
        self._readable()
        self._taken = deque(each for each in self._taken if not each.kind.is_reset)

    async def wait(self) -> Request:
        """The next request."""
        while not self._taken:
            self._arrived.clear()
            await self._arrived.wait()
        return self._taken.popleft()

    def close(self) -> None:
        """Stop watching and free; no vCPU may run any more."""
        self._loop.remove_reader(self._fd)
        lib.vm_requests_free(self.native)
