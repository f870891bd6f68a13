# SPDX-License-Identifier: GPL-2.0-or-later
"""The events that monitors tell, and the way from the machine to the clients.

None of them is among those that QEMU limits to one a second (RTC_CHANGE, BALLOON_CHANGE, ...): each
follows from a command, from the guest's own end or from a connection.
"""

import logging
from typing import Any

from vmm.events import Event as MachineEvent
from vmm.monitor.qapi import BOOL, STR, Enum, Event, Member, Struct, optional
from vmm.monitor.qmp import QmpConnection
from vmm.monitor.registry import Registry
from vmm.monitor.session import encode
from vmm.trace import Trace

log = logging.getLogger("vmm.monitor")

SHUTDOWN_CAUSE = Enum(
    "ShutdownCause",
    (
        "none",
        "host-error",
        "host-qmp-quit",
        "host-qmp-system-reset",
        "host-signal",
        "host-ui",
        "guest-shutdown",
        "guest-reset",
        "guest-panic",
        "subsystem-reset",
        "snapshot-load",
    ),
    "Why a machine ends or is reset.",
)
_CAUSED = (
    Member("guest", BOOL, "the guest asked for it, not the host"),
    Member("reason", SHUTDOWN_CAUSE),
)
EVENTS = (
    Event("STOP", "The vCPUs are paused."),
    Event("RESUME", "The vCPUs run again."),
    Event("RESET", "The machine was reset.", Struct("q_obj_RESET-arg", _CAUSED)),
    Event("SHUTDOWN", "The machine ends.", Struct("q_obj_SHUTDOWN-arg", _CAUSED)),
    Event("POWERDOWN", "The guest was asked to shut down."),
    Event(
        "GUEST_PANICKED",
        "The guest crashed.",
        Struct(
            "q_obj_GUEST_PANICKED-arg",
            (Member("action", Enum("GuestPanicAction", ("pause", "poweroff", "run"))),),
        ),
    ),
    Event(
        "DEVICE_DELETED",
        "A device is gone, its id may be used again.",
        Struct(
            "q_obj_DEVICE_DELETED-arg", (optional("device", STR, "its id"), Member("path", STR))
        ),
    ),
)


def wire(event: MachineEvent) -> bytes:
    """An event as it is sent."""
    seconds, microseconds = divmod(event.timestamp_us, 1_000_000)
    message: dict[str, Any] = {
        "timestamp": {"seconds": seconds, "microseconds": microseconds},
        "event": event.name,
    }
    if event.data:
        message["data"] = dict(event.data)
    return encode(message)


class EventSender:
    """Sends the machine's events to the clients that have negotiated. Main thread."""

    def __init__(self, registry: Registry, trace: Trace) -> None:
        self._registry, self._trace = registry, trace
        self._clients: set[QmpConnection] = set()

    def add(self, client: QmpConnection) -> None:
        """A client connected."""
        self._clients.add(client)

    def remove(self, client: QmpConnection) -> None:
        """A client left."""
        self._clients.discard(client)

    def tell(self, event: MachineEvent) -> None:
        """Pass an event on. What a command caused comes before the command's reply."""
        if event.name not in self._registry.events:
            log.debug("the event %s is not in the schema", event.name)
            return
        self._trace.emit("monitor_protocol_event_emit", lambda: event.name)
        data = wire(event)
        for client in tuple(self._clients):
            if client.session.negotiated:
                client.post(data)
