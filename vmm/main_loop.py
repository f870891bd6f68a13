# SPDX-License-Identifier: GPL-2.0-or-later
"""The main loop: asyncio whose selector is the native event loop.

``select()`` drops the BQL, polls, retakes the BQL and runs native handlers; it returns only when a
descriptor that Python watches is ready. So asyncio code runs in the main thread under the BQL, as
QEMU's main loop does, and native I/O never waits for Python.
"""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

from vmm._native import ffi, lib
from vmm.errors import check, check_pointer

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_MAX_READY = 64


class NativeSelector(selectors.BaseSelector):
    """A selector over an AioContext. The caller of ``select`` must hold the BQL."""

    def __init__(self, context: Any, bql: Any) -> None:
        self._context = context
        self._bql = bql
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._fds = ffi.new("int[]", _MAX_READY)
        self._events = ffi.new("int[]", _MAX_READY)
        self._left = ffi.new("uint64_t *")

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file object; see selectors.BaseSelector."""
        fd = _fileno(fileobj)
        if not events or events & ~(_READ | _WRITE):
            raise ValueError(f"invalid events: {events!r}")
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        check(lib.aio_watch_fd(self._context, fd, events), "watching a file descriptor")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching; see selectors.BaseSelector."""
        fd = self._lookup(fileobj)
        key = self._keys.pop(fd)
        lib.aio_watch_fd(self._context, fd, 0)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Change events or data of a watched file object."""
        fd = self._lookup(fileobj)
        check(lib.aio_watch_fd(self._context, fd, events), "watching a file descriptor")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll without the BQL, run native handlers with it; ``timeout`` in seconds."""
        limit = -1 if timeout is None else max(0, int(timeout * 1e9))
        count = lib.main_loop_select(
            self._context, self._bql, limit, self._fds, self._events, _MAX_READY, self._left
        )
        lib.main_loop_took_gil(self._bql, self._left[0])
        ready = []
        for i in range(count):
            key = self._keys.get(self._fds[i])
            if key is not None and self._events[i] & key.events:
                ready.append((key, self._events[i] & key.events))
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Watched keys by file descriptor."""
        return dict(self._keys)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """The key of a watched file object."""
        return self._keys[self._lookup(fileobj)]

    def close(self) -> None:
        """Stop watching everything."""
        for fd in list(self._keys):
            lib.aio_watch_fd(self._context, fd, 0)
        self._keys.clear()

    def _lookup(self, fileobj: Any) -> int:
        fd = _fileno(fileobj)
        if fd in self._keys:
            return fd
        for key in self._keys.values():
            if key.fileobj is fileobj:
                return key.fd
        raise KeyError(f"{fileobj!r} is not registered")


def _fileno(fileobj: Any) -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if not isinstance(fd, int):
        raise ValueError(f"invalid file object: {fileobj!r}")
    return fd


class MainLoop:
    """The main loop's AioContext and asyncio loop. Made and used in the main thread."""

    def __init__(self, bql: Any) -> None:
        self.bql = bql
        # No adaptive polling: it would spin with the vCPUs' core, as QEMU's main loop does not.
        config = ffi.new("AioConfig *", {"ring": True})
        self.context = check_pointer(ffi, lib.aio_context_new(config), "creating the main loop")
        self._selector = NativeSelector(self.context, bql)
        self.asyncio = asyncio.SelectorEventLoop(self._selector)

    def close(self) -> None:
        """Close the asyncio loop, then the native context. Nothing may be pending."""
        self.asyncio.close()
        lib.aio_context_free(self.context)
