# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP session without sockets: negotiation, order, what may overtake, what is refused."""

import asyncio
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vmm.errors import DeviceNotFoundError, VmmError
from vmm.monitor.commands.control import COMMANDS as CONTROL
from vmm.monitor.qapi import INT, STR, Command, Member
from vmm.monitor.registry import Call, Registry
from vmm.monitor.session import QUEUE_LENGTH, Request, Session, encode


def fails(call: Call, how: str) -> None:
    if how == "vmm":
        raise VmmError("no luck")
    if how == "device":
        raise DeviceNotFoundError("d0")
    raise KeyError(how)


def registry() -> Registry:
    number = (Member("number", INT),)

    async def later(call: Call, number: int) -> int:
        await asyncio.sleep(0)
        return number

    mine = (
        Command("echo", lambda call, number: number, "", number, INT),
        Command("echo-later", later, "", number, INT),
        Command("echo-oob", lambda call, number: number, "", number, INT, oob=True),
        Command("fail", fails, "", (Member("how", STR),)),
    )
    return Registry((*CONTROL, *mine), ())


class Peer:
    """A session with a registry behind it; runs what it is asked."""

    def __init__(self) -> None:
        self.session = Session("test")
        self.registry = registry()
        state = type("State", (), {"package": "test"})()
        self.call = Call(cast(Any, None), self.registry, self.session, state)
        self.waiting: list[Request] = []

    def feed(self, data: bytes) -> list[Any]:
        self.session.feed(data)
        return self.pump()

    def pump(self) -> list[Any]:
        answers = []
        while (request := self.session.next()) is not None:
            if request.out_of_band:
                reply = self.registry.run_out_of_band(request, self.call)
                answers.append(json.loads(request.reply(reply)))
            else:
                self.waiting.append(request)
        return answers

    def work(self) -> Any:
        request = self.waiting.pop(0)
        reply = asyncio.run(self.registry.run(request, self.call))
        self.session.done()
        return json.loads(request.reply(reply))

    def ask(self, message: Any) -> Any:
        answers = self.feed(message if isinstance(message, bytes) else encode(message))
        while self.waiting:
            answers.append(self.work())
            answers += self.pump()
        assert len(answers) == 1
        return answers[0]


def negotiated(*capabilities: str) -> Peer:
    peer = Peer()
    answer = peer.ask({"execute": "qmp_capabilities", "arguments": {"enable": list(capabilities)}})
    assert answer == {"return": {}}
    return peer


def error(kind: str, desc: str) -> dict[str, Any]:
    return {"error": {"class": kind, "desc": desc}}


def test_the_greeting_is_one_line_that_offers_oob() -> None:
    greeting = Session("test 1").greeting()
    assert greeting.endswith(b"\r\n")
    body = json.loads(greeting)["QMP"]
    assert body["capabilities"] == ["oob"]
    assert body["version"]["package"] == "test 1"
    assert set(body["version"]["qemu"]) == {"major", "minor", "micro"}


def test_before_the_negotiation_nothing_else_is_taken() -> None:
    peer = Peer()
    expected = "Expecting capabilities negotiation with 'qmp_capabilities'"
    for command in ("echo", "nosuch"):
        answer = peer.ask({"execute": command, "arguments": {"number": 1}})
        assert answer == error("CommandNotFound", expected)
    assert peer.ask({"execute": "qmp_capabilities"}) == {"return": {}}
    assert peer.ask({"execute": "echo", "arguments": {"number": 1}}) == {"return": 1}


def test_a_second_negotiation_is_refused() -> None:
    expected = "Capabilities negotiation is already complete, command ignored"
    assert negotiated().ask({"execute": "qmp_capabilities"}) == error("CommandNotFound", expected)


@pytest.mark.parametrize(
    ("enable", "desc"),
    [
        (["foo"], "Parameter 'null' does not accept value 'foo'"),
        ("oob", "Invalid parameter type for 'enable', expected: array"),
        ([1], "Invalid parameter type for 'enable[0]', expected: string"),
    ],
)
def test_a_wrong_negotiation_is_refused_and_changes_nothing(enable: object, desc: str) -> None:
    peer = Peer()
    answer = peer.ask({"execute": "qmp_capabilities", "arguments": {"enable": enable}})
    assert answer == error("GenericError", desc)
    assert not peer.session.negotiated


