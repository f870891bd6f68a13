# SPDX-License-Identifier: GPL-2.0-or-later
"""``iothread-vq-mapping``: which iothread processes which virtqueue.

QAPI's IOThreadVirtQueueMappingList (hw/virtio/iothread-vq-mapping.c): a list of iothreads, each
with its queues, or all without, which spreads queue i to entry i modulo the length. On a command
line ``io0+io1`` is short for the latter.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmm.qom.types import parse_number

MAX_QUEUES = 1024
_FORM = 'must be io0+io1 or a list such as [{"iothread":"io0","vqs":[0,1]}]'


@dataclass(frozen=True)
class VqMapping:
    """One iothread and its queues; None: by round robin."""

    iothread: str
    vqs: tuple[int, ...] | None = None


NO_MAPPING: tuple[VqMapping, ...] = ()


@dataclass(frozen=True)
class VqMappingList:
    """The value type of the property."""

    qapi: str = "IOThreadVirtQueueMappingList"

    def __call__(self, value: Any) -> tuple[VqMapping, ...]:
        """Convert ``io0+io1``, the list, or its JSON text; raises ValueError."""
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise ValueError(_FORM) from None
        if isinstance(value, str):
            found = tuple(VqMapping(name) for name in value.split("+") if value)
        elif isinstance(value, Sequence):
            found = tuple(_entry(each) for each in value)
        else:
            raise ValueError(_FORM)
        _check(found)
        return found

    def json(self, value: tuple[VqMapping, ...]) -> list[dict[str, object]]:
        """The list as a monitor shows it."""
        return [
            {"iothread": each.iothread} | ({} if each.vqs is None else {"vqs": list(each.vqs)})
            for each in value
        ]


def _entry(value: object) -> VqMapping:
    if isinstance(value, VqMapping):
        return value
    if not isinstance(value, Mapping) or not value.keys() <= {"iothread", "vqs"}:
        raise ValueError(_FORM)
    name, vqs = value.get("iothread"), value.get("vqs")
    if not isinstance(name, str) or not name:
        raise ValueError(_FORM)
    if vqs is None:
        return VqMapping(name)
    if not isinstance(vqs, Sequence) or isinstance(vqs, str):
        raise ValueError(_FORM)
    return VqMapping(name, tuple(_queue(each) for each in vqs))


def _queue(value: object) -> int:
    number = None if isinstance(value, str) else parse_number(value)
    if number is None or not 0 <= number < MAX_QUEUES:
        raise ValueError(f"must have queue numbers from 0 to {MAX_QUEUES - 1}")
    return number


def _check(mapping: tuple[VqMapping, ...]) -> None:
    """The rules that need no number of queues, in QEMU's words. Raises ValueError."""
    names = [each.iothread for each in mapping]
    if "" in names:
        raise ValueError(_FORM)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'duplicate IOThread name "{twice}" in iothread-vq-mapping')
    if len({each.vqs is None for each in mapping}) > 1:
        raise ValueError(
            "either all items in iothread-vq-mapping must have vqs or none of them must have it"
        )
    seen: set[int] = set()
    for name, vq in _given(mapping):
        if vq in seen:
            raise ValueError(
                f'cannot assign vq {vq} to IOThread "{name}" because it is already assigned'
            )
        seen.add(vq)
    if any(each.vqs == () for each in mapping):
        raise ValueError("must leave no iothread without a queue")


def _given(mapping: tuple[VqMapping, ...]) -> list[tuple[str, int]]:
    return [(each.iothread, vq) for each in mapping for vq in each.vqs or ()]


def check_queues(mapping: tuple[VqMapping, ...], num_queues: int) -> None:
    """Whether a mapping fits a device: every queue has an iothread, every iothread a queue.

    Raises:
        ValueError: it does not; QEMU's words.
    """
    if not mapping:
        return
    if mapping[0].vqs is None:
        if len(mapping) > num_queues:
            raise ValueError(
                "iothread-vq-mapping names more iothreads than there are queues: "
                f"num-queues={num_queues} leaves one without a queue"
            )
        return
    for name, vq in _given(mapping):
        if vq >= num_queues:
            raise ValueError(
                f'vq index {vq} for IOThread "{name}" must be less than num_queues {num_queues} '
                "in iothread-vq-mapping"
            )
    missing = sorted(set(range(num_queues)) - {vq for _, vq in _given(mapping)})
    if missing:
        raise ValueError(f"missing vq {missing[0]} IOThread assignment in iothread-vq-mapping")


def queue_owner(mapping: tuple[VqMapping, ...], queue: int) -> int:
    """Index of the entry whose iothread processes a queue. ``mapping`` is not empty."""
    if mapping[0].vqs is None:
        return queue % len(mapping)
    return next(i for i, each in enumerate(mapping) if each.vqs and queue in each.vqs)


def implied_queues(mapping: tuple[VqMapping, ...]) -> int:
    """How many queues a device has whose num-queues nobody gave."""
    explicit = [vq + 1 for each in mapping for vq in each.vqs or ()]
    return max(explicit or [len(mapping), 1])
