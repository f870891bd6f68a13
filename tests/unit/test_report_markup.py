# SPDX-License-Identifier: GPL-2.0-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.reports.markup import Markup, escape, join, number, tag
from tests.support.pages import Parsed


def test_text_is_escaped_and_markup_is_not() -> None:
    inner = tag("b", "<i>")
    assert tag("td", inner, " & ", class_="name") == (
        '<td class="name"><b>&lt;i&gt;</b> &amp; </td>'
    )


def test_attributes_cannot_be_left_by_a_quote() -> None:
    assert tag("g", aria_label='"><script>') == ('<g aria-label="&quot;&gt;&lt;script&gt;"></g>')


def test_true_gives_a_bare_attribute_and_none_gives_none() -> None:
    assert tag("div", hidden=True, id=None, lang=False) == "<div hidden></div>"


def test_void_and_hollow_elements_have_no_end() -> None:
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert tag("rect", width=3.25) == '<rect width="3.2"/>'


@pytest.mark.parametrize(
    ("value", "text"), [(12.0, "12"), (12.34, "12.3"), (-0.04, "-0"), (7, "7")]
)
def test_coordinates_have_at_most_one_decimal(value: float, text: str) -> None:
    assert number(value) == text


def test_characters_that_hide_or_turn_text_are_replaced() -> None:
    assert escape("a\x00b\u202ec\x1b[31m\ud800") == "a\ufffdb\ufffdc\ufffd[31m\ufffd"


def test_children_may_be_lists_and_none() -> None:
    assert join([None, "a", ["<", Markup("<br>")]], 2.5) == "a&lt;<br>2.5"


@given(st.text(), st.text())
def test_whatever_the_text_it_comes_out_as_text(content: str, label: str) -> None:
    parsed = Parsed(tag("p", content, title=label))
    assert [element.name for element in parsed.elements] == ["p"]
    assert set(parsed.elements[0].attributes) == {"title"}
    if content.isprintable():
        assert parsed.elements[0].text == escape(content).replace("&lt;", "<").replace(
            "&gt;", ">"
        ).replace("&quot;", '"').replace("&#x27;", "'").replace("&amp;", "&")
    parsed.elements[0].text.encode()
