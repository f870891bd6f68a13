# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON out of a byte stream: cut anywhere, wrong anywhere, and as large as it likes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.monitor import json_stream
from vmm.monitor.json_stream import JsonStream, Parsed

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text('ab"\\é\n'), inner)
)
BYTES = st.binary() | st.lists(
    st.sampled_from([b"{", b"}", b"[", b"]", b":", b",", b'"', b"'", b"\\", b"\\u12", b"1", b"-",
                     b"true", b"nul", b" ", b"\n", b"\xff", b"\x01", b"\xc3\xa9", b'"a":1', b"{}"])
).map(b"".join)  # fmt: skip


def everything(*chunks: bytes) -> list[Parsed]:
    stream = JsonStream()
    found = []
    for chunk in chunks:
        stream.feed(chunk)
        while (parsed := stream.next()) is not None:
            found.append(parsed)
    return found


def shown(found: list[Parsed]) -> list[Any]:
    return [each.value if each.error is None else str(each.error) for each in found]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@given(st.lists(VALUES), st.lists(st.integers(0, 10_000)), st.booleans())
def test_values_come_out_as_json_wrote_them_wherever_the_bytes_are_cut(
    values: list[Any], places: list[int], ascii_only: bool
) -> None:
    data = b"".join(json.dumps(v, ensure_ascii=ascii_only).encode() + b"\n" for v in values)
    assert shown(everything(*cut(data, places))) == values


@given(BYTES, st.lists(st.integers(0, 10_000)))
def test_nonsense_means_the_same_wherever_it_is_cut(data: bytes, places: list[int]) -> None:
    whole = shown(everything(data))
    assert repr(shown(everything(*cut(data, places)))) == repr(whole)
    assert repr(shown(everything(*cut(data, list(range(len(data))))))) == repr(whole)


@given(BYTES)
def test_what_is_valid_for_python_is_valid_here(data: bytes) -> None:
    def no_constant(_name: str) -> None:
        raise ValueError

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        value = json.loads(
            data.decode(), parse_constant=no_constant, object_pairs_hook=no_duplicates
        )
    except (ValueError, RecursionError):
        return
    assert shown(everything(data + b"\n")) == [value]


@given(BYTES)
def test_a_client_that_lost_track_starts_anew_with_a_control_character(data: bytes) -> None:
    for start_over in (b"\xff", b"\x01"):
        last = everything(data + start_over, b'{"a": 1}')[-1]
        assert last == Parsed({"a": 1})


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        (b'{"execute":}', ["expecting value"]),
        (b'{"execute" 1}', ["missing : in object pair"]),
        (b"}", ["expecting value"]),
        (b"{]", ["expecting value"]),
        (b'{"a":1,"a":2}', ["duplicate key"]),
        (b'{"execute":"\xff"}', ["stray '\"\N{REPLACEMENT CHARACTER}'", "expecting value"]),
        (b"nosuchtoken\n", ["invalid keyword 'nosuchtoken'"]),
        (b'{"execute":"query-status",}', ["expecting value"]),
        (b"{1:2}", ["key is not a string in object"]),
        (b"[1,]", ["expecting value"]),
        (b'{"a":"b\nc"}', ["stray '\"b\n'", "expecting value"]),
        (b"[1 2]", ["expected separator in list"]),
        (b'{"a":1 "b":2}', ["expected separator in dict"]),
        (b'"\\u12x4"', ["invalid hex escape '\\u12x4' in string"]),
        (b'"\\q"', ["invalid escape sequence '\\q' in string"]),
        (b'"\xc3\x28"', ["invalid UTF-8 sequence in string"]),
        (b"-x", ["stray '-'"]),
        (b"01 ", ["stray '01'"]),
        (b"1e999 ", ["number out of range"]),
    ],
)
def test_errors_have_the_words_of_qemu(text: bytes, errors: list[str]) -> None:
    found = everything(text)
    assert [str(each.error) for each in found] == [f"JSON parse error, {e}" for e in errors]


def test_strings_in_single_quotes_are_understood() -> None:
    assert shown(everything(b"{'a': ['b\"', 1.5, null]}")) == [{"a": ['b"', 1.5, None]}]


def test_a_pair_of_escapes_is_one_character_and_half_of_one_is_refused() -> None:
    assert shown(everything(b'"\\ud83d\\ude00"')) == ["\N{GRINNING FACE}"]
    assert everything(b'"\\ud83d"')[0].error is not None


def test_an_integer_too_large_for_64_bits_is_a_float() -> None:
    assert shown(everything(b"[18446744073709551615, 18446744073709551616]")) == [
        [(1 << 64) - 1, float(1 << 64)]
    ]


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b'"' + b"a" * (json_stream.MAX_BYTES + 10), "token size"),
        (b"[" + b"1," * (json_stream.MAX_TOKENS + 10), "token count"),
        (b"[" * (json_stream.MAX_NESTING + 10), "nesting depth"),
        (b'["' + b'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","' * 40_000, "token size"),
    ],
)
def test_what_is_too_large_is_refused_and_does_not_stay_in_memory(data: bytes, limit: str) -> None:
    stream = JsonStream()
    stream.feed(data)
    first = stream.next()
    assert first is not None
    assert str(first.error) == f"JSON {limit} limit exceeded"
    assert len(stream._token) == 0
    while stream.next() is not None:
        pass
    stream.feed(b'\xff{"a": 1}')
    last = list(iter(stream.next, None))[-1]
    assert last == Parsed({"a": 1})


def test_nesting_up_to_the_limit_is_taken() -> None:
    depth = json_stream.MAX_NESTING
    (parsed,) = everything(b"[" * depth + b"]" * depth)
    assert parsed.error is None
