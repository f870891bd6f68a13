# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client: its session on a connection."""

from typing import Any

from vmm.monitor.connection import Connection
from vmm.monitor.registry import Call, Registry
from vmm.monitor.session import Request, Session
from vmm.monitor.state import MonitorState


class QmpConnection(Connection):
    """A client that speaks QMP."""

    def __init__(self, registry: Registry, state: MonitorState, *args: Any) -> None:
        super().__init__(*args)
        self.session = Session(state.package)
        self._registry = registry
        self._trace = state.machine.trace
        self._call = Call(state.machine, registry, self.session, state)

    def greeting(self) -> bytes:
        """QMP's."""
        return self.session.greeting()

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self.session.feed(data)

    def take(self) -> bool:
        """Answer an OOB request here, hand an in-band one to the main loop.

        Negotiation needs neither lock nor main loop: who comes to ask who holds the lock is let in
        while it is held. What else is sent before is an error.
        """
        request = self.session.next()
        if request is None:
            return False
        self._trace.emit("handle_qmp_command", lambda: _shown(request))
        if request.out_of_band:
            self._trace.emit("monitor_qmp_cmd_out_of_band", lambda: _id(request))
            reply = request.reply(self._registry.run_out_of_band(request, self._call))
            self._trace.emit("monitor_qmp_respond", reply.decode)
            self.write(reply)
        elif not self.session.negotiated:
            self.write(request.reply(self._registry.run_out_of_band(request, self._call)))
            self.finished()
        else:
            self.submit(lambda: self._run(request))
        return True

    async def _run(self, request: Request) -> bytes:
        self._trace.emit("monitor_qmp_cmd_in_band", lambda: _id(request))
        reply = request.reply(await self._registry.run(request, self._call))
        self._trace.emit("monitor_qmp_respond", reply.decode)
        return reply

    def finished(self) -> None:
        """A place in the queue is free again."""
        self.session.done()

    @property
    def wants_bytes(self) -> bool:
        """Whether there is room for a request."""
        return self.session.wants_bytes


def _shown(request: Request) -> str:
    """A request in a trace; passwords stay out of it."""
    if request.error is not None:
        return request.error
    if isinstance(request.value, dict) and "password" in str(request.value.get("execute")):
        return str(request.value.get("execute"))
    return str(request.value)


def _id(request: Request) -> str:
    return str(request.value.get("id", "")) if isinstance(request.value, dict) else ""
