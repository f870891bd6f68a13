# SPDX-License-Identifier: GPL-2.0-or-later
"""All monitors of a machine: listeners and clients in the monitor's thread, commands in the main
loop. Made and closed by the main thread, under the BQL.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vmm._native import ffi, lib
from vmm.monitor.commands.all import registry
from vmm.monitor.connection import Connection
from vmm.monitor.dispatcher import Dispatcher
from vmm.monitor.events import EventSender
from vmm.monitor.hmp.commands import hmp_table
from vmm.monitor.hmp.connection import HmpConnection
from vmm.monitor.lock_reports import LockReports
from vmm.monitor.options import MonitorOptions, listen, remove_socket
from vmm.monitor.qmp import QmpConnection
from vmm.monitor.state import MonitorState
from vmm.monitor.sync_profile import SyncProfile
from vmm.monitor.thread import MonitorThread

if TYPE_CHECKING:
    from vmm.machine import Machine

MAX_CLIENTS = 16  # of one monitor; one more is hung up on


@dataclass(eq=False)
class _Listener:
    options: MonitorOptions
    socket: socket.socket
    server: asyncio.Server | None = None
    inode: int = 0


def monitor_state(machine: "Machine") -> MonitorState:
    """What the monitors of a machine share."""
    recorder = machine.recorder
    reports = LockReports(recorder.path if recorder is not None else None)
    address = int(ffi.cast("uintptr_t", machine.bql.handle))
    enabled = recorder is not None and recorder.enabled
    profile = SyncProfile(reports, address, enabled)
    return MonitorState(machine, machine.control, reports, profile, hmp_table())


class Monitors:
    """Serves every ``--qmp`` and ``--monitor`` of a machine.

    Raises:
        VmmError: one of them cannot listen.
    """

    def __init__(self, machine: "Machine", options: Sequence[MonitorOptions]) -> None:
        self._bql = machine.bql
        self._loop = machine.main_loop.asyncio
        self.registry = registry()
        self.state = monitor_state(machine)
        self._dispatcher = Dispatcher(self._loop)
        self._events = EventSender(self.registry, machine.trace)
        self._clients: dict[Connection, _Listener] = {}
        self._listeners: list[_Listener] = []
        try:
            for each in options:
                self._listeners.append(_listener(each))
        except BaseException:
            self._close_sockets()
            raise
        self._leave_events = machine.events.subscribe(self._events.tell)
        self._thread = MonitorThread(machine.recorder)
        for listener in self._listeners:
            self._thread.wait(self._serve(listener))

    def notes(self) -> list[str]:
        """A line for each monitor whose port the host chose."""
        chosen = [each for each in self._listeners if each.options.path is None]
        return [
            f"{each.options.option}: {each.options.host}:{each.socket.getsockname()[1]}"
            for each in chosen
            if each.options.port == 0
        ]

    async def _serve(self, listener: _Listener) -> None:
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return self._connect(listener)

        if listener.options.path is not None:
            listener.server = await loop.create_unix_server(connection, sock=listener.socket)
        else:
            listener.server = await loop.create_server(connection, sock=listener.socket)

    def _connect(self, listener: _Listener) -> Connection:
        """[monitor's thread] A client of this listener."""
        made: type[QmpConnection | HmpConnection]
        made = QmpConnection if listener.options.option == "--qmp" else HmpConnection
        client = made(
            self.registry, self.state, self._thread, self._loop, self._dispatcher, self._lost
        )
        client.refused = list(self._clients.values()).count(listener) >= MAX_CLIENTS
        self._clients[client] = listener
        if isinstance(client, QmpConnection):
            client.in_main(self._events.add, client)
        return client

    def _lost(self, client: Connection) -> None:
        """[monitor's thread] A client left."""
        del self._clients[client]
        if isinstance(client, QmpConnection):
            client.in_main(self._events.remove, client)

    async def _hang_up(self) -> None:
        """[monitor's thread] No more clients; the ones there are get their last bytes."""
        # A server that is closed while asyncio still accepts a client forgets it, connected.
        loop = asyncio.get_running_loop()
        for each in self._listeners:
            loop.remove_reader(each.socket.fileno())
        accepting = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*accepting, return_exceptions=True)
        for each in self._listeners:
            if each.server is not None:
                each.server.close()
        await asyncio.gather(*(client.close() for client in tuple(self._clients)))

    def close(self) -> None:
        """Hang up and end the thread. The main loop does not run any more."""
        self._leave_events()
        with self._bql.blocked(lib.BQLREC_BLOCKED_JOIN):
            self._thread.wait(self._hang_up())
            self._thread.close()
        self._dispatcher.close()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for each in self._listeners:
            each.socket.close()
            if each.options.path is not None:
                remove_socket(each.options.path, each.inode)


def _listener(options: MonitorOptions) -> _Listener:
    made = _Listener(options, listen(options))
    if options.path is not None:
        made.inode = Path(options.path).lstat().st_ino
    return made
