# SPDX-License-Identifier: GPL-2.0-or-later
"""Trace events of the control plane: what it was asked and what it did, a line each on stderr.

Names are QEMU's (its trace-events files), and so is the form of a line with timestamps,
``TID@SECONDS.MICROSECONDS:EVENT WORDS``. All are off until ``--trace`` or trace-event-set-state
switches them on. The data plane has none: what moves guest I/O is counted, not told.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TextIO

from vmm.errors import VmmError
from vmm.events import Event, EventBus

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "handle_qmp_command": "a request was read; its text",
        "monitor_qmp_cmd_in_band": "a command is run in the main loop",
        "monitor_qmp_cmd_out_of_band": "a command is run in the monitor's thread",
        "monitor_qmp_respond": "the answer is sent",
        "monitor_protocol_event_emit": "an event is sent",
        "handle_hmp_command": "a line of the human monitor",
        "vm_state_notify": "the vCPUs stopped or run again",
        "qemu_system_shutdown_request": "the machine is to end",
        "qemu_system_powerdown_request": "the power button was pressed",
        "vnc_client_connect": "a VNC client connected",
        "vnc_client_disconnect_finish": "a VNC client left",
    }
)
"""Every event, and what it says."""

MAX_WORDS = 1000  # characters of a line


class Trace:
    """The switches, and where lines go. Any thread."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._enabled: frozenset[str] = frozenset()

    def names(self, pattern: str) -> list[str]:
        """The events that a name, or a pattern with ``*`` and ``?``, stands for.

        Raises:
            VmmError: a plain name that is no event.
        """
        if not set(pattern) & set("*?"):
            if pattern not in EVENTS:
                raise VmmError(f'unknown event "{pattern}"')
            return [pattern]
        glob = re.compile(
            "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
        )
        return [name for name in EVENTS if glob.fullmatch(name)]

    def is_enabled(self, name: str) -> bool:
        """Whether an event is told."""
        return name in self._enabled

    def switch(self, pattern: str, on: bool) -> None:
        """Switch events on or off. Raises VmmError like :meth:`names`."""
        found = frozenset(self.names(pattern))
        self._enabled = self._enabled | found if on else self._enabled - found

    def emit(self, name: str, words: Callable[[], str] = lambda: "") -> None:
        """Tell an event, if it is on; ``words`` are asked for only then."""
        if name not in self._enabled:
            return
        text = "".join(char if char.isprintable() else " " for char in words())[:MAX_WORDS]
        seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
        line = f"{threading.get_native_id()}@{seconds}.{micros:06d}:{name} {text}".rstrip()
        stream = self._stream if self._stream is not None else sys.stderr
        stream.write(f"{line}\n")
        stream.flush()

    def follow(self, events: EventBus) -> None:
        """Tell what the machine's events say under QEMU's trace names."""
        events.subscribe(self._told)

    def _told(self, event: Event) -> None:
        if event.name in ("STOP", "RESUME"):
            running = int(event.name == "RESUME")
            self.emit("vm_state_notify", lambda: f"running {running}")
        elif event.name == "SHUTDOWN":
            self.emit("qemu_system_shutdown_request", lambda: f"reason={event.data.get('reason')}")
        elif event.name == "POWERDOWN":
            self.emit("qemu_system_powerdown_request")
        elif event.name in ("VNC_CONNECTED", "VNC_DISCONNECTED"):
            left = event.name == "VNC_DISCONNECTED"
            name = "vnc_client_disconnect_finish" if left else "vnc_client_connect"
            self.emit(name, lambda: _peer(event.data.get("client")))


def trace_as_asked(patterns: tuple[str, ...], events: EventBus) -> Trace:
    """A machine's trace, with what ``--trace`` asked for switched on.

    Raises:
        VmmError: no such event.
    """
    trace = Trace()
    for pattern in patterns:
        try:
            trace.switch(pattern, True)
        except VmmError as error:
            known = ", ".join(EVENTS)
            raise VmmError(f"--trace {pattern}: {error} (there are: {known})") from None
    trace.follow(events)
    return trace


def _peer(client: object) -> str:
    if not isinstance(client, Mapping):
        return ""
    return f"{client.get('host')}:{client.get('service')}"
