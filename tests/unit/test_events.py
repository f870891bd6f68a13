# SPDX-License-Identifier: GPL-2.0-or-later
"""The event bus: order, leaving, and what an event carries."""

import time

from vmm.events import Event, EventBus


def test_every_subscriber_sees_every_event_in_order() -> None:
    bus = EventBus()
    first: list[Event] = []
    second: list[Event] = []
    bus.subscribe(first.append)
    bus.subscribe(second.append)
    before = time.time_ns() // 1000
    bus.emit("STOP")
    bus.emit("SHUTDOWN", {"guest": False})
    assert [event.name for event in first] == ["STOP", "SHUTDOWN"]
    assert first == second
    assert first[0].data == {}
    assert first[1].data == {"guest": False}
    assert before <= first[0].timestamp_us <= first[1].timestamp_us <= time.time_ns() // 1000


def test_one_who_left_hears_nothing_and_may_leave_twice_and_while_called() -> None:
    bus = EventBus()
    heard: list[str] = []

    def once(event: Event) -> None:
        heard.append(event.name)
        leave()

    leave = bus.subscribe(once)
    later: list[str] = []
    bus.subscribe(lambda event: later.append(event.name))
    bus.emit("STOP")
    bus.emit("RESUME")
    leave()
    assert heard == ["STOP"]
    assert later == ["STOP", "RESUME"]


def test_what_the_emitter_changes_afterwards_does_not_change_the_event() -> None:
    bus = EventBus()
    seen: list[Event] = []
    bus.subscribe(seen.append)
    data = {"guest": True}
    bus.emit("RESET", data)
    data["guest"] = False
    assert seen[0].data == {"guest": True}
