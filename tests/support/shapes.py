# SPDX-License-Identifier: GPL-2.0-or-later
"""The shape of a JSON value: its keys and types, to compare answers whose numbers differ."""

from collections.abc import Set
from typing import Any


def shape(value: Any) -> Any:
    """The keys and types of an answer; the elements of a list are one shape with all keys."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        merged: dict[str, Any] = {}
        for each in value:
            if not isinstance(each, dict):
                return [shape(each)]
            merge(merged, shape(each))
        return [merged] if value else []
    return type(value).__name__


def merge(merged: dict[str, Any], other: dict[str, Any]) -> None:
    """Add the keys of another element of the same list."""
    for key, value in other.items():
        known = merged.setdefault(key, value)
        if isinstance(known, dict) and isinstance(value, dict):
            merge(known, value)
        elif isinstance(known, list) and isinstance(value, list) and value:
            if known and isinstance(known[0], dict) and isinstance(value[0], dict):
                merge(known[0], value[0])
            elif not known:
                known.append(value[0])


def differences(ours: Any, theirs: Any, where: str, newer: Set[str], absent: Set[str]) -> list[str]:
    """Where two shapes differ, but for keys that only we (newer) or they (absent) may have."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{where}.{key} is not QEMU's" for key in ours.keys() - theirs.keys() - newer] + [
            f"{where}.{key} is missing" for key in theirs.keys() - ours.keys() - absent
        ]
        for key in ours.keys() & theirs.keys():
            found += differences(ours[key], theirs[key], f"{where}.{key}", newer, absent)
        return found
    if isinstance(ours, list) and isinstance(theirs, list):
        return (
            differences(ours[0], theirs[0], f"{where}[]", newer, absent) if ours and theirs else []
        )
    return [] if ours == theirs else [f"{where} is {ours}, QEMU's is {theirs}"]
