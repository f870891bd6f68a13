# SPDX-License-Identifier: GPL-2.0-or-later
"""Types of arguments: what is taken, how a mistake is told, and that the schema says the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.monitors import Schema
from vmm.monitor.commands.all import registry
from vmm.monitor.errors import MonitorError
from vmm.monitor.hmp.arguments import HmpError, Kind, Parameter, flag, parse
from vmm.monitor.introspect import schema_info
from vmm.monitor.qapi import (
    BOOL,
    INT,
    NULL,
    NUMBER,
    STR,
    Alternate,
    Array,
    Command,
    Enum,
    Member,
    Struct,
    check,
    optional,
)
from vmm.monitor.reference import reference

COLOUR = Enum("Colour", ("red", "green"))
POINT = Struct("Point", (Member("x", INT), optional("name", STR)))
SHAPE = Struct(
    "Shape",
    (Member("kind", Enum("ShapeKind", ("dot", "line", "none"))), optional("colour", COLOUR)),
    tag="kind",
    variants={
        "dot": Struct("Dot", (Member("at", POINT),)),
        "line": Struct("Line", (Member("points", Array(POINT)), optional("width", NUMBER))),
    },
)
NAME = Alternate("StrOrNull", (STR, NULL))
COMMAND = Command(
    "draw",
    lambda call, **arguments: arguments,
    "",
    (Member("shape", SHAPE), optional("name", NAME), optional("fill", BOOL)),
)
SCHEMA = Schema(schema_info([COMMAND], []))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.just("red"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "at", "x", "points", "colour", "name", "shape", "fill"]),
            inner | st.sampled_from(["dot", "line", "none"]),
            max_size=4,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["shape", "name", "fill", "other"]), JSON))
def test_what_is_taken_is_what_the_published_schema_says(arguments: dict[str, Any]) -> None:
    row = SCHEMA.by_name["draw"]
    problem = SCHEMA.problem(row["arg-type"], arguments, "draw")
    refused = None
    try:
        COMMAND.check(arguments)
    except MonitorError as error:
        refused = str(error)
    assert (problem is None) == (refused is None), (problem, refused)


@pytest.mark.parametrize(
    ("arguments", "desc"),
    [
        ({}, "Parameter 'shape' is missing"),
        ({"shape": 1}, "Invalid parameter type for 'shape', expected: object"),
        ({"shape": {}}, "Parameter 'shape.kind' is missing"),
        ({"shape": {"kind": "box"}}, "Parameter 'kind' does not accept value 'box'"),
        ({"shape": {"kind": "dot"}}, "Parameter 'shape.at' is missing"),
        (
            {"shape": {"kind": "dot", "at": {"x": True}}},
            "Invalid parameter type for 'shape.at.x', expected: integer",
        ),
        (
            {"shape": {"kind": "line", "points": [{"x": 1}, {}]}},
            "Parameter 'shape.points[1].x' is missing",
        ),
        (
            {"shape": {"kind": "line", "points": [], "width": "1"}},
            "Invalid parameter type for 'shape.width', expected: number",
        ),
        ({"shape": {"kind": "none", "at": 1}}, "Parameter 'shape.at' is unexpected"),
        (
            {"shape": {"kind": "none"}, "name": 1},
            "Invalid parameter type for 'name', expected: StrOrNull",
        ),
        (
            {"shape": {"kind": "none"}, "fill": 1},
            "Invalid parameter type for 'fill', expected: boolean",
        ),
    ],
)
def test_mistakes_are_told_as_qemus_visitor_tells_them(
    arguments: dict[str, Any], desc: str
) -> None:
    with pytest.raises(MonitorError) as caught:
        COMMAND.check(arguments)
    assert str(caught.value) == desc


def test_integers_have_64_bits() -> None:
    assert check(INT, (1 << 63) - 1, "n") == (1 << 63) - 1
    for value in (1 << 63, -(1 << 63) - 1, 1.0, True):
        with pytest.raises(MonitorError, match="expected: integer"):
            check(INT, value, "n")


def test_every_type_of_the_schema_is_there_and_numbers_hide_the_names() -> None:
    found = registry()
    schema = Schema(schema_info(found.commands.values(), found.events.values()))
    schema.check_reply("query-qmp-schema", list(schema.by_name.values()))
    for row in schema.by_name.values():
        named = [row.get(key) for key in ("arg-type", "ret-type", "element-type")]
        named += [each["type"] for each in row.get("members", ()) if "type" in each]
        named += [each["type"] for each in row.get("variants", ())]
        assert set(named) - {None} <= schema.by_name.keys()
        if row["meta-type"] in ("object", "enum", "alternate"):
            assert row["name"].isdigit()


def test_every_command_says_what_it_does_and_takes_what_it_declares() -> None:
    for command in registry().commands.values():
        assert command.doc.endswith("."), command.name
        assert len({each.name for each in command.arguments.members}) == len(
            command.arguments.members
        )


def test_the_reference_is_fresh() -> None:
    from tests.support.vm import ROOT  # noqa: PLC0415

    assert (ROOT / "docs" / "monitor.md").read_text() == reference(), "run: make monitor-doc"


PARAMETERS = (flag("m"), flag("n"), Parameter("max", Kind.INT, True))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {"m": False, "n": False}),
        ("-m -n 5", {"m": True, "n": True, "max": 5}),
        ("  -n   0x10 ", {"m": False, "n": True, "max": 16}),
        ("7", {"m": False, "n": False, "max": 7}),
    ],
)
def test_flags_and_numbers_of_the_human_monitor(text: str, found: dict[str, Any]) -> None:
    assert parse("p", PARAMETERS, text) == found


def test_words_in_quotes_may_have_blanks_and_escapes() -> None:
    word = (Parameter("file", Kind.FILE),)
    assert parse("p", word, r'"a b\"\n"') == {"file": 'a b"\n'}
    for text, problem in ((r'"a\x"', "unsupported escape"), ('"a', "unterminated string")):
        with pytest.raises(HmpError, match=problem):
            parse("p", word, text)


@given(st.text())
def test_no_text_breaks_the_parser_of_the_human_monitor(text: str) -> None:
    try:
        found = parse("p", (*PARAMETERS, Parameter("file", Kind.FILE, True)), text)
    except HmpError:
        return
    assert set(found) <= {"m", "n", "max", "file"}
