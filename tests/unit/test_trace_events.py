# SPDX-License-Identifier: GPL-2.0-or-later
"""Trace events: switched by name or pattern, told in QEMU's form, silent otherwise."""

import io
import re

import pytest

from vmm.errors import VmmError
from vmm.events import EventBus
from vmm.trace import EVENTS, MAX_WORDS, Trace, trace_as_asked


def test_nothing_is_told_until_it_is_asked_for() -> None:
    stream = io.StringIO()
    trace = Trace(stream)

    def words() -> str:
        raise AssertionError("nobody asked")

    trace.emit("vm_state_notify", words)
    assert stream.getvalue() == ""


def test_a_line_has_qemus_form_and_no_control_characters() -> None:
    stream = io.StringIO()
    trace = Trace(stream)
    trace.switch("monitor_qmp_*", True)
    trace.emit("monitor_qmp_respond", lambda: "{}\r\n" + "x" * 2 * MAX_WORDS)
    trace.emit("monitor_qmp_cmd_in_band")
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"\d+@\d+\.\d{6}:monitor_qmp_respond \{\}  x+", first)
    assert len(first) < MAX_WORDS + 100
    assert second.endswith(":monitor_qmp_cmd_in_band")


def test_names_and_patterns() -> None:
    trace = Trace(io.StringIO())
    assert trace.names("*") == list(EVENTS)
    assert trace.names("vnc_client_connect") == ["vnc_client_connect"]
    assert trace.names("monitor_qmp_cmd_???_band") == []
    assert trace.names("monitor_qmp_cmd_in?band") == ["monitor_qmp_cmd_in_band"]
    assert trace.names("[a-z]*") == []
    with pytest.raises(VmmError, match='unknown event "nosuch"'):
        trace.switch("nosuch", True)
    trace.switch("*", True)
    trace.switch("vm_*", False)
    assert [name for name in EVENTS if not trace.is_enabled(name)] == ["vm_state_notify"]


def test_what_the_machine_tells_is_traced_under_qemus_names() -> None:
    stream = io.StringIO()
    trace = Trace(stream)
    trace.switch("*", True)
    events = EventBus()
    trace.follow(events)
    client = {"host": "127.0.0.1", "service": "99"}
    for name, data in (
        ("STOP", {}),
        ("RESUME", {}),
        ("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"}),
        ("POWERDOWN", {}),
        ("VNC_CONNECTED", {"client": client}),
        ("VNC_DISCONNECTED", {"client": client}),
        ("RESET", {}),
    ):
        events.emit(name, data)
    assert [line.partition(":")[2] for line in stream.getvalue().splitlines()] == [
        "vm_state_notify running 0",
        "vm_state_notify running 1",
        "qemu_system_shutdown_request reason=host-qmp-quit",
        "qemu_system_powerdown_request",
        "vnc_client_connect 127.0.0.1:99",
        "vnc_client_disconnect_finish 127.0.0.1:99",
    ]


def test_an_option_that_names_no_event_says_which_there_are() -> None:
    with pytest.raises(VmmError, match=r"--trace nosuch: .*monitor_qmp_respond"):
        trace_as_asked(("nosuch",), EventBus())
    assert trace_as_asked(("vm_*",), EventBus()).is_enabled("vm_state_notify")
