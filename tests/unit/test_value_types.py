# SPDX-License-Identifier: GPL-2.0-or-later
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.qom import Boolean, Choice, HostCpu, Integer, Size, Text, ValueType

ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)
TYPES: list[ValueType[object]] = [
    Boolean(),
    Choice(("a", "b"), "Letter"),
    HostCpu(),
    Integer(-5, 5),
    Integer(1, 1024, "uint16", power_of_two=True),
    Size(512, 1 << 30, step=512),
    Text(4),
]


@given(st.sampled_from(TYPES), ANYTHING)
def test_any_value_is_converted_or_refused_with_a_reason(
    kind: ValueType[object], value: object
) -> None:
    with suppress(ValueError):
        once = kind(value)
        assert kind(once) == once  # what was converted is a value of the type


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_number_is_understood_as_text_and_as_json(number: int) -> None:
    assert Integer()(number) == Integer()(str(number)) == number


@pytest.mark.parametrize("value", [True, 1.0, None, "", "1.0", "٣", "0x1", " 1", "1\n", "+1", [1]])
def test_what_only_looks_like_a_number_is_none(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a number from -5 to 5"):
        Integer(-5, 5)(value)


@pytest.mark.parametrize("value", [-6, 6, "-6", "9" * 5000, 1 << 80])
def test_numbers_stay_in_range(value: object) -> None:
    with pytest.raises(ValueError, match="from -5 to 5"):
        Integer(-5, 5)(value)


@pytest.mark.parametrize(("value", "ok"), [(0, False), (1, True), (3, False), (64, True)])
def test_a_power_of_two_is_one(value: int, ok: bool) -> None:
    kind = Integer(-4, 1024, power_of_two=True)
    if ok:
        assert kind(value) == value
        return
    with pytest.raises(ValueError, match="must be a power of two"):
        kind(value)


@pytest.mark.parametrize(
    ("value", "size"), [(512, 512), ("1k", 1024), ("2M", 2 << 20), ("1G", 1 << 30), ("512b", 512)]
)
def test_sizes_are_bytes_with_suffixes(value: object, size: int) -> None:
    assert Size(512, 1 << 30, step=512)(value) == size


@pytest.mark.parametrize("value", [0, 513, "2G", "1.5M", "M", -512, True])
def test_other_sizes_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a multiple of 512 bytes, with k, M, G or T"):
        Size(512, 1 << 30, step=512)(value)


def test_text_is_measured_in_bytes() -> None:
    assert Text(4)("abcd") == "abcd"
    for value in ("abcde", "äää", "a\0", 4):
        with pytest.raises(ValueError, match="must be"):
            Text(4)(value)
