# SPDX-License-Identifier: GPL-2.0-or-later
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.block.options import VQ_MAPPING
from vmm.block.vq_mapping import VqMapping, check_queues, implied_queues, queue_owner

TWO = [{"iothread": "io0", "vqs": [0, 2]}, {"iothread": "io1", "vqs": [1]}]


@st.composite
def explicit(draw: st.DrawFn) -> tuple[int, list[dict[str, object]]]:
    """A number of queues, and a mapping that gives each to one of some iothreads."""
    queues = draw(st.integers(1, 16))
    iothreads = draw(st.integers(1, queues))
    order = draw(st.permutations(range(queues)))
    owners = [*range(iothreads), *(draw(st.integers(0, iothreads - 1)) for _ in order[iothreads:])]
    entries: list[dict[str, object]] = []
    for index in range(iothreads):
        vqs = [vq for vq, owner in zip(order, owners, strict=True) if owner == index]
        entries.append({"iothread": f"io{index}", "vqs": vqs})
    return queues, entries


def test_the_short_form_and_the_list_without_queues_are_the_same() -> None:
    listed = [{"iothread": "io0"}, {"iothread": "io1"}]
    wanted = (VqMapping("io0"), VqMapping("io1"))
    assert VQ_MAPPING("io0+io1") == VQ_MAPPING(listed) == VQ_MAPPING(json.dumps(listed)) == wanted


@given(explicit())
def test_every_queue_is_processed_where_the_list_says(
    drawn: tuple[int, list[dict[str, object]]],
) -> None:
    queues, entries = drawn
    mapping = VQ_MAPPING(entries)
    check_queues(mapping, queues)
    for index, entry in enumerate(entries):
        for vq in entry["vqs"]:  # type: ignore[attr-defined]
            assert queue_owner(mapping, vq) == index
    assert VQ_MAPPING.json(mapping) == entries
    assert implied_queues(mapping) == queues


@given(st.integers(1, 8), st.integers(1, 16))
def test_without_queues_they_go_round(iothreads: int, queues: int) -> None:
    mapping = VQ_MAPPING("+".join(f"io{i}" for i in range(iothreads)))
    if iothreads > queues:
        with pytest.raises(ValueError, match="leaves one without a queue"):
            check_queues(mapping, queues)
        return
    check_queues(mapping, queues)
    assert [queue_owner(mapping, i) for i in range(queues)] == [
        i % iothreads for i in range(queues)
    ]
    assert implied_queues(mapping) == iothreads


def test_a_device_without_a_mapping_has_one_queue() -> None:
    assert implied_queues(()) == 1
    check_queues((), 7)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("io0+io0", 'duplicate IOThread name "io0"'),
        ("io0+", "must start with a letter"),
        ("[", "must be io0"),
        (7, "must be io0"),
        ([{"iothread": "0"}], "must start with a letter"),
        ([{}], "must be io0"),
        ([{"iothread": "io0", "queues": [1]}], "must be io0"),
        ([{"iothread": "io0", "vqs": 1}], "must be io0"),
        ([{"iothread": "io0", "vqs": "01"}], "must be io0"),
        ([{"iothread": "io0", "vqs": ["0"]}], "queue numbers from 0 to 1023"),
        ([{"iothread": "io0", "vqs": [1024]}], "queue numbers from 0 to 1023"),
        ([{"iothread": "io0", "vqs": [True]}], "queue numbers from 0 to 1023"),
        ([{"iothread": "io0", "vqs": []}], "no iothread without a queue"),
        (
            [{"iothread": "io0", "vqs": [0]}, {"iothread": "io1"}],
            "either all items in iothread-vq-mapping must have vqs or none",
        ),
        ([{"iothread": "io0", "vqs": [0, 0]}], 'cannot assign vq 0 to IOThread "io0"'),
        (
            [{"iothread": "io0", "vqs": [0]}, {"iothread": "io1", "vqs": [0]}],
            'cannot assign vq 0 to IOThread "io1" because it is already',
        ),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VQ_MAPPING(value)


@pytest.mark.parametrize(
    ("queues", "words"),
    [(2, "vq index 2 .* less than num_queues 2"), (4, "missing vq 3 IOThread assignment")],
)
def test_queues_that_do_not_fit_the_device_are_refused(queues: int, words: str) -> None:
    check_queues(VQ_MAPPING(TWO), 3)
    with pytest.raises(ValueError, match=words):
        check_queues(VQ_MAPPING(TWO), queues)


@given(st.recursive(st.text(max_size=4) | st.integers() | st.none(), st.lists))
def test_no_value_does_anything_but_convert_or_raise(value: object) -> None:
    with suppress(ValueError):
        VQ_MAPPING(value)
