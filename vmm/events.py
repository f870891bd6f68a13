# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened to the machine, told to whoever asked: monitors, tests.

Emitted in the main thread under the BQL, in order; a subscriber may subscribe or leave while it is
called. Names and data are QAPI's (``STOP``, ``VNC_CONNECTED``).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event: its QAPI name, its data, and when, in microseconds since the epoch."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)
    timestamp_us: int = 0


Subscriber = Callable[[Event], None]


class EventBus:
    """Passes each event to every subscriber before ``emit`` returns."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` for each event from now on; returns what ends that (idempotent)."""
        self._subscribers.append(subscriber)

        def leave() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return leave

    def emit(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell everybody. Main thread, BQL held."""
        event = Event(name, dict(data or {}), time.time_ns() // 1000)
        for subscriber in tuple(self._subscribers):
            subscriber(event)