@pytest.mark.parametrize(
    ("message", "kind", "desc"),
    [
        ({"execute": "nosuch"}, "CommandNotFound", "The command nosuch has not been found"),
        ({"execute": 1}, "GenericError", "QMP input member 'execute' must be a string"),
        ({"foo": 1}, "GenericError", "QMP input member 'foo' is unexpected"),
        ({}, "GenericError", "QMP input lacks member 'execute'"),
        ({"execute": "echo", "bar": 1}, "GenericError", "QMP input member 'bar' is unexpected"),
        (
            {"execute": "echo", "arguments": 1},
            "GenericError",
            "QMP input member 'arguments' must be an object",
        ),
        (
            {"execute": "echo", "exec-oob": "x"},
            "GenericError",
            "QMP input member 'execute' clashes with 'exec-oob'",
        ),
        ({"exec-oob": "echo"}, "GenericError", "The command echo does not support OOB"),
        ({"execute": "echo"}, "GenericError", "Parameter 'number' is missing"),
        (
            {"execute": "echo", "arguments": {"number": "1"}},
            "GenericError",
            "Invalid parameter type for 'number', expected: integer",
        ),
        (
            {"execute": "echo", "arguments": {"number": 1, "x": 1}},
            "GenericError",
            "Parameter 'x' is unexpected",
        ),
        ([1], "GenericError", "QMP input must be a JSON object"),
        (b'{"execute":}\n', "GenericError", "JSON parse error, expecting value"),
        ({"execute": "fail", "arguments": {"how": "vmm"}}, "GenericError", "no luck"),
        (
            {"execute": "fail", "arguments": {"how": "device"}},
            "DeviceNotFound",
            "Device 'd0' not found",
        ),
        (
            {"execute": "fail", "arguments": {"how": "bug"}},
            "GenericError",
            "internal error: KeyError",
        ),
    ],
)
def test_mistakes_are_told_in_qemus_words(message: Any, kind: str, desc: str) -> None:
    peer = negotiated("oob")
    assert peer.ask(message) == error(kind, desc)
    if isinstance(message, dict):
        tagged = peer.ask(message | {"id": {"a": [1, None]}})
        assert tagged == error(kind, desc) | {"id": {"a": [1, None]}}


def test_without_the_capability_out_of_band_is_no_member() -> None:
    answer = negotiated().ask({"exec-oob": "echo-oob", "arguments": {"number": 1}})
    assert answer == error("GenericError", "QMP input member 'exec-oob' is unexpected")


def test_an_out_of_band_request_overtakes_those_that_wait() -> None:
    peer = negotiated("oob")
    first = encode({"execute": "echo-later", "arguments": {"number": 1}, "id": "slow"})
    second = encode({"exec-oob": "echo-oob", "arguments": {"number": 2}, "id": "fast"})
    assert peer.feed(first + second) == [{"return": 2, "id": "fast"}]
    assert peer.work() == {"return": 1, "id": "slow"}


def test_a_full_queue_stops_the_reading_until_an_answer() -> None:
    peer = negotiated("oob")
    peer.feed(b"".join(encode({"execute": "echo", "arguments": {"number": i}}) for i in range(20)))
    assert len(peer.waiting) == QUEUE_LENGTH
    assert not peer.session.wants_bytes
    peer.work()
    peer.pump()
    assert len(peer.waiting) == QUEUE_LENGTH


def test_without_oob_one_request_is_taken_at_a_time() -> None:
    peer = negotiated()
    peer.feed(encode({"execute": "echo", "arguments": {"number": 1}}) * 3)
    assert len(peer.waiting) == 1
    assert not peer.session.wants_bytes


@given(st.binary(max_size=300))
def test_no_bytes_break_a_session(data: bytes) -> None:
    peer = negotiated("oob")
    peer.feed(data)
    for _ in range(len(data) + 1):
        while peer.waiting:
            peer.work()
            peer.pump()
    peer.feed(b"\xff")
    while peer.waiting:
        peer.work()
        peer.pump()
    assert peer.ask({"execute": "echo", "arguments": {"number": 5}}) == {"return": 5}


class SessionMachine(RuleBasedStateMachine):
    """Requests in any number, cut anywhere, answered at any time: order and bounds hold."""

    def __init__(self) -> None:
        super().__init__()
        self.peer = negotiated("oob")
        self.unsent = b""
        self.next_id = 0
        self.in_band: list[Any] = []
        self.out_of_band: list[int] = []

    @rule(kind=st.sampled_from(["echo", "echo-later", "nosuch", "broken"]))
    def send_in_band(self, kind: str) -> None:
        self.next_id += 1
        if kind == "broken":
            self.unsent += b"{]"
            self.in_band.append("broken")
        else:
            message = {"execute": kind, "arguments": {"number": self.next_id}, "id": self.next_id}
            self.unsent += encode(message)
            self.in_band.append(self.next_id)

    @rule()
    def send_out_of_band(self) -> None:
        self.next_id += 1
        message = {"exec-oob": "echo-oob", "arguments": {"number": 0}, "id": self.next_id}
        self.unsent += encode(message)
        self.out_of_band.append(self.next_id)

    @precondition(lambda self: self.peer.session.wants_bytes)
    @rule(share=st.floats(0, 1))
    def deliver(self, share: float) -> None:
        size = int(len(self.unsent) * share)
        chunk, self.unsent = self.unsent[:size], self.unsent[size:]
        self.check_out_of_band(self.peer.feed(chunk))

    @precondition(lambda self: self.peer.waiting)
    @rule()
    def answer(self) -> None:
        reply = self.peer.work()
        expected = self.in_band.pop(0)
        if expected == "broken":
            assert "id" not in reply
            assert "error" in reply
        else:
            assert reply["id"] == expected
        self.check_out_of_band(self.peer.pump())

    def check_out_of_band(self, answers: list[Any]) -> None:
        for answer in answers:
            assert answer["id"] == self.out_of_band.pop(0)

    @invariant()
    def no_more_than_the_queue_holds(self) -> None:
        assert len(self.peer.waiting) <= QUEUE_LENGTH

    def teardown(self) -> None:
        while self.unsent or self.peer.waiting:
            if self.peer.session.wants_bytes and self.unsent:
                self.deliver(1.0)
            if self.peer.waiting:
                self.answer()
        assert self.in_band == []
        assert self.out_of_band == []


TestSessionMachine = SessionMachine.TestCase
