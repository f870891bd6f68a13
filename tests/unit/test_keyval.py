# SPDX-License-Identifier: GPL-2.0-or-later
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm import keyval

KEYS = st.text(st.characters(exclude_characters=",=\0"), min_size=1, max_size=8).filter(
    lambda key: not key.startswith("{")
)
VALUES = st.text(st.characters(exclude_characters="\0"), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_what_is_written_is_read_again(values: dict[str, str]) -> None:
    assert keyval.parse(keyval.unparse(values)) == values


@given(VALUES.filter(lambda word: not word.startswith("{") and "=" not in word and word))
def test_a_first_word_alone_gets_the_implied_key(word: str) -> None:
    text = f"{keyval.quote(word)},id=a"
    assert keyval.parse(text, "type") == {"type": word, "id": "a"}


@given(st.dictionaries(st.text(max_size=5), JSON))
def test_a_json_object_is_read_as_it_is(values: dict[str, object]) -> None:
    assert keyval.parse(json.dumps(values)) == values


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        found = keyval.parse(text, "type")
    except ValueError:
        return
    assert found
    assert "" not in found or text.startswith("{")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=b", {"a": "b"}),
        ("a=b,,c", {"a": "b,c"}),
        ("a=,,,b=c", {"a": ",", "b": "c"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
    ],
)
def test_commas_are_doubled_inside_values(text: str, found: dict[str, str]) -> None:
    assert keyval.parse(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has an empty word"),
        ("a=b,", "has an empty word"),
        ("=b", "has an empty word"),
        ("a", "'a' needs a value: a=…"),
        ("a=1,a=2", "'a' is given twice"),
        ("a=\0", "NUL"),
        ("{", "is no JSON: Expecting property name"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('{"a": {"b": 1, "b": 2}}', "'b' is given twice"),
        ("{" + '"a":{' * 100_000, "is no JSON: too deep"),
        ('{"a":1} x', "Extra data at character"),
    ],
)
def test_other_texts_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        keyval.parse(text)
    assert "\n" not in str(caught.value)


def test_a_forgotten_key_is_suggested() -> None:
    with pytest.raises(ValueError, match=r"write file=disk\.img"):
        keyval.parse("disk.img", bare="file")
