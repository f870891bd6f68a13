# SPDX-License-Identifier: GPL-2.0-or-later
"""Text to markup, in the only place that does it.

    tag("td", "<script>", class_="name")   ->   <td class="name">&lt;script&gt;</td>

Rule: a `str` is text and gets escaped, a `Markup` is not. Only `tag` and `join` make a `Markup`
out of what they are given.
"""

import html
import re
from collections.abc import Iterable
from typing import TypeAlias, Union

_VOID = frozenset({"meta", "link", "br", "hr", "col"})
_HOLLOW = frozenset({"path", "rect", "circle", "line", "use", "polygon"})
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, those that turn the direction of writing, and halves of characters."""


class Markup(str):
    """Markup that is complete and safe."""

    __slots__ = ()


Child: TypeAlias = Union[str, float, int, Iterable["Child"], None]  # noqa: UP007 (a string)
Value: TypeAlias = str | float | int | bool | None


def escape(text: str) -> Markup:
    """Text as markup, safe between tags and between double quotes."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_UNWANTED.sub("\N{REPLACEMENT CHARACTER}", text)))


def number(value: float) -> str:
    """A coordinate with at most one decimal: 12, 12.5."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def join(*children: Child) -> Markup:
    """Children one after another: text escaped, numbers shortened, None left out."""
    return Markup("".join(_pieces(children)))


def _pieces(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            yield escape(child)
        elif isinstance(child, int | float):
            yield number(child)
        else:
            yield from _pieces(child)


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """An element. Underscores in attribute names become hyphens, one at the end is dropped.

    None and False leave an attribute out, True gives it without a value.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        text = value if isinstance(value, str) else number(value)
        parts.append(f" {label}" if value is True else f' {label}="{escape(text)}"')
    if name in _VOID:
        return Markup("".join([*parts, ">"]))
    if name in _HOLLOW and not children:
        return Markup("".join([*parts, "/>"]))
    return Markup("".join([*parts, ">", *_pieces(children), f"</{name}>"]))
