# SPDX-License-Identifier: GPL-2.0-or-later
"""Accepts connections on listening sockets in the main loop."""

import asyncio
import logging
import socket
from collections.abc import Callable

from vmm.display.vnc.listen import Listener

log = logging.getLogger("vmm.vnc")

RETRY_SECONDS = 1.0
"""After the host had no descriptor left for a connection."""


class Acceptor:
    """Hands each connection of a listener to a new protocol. Main thread.

    asyncio's own servers are made by a coroutine; a machine is built before its loop runs.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        protocol: Callable[[], asyncio.BufferedProtocol],
    ) -> None:
        self.listener = listener
        self._loop = loop
        self._protocol = protocol
        self._tasks: set[asyncio.Task[object]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._watch()

    def close(self) -> None:
        """Stop accepting."""
        for each in self.listener.sockets:
            self._loop.remove_reader(each.fileno())
        if self._retry is not None:
            self._retry.cancel()
        for task in self._tasks:
            task.cancel()
        self.listener.close()

    def _watch(self) -> None:
        self._retry = None
        for each in self.listener.sockets:
            self._loop.add_reader(each.fileno(), self._accept, each)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptors, no memory: it would be tried in a busy loop
            log.warning("VNC: cannot accept a connection: %s", error.strerror)
            for each in self.listener.sockets:
                self._loop.remove_reader(each.fileno())
            self._retry = self._loop.call_later(RETRY_SECONDS, self._watch)
            return
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        adopt = self._loop.connect_accepted_socket(self._protocol, connection)
        task: asyncio.Task[object] = self._loop.create_task(adopt)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
