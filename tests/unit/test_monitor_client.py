# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope monitor`: what a line means, what completes it, and the command as a whole."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.commands.monitor import plain_address
from profiler.errors import UserError
from profiler.monitor.completion import HmpCompleter, QmpCompleter
from profiler.monitor.syntax import LineError, QmpCommand, parse_line
from tests.support.fake_monitor import HANG_UP, FakeMonitor, Refusal
from vmm.monitor.commands.all import registry
from vmm.monitor.hmp.commands import hmp_table
from vmm.monitor.introspect import schema_info


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [
        ("query-status", "query-status", {}),
        ("  stop  ", "stop", {}),
        ("a b=1 c=1.5 d=true e=null f=-3", "a", {"b": 1, "c": 1.5, "d": True, "e": None, "f": -3}),
        ("a b=text c=1_000 d=/x/y", "a", {"b": "text", "c": "1_000", "d": "/x/y"}),
        ("a b.c=1 b.d.e=x", "a", {"b": {"c": 1, "d": {"e": "x"}}}),
        ("a b=\"two words\" 'c=it''s'", "a", {"b": "two words", "c": "its"}),
        ('a keys=[{"type": "qcode", "data": "ret"}] x=1', "a",
         {"keys": [{"type": "qcode", "data": "ret"}], "x": 1}),
        ('a b={"c": "}"} d=2', "a", {"b": {"c": "}"}, "d": 2}),
        ("a b==", "a", {"b": "="}),
        ("a b=inf c=nan d=1e999", "a", {"b": "inf", "c": "nan", "d": "1e999"}),
        ("a b=", "a", {"b": ""}),
        ('{"execute": "a", "arguments": {"b": [1]}}', "a", {"b": [1]}),
    ],
)  # fmt: skip
def test_lines_are_commands(line: str, name: str, arguments: dict[str, Any]) -> None:
    assert parse_line(line) == QmpCommand(name, arguments)


def test_out_of_band_is_said_in_json() -> None:
    assert parse_line('{"exec-oob": "a"}') == QmpCommand("a", {}, oob=True)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a b", "expected key=value"),
        ("a =1", "expected key=value"),
        ("a b=[1", "is not JSON"),
        ("a b='x", "no closing quotation"),
        ("a b=1 b=2", "given twice"),
        ("a b=1 b.c=2", "has a value of its own"),
        ("{", "not JSON"),
        ('{"execute": 1}', 'expected {"execute"'),
        ('{"execute": "a", "x": 1}', 'expected {"execute"'),
    ],
)
def test_lines_that_are_none_are_explained(line: str, problem: str) -> None:
    with pytest.raises(LineError, match=problem):
        parse_line(line)


@given(st.text())
def test_no_line_breaks_the_parser(line: str) -> None:
    with suppress(UserError):
        json.dumps(parse_line(line).arguments, allow_nan=False)


@given(st.dictionaries(st.text("abc-", min_size=1), st.integers() | st.booleans() | st.none()))
def test_what_is_written_as_words_is_what_was_meant(arguments: dict[str, Any]) -> None:
    line = " ".join(["x", *(f"{key}={json.dumps(value)}" for key, value in arguments.items())])
    assert parse_line(line) == QmpCommand("x", arguments)


@pytest.fixture(scope="module")
def completer() -> QmpCompleter:
    found = registry()
    return QmpCompleter(schema_info(found.commands.values(), found.events.values()))


@pytest.mark.parametrize(
    ("line", "word", "candidates"),
    [
        ("query-stat", "query-stat", ["query-stats ", "query-stats-schemas ", "query-status "]),
        ("sto", "sto", ["stop "]),
        ("qom-get ", "", ["path=", "property="]),
        ("qom-get path=/ p", "p", ["property="]),
        ("query-stats target=", "target=", ["target=vm ", "target=vcpu "]),
        ("query-stats target=vc", "target=vc", ["target=vcpu "]),
        ("query-stats vc", "vc", ["vcpus="]),
        ("trace-event-set-state enable=", "enable=", ["enable=true ", "enable=false "]),
        ("nosuch ", "", []),
        ("qom-get path=", "path=", []),
    ],
)
def test_the_schema_completes_lines(
    completer: QmpCompleter, line: str, word: str, candidates: list[str]
) -> None:
    assert completer.complete(line, word) == candidates


def test_help_completes_lines_of_the_human_monitor() -> None:
    table = hmp_table()
    completer = HmpCompleter(table.help(""), table.help("info"))
    assert completer.complete("st", "st") == ["stop "]
    assert completer.complete("info st", "st") == ["status "]
    assert "sync-profile " in completer.complete("help ", "")
    assert completer.complete("stop ", "") == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("vm.sock", "vm.sock"),
        ("a,b", "a,b"),
        ("unix:vm.sock,server=on,wait=off", "vm.sock"),
        ("unix:a,,b,server=on", "a,b"),
        ("tcp:127.0.0.1:4444", "127.0.0.1:4444"),
    ],
)
def test_an_address_may_be_what_the_machine_was_given(text: str, address: str) -> None:
    assert plain_address(text) == address


def bqlscope(*words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "profiler", "monitor", *words],
        input=typed,
        stdin=subprocess.DEVNULL if typed is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


ANSWERS: dict[str, Any] = {
    "query-status": {"running": True, "status": "running"},
    "human-monitor-command": lambda arguments: f"you said {arguments['command-line']}\r\n",
    "stop": Refusal("not now"),
    "cont": HANG_UP,
}


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[FakeMonitor]:
    with FakeMonitor(tmp_path / "q", ANSWERS) as fake:
        yield fake


def test_one_command_prints_its_answer(monitor: FakeMonitor) -> None:
    done = bqlscope(str(monitor.path), "-c", "query-status")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"return": ANSWERS["query-status"]}
    assert done.stdout.count("\n") > 1
    compact = bqlscope(
        f"unix:{monitor.path},server=on,wait=off",
        "--json",
        "-c",
        "query-status",
        "-c",
        "query-status",
    )
    lines = compact.stdout.splitlines()
    assert [json.loads(line)["return"]["status"] for line in lines] == ["running", "running"]


def test_a_refused_command_is_printed_and_makes_the_status_1(monitor: FakeMonitor) -> None:
    done = bqlscope(str(monitor.path), "--json", "-c", "stop", "-c", "query-status")
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert json.loads(first) == {"error": {"class": "GenericError", "desc": "not now"}}
    assert "return" in json.loads(second)


def test_lines_of_the_human_monitor_are_passed_on(monitor: FakeMonitor) -> None:
    done = bqlscope(str(monitor.path), "-H", "-c", "info status")
    assert (done.returncode, done.stdout) == (0, "you said info status\n")


def test_lines_come_from_standard_input_with_comments(monitor: FakeMonitor) -> None:
    done = bqlscope(str(monitor.path), "--json", typed="# hello\n\nquery-status\n")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [("query-status x", "expected key=value"), ("cont", "was closed")],
)
def test_what_goes_wrong_is_one_line(monitor: FakeMonitor, line: str, problem: str) -> None:
    done = bqlscope(str(monitor.path), "-c", line)
    assert done.returncode == 2
    assert done.stdout == ""
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_socket_that_is_not_there_is_explained(tmp_path: Path) -> None:
    done = bqlscope(str(tmp_path / "nobody"), "-c", "stop")
    assert done.returncode == 2
    assert "there is no such socket" in done.stderr
    assert done.stderr.count("\n") == 1
