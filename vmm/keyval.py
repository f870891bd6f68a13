# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's ``key=value,key=value`` texts, and the JSON that may stand in their place.

A comma inside a value is doubled. The first word may be a bare value whose key is implied, as the
type in ``-object iothread,id=io0``.
"""

import json
from collections.abc import Mapping
from typing import Any

_COMMA = "\0"  # stands for a doubled comma while a text is split; refused in the text itself


def split(text: str) -> list[tuple[str, str | None]]:
    """The pairs of a text in their order; None for a word without ``=``.

    Raises:
        ValueError: a NUL character.
    """
    if "\0" in text:
        raise ValueError("cannot contain a NUL character")
    pairs: list[tuple[str, str | None]] = []
    for part in text.replace(",,", _COMMA).split(","):
        key, equals, value = part.replace(_COMMA, ",").partition("=")
        pairs.append((key, value if equals else None))
    return pairs


def parse(text: str, implied: str | None = None, bare: str = "") -> dict[str, Any]:
    """A key=value text or a JSON object as a mapping.

    Args:
        text: the option's value; JSON if it begins with ``{``.
        implied: key of a first word that has no ``=``.
        bare: key that somebody has probably forgotten who wrote a single word.

    Raises:
        ValueError: not of either form, or a key is given twice; one line.
    """
    if text.startswith("{"):
        return parse_json(text)
    found: dict[str, Any] = {}
    pairs = split(text)
    if implied is not None and pairs[0][1] is None:
        pairs[0] = (implied, pairs[0][0])
    for key, value in pairs:
        if not key:
            raise ValueError("has an empty word: write key=value, a comma in a value doubled")
        if value is None:
            hint = f"write {bare}={key}" if bare else f"{key}=…"
            raise ValueError(f"'{key}' needs a value: {hint}")
        if key in found:
            raise ValueError(f"'{key}' is given twice")
        found[key] = value
    return found


def parse_json(text: str) -> dict[str, Any]:
    """The JSON object that a text is.

    Raises:
        ValueError: it is none; one line that tells where.
    """
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("is no JSON: too deep") from None
    if not isinstance(found, dict):
        raise ValueError('is no JSON object: write {"key": value}')
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' is given twice")
    return found


def quote(value: str) -> str:
    """A value as it stands in a key=value text: commas doubled."""
    return value.replace(",", ",,")


def unparse(values: Mapping[str, str]) -> str:
    """The text that :func:`parse` reads as ``values``. Keys hold no comma and no ``=``."""
    return ",".join(f"{key}={quote(value)}" for key, value in values.items())
