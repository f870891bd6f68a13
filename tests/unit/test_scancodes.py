# SPDX-License-Identifier: GPL-2.0-or-later
"""Every key's scan codes: against what a QEMU sends, and set 1 against translated set 2."""

from itertools import product
from pathlib import Path

import pytest

from vmm.input.qcodes import (
    NUMBERS,
    QCODES,
    UNMAPPED,
    number_of_qcode,
    qcode_of_number,
)
from vmm.input.scancodes import BREAK1, BREAK2, TO_SET1, sequence

# What QEMU was seen to send for each QKeyCode, in sets 1, 2 and 3: down, up, and so on.
SEEN = {
    fields[0]: tuple(bytes.fromhex(field) for field in fields[1:])
    for fields in (
        [field.strip() for field in line.split("|")]
        for line in (Path(__file__).parent / "qemu_text" / "scancodes.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
}
MODIFIERS = [frozenset[str](), frozenset({"shift"}), frozenset({"alt_r"}), frozenset({"ctrl"})]


def translated(data: bytes) -> bytes:
    """What the 8042 makes of set 2."""
    out, prefix = bytearray(), False
    for byte in data:
        if byte == BREAK2:
            prefix = True
            continue
        out.append(TO_SET1[byte] | (BREAK1 if prefix else 0))
        prefix = False
    assert not prefix
    return bytes(out)


@pytest.mark.parametrize("qcode", SEEN)
def test_a_key_sends_what_qemu_sends(qcode: str) -> None:
    seen = SEEN[qcode]
    for column, (scan_set, down) in enumerate(product((1, 2, 3), (True, False))):
        if seen[column] or scan_set == 3:
            assert sequence(qcode, down, scan_set) == seen[column], (scan_set, down)


def test_every_key_is_compared_but_the_two_whose_codes_are_those_of_korean_keyboards() -> None:
    assert set(NUMBERS) - set(SEEN) == {"lang1", "lang2"}


@pytest.mark.parametrize("modifiers", MODIFIERS)
@pytest.mark.parametrize("qcode", NUMBERS)
def test_translated_set_2_is_set_1(qcode: str, modifiers: frozenset[str]) -> None:
    for down in (True, False):
        set1, set2 = (sequence(qcode, down, scan_set, modifiers) for scan_set in (1, 2))
        assert translated(set2) == set1
    assert sequence(qcode, True, 2, modifiers)


@pytest.mark.parametrize("scan_set", [1, 2])
def test_no_two_keys_send_the_same(scan_set: int) -> None:
    same_key = {"asterisk", "sysrq"}  # as kp_multiply and print
    found: dict[bytes, str] = {}
    for qcode in NUMBERS:
        data = sequence(qcode, True, scan_set)
        if qcode not in same_key:
            assert found.setdefault(data, qcode) == qcode


def test_translation_is_one_to_one_on_the_keys_codes() -> None:
    codes = range(1, 0x80)
    assert len({TO_SET1[code] for code in codes}) == len(codes)
    assert all(TO_SET1[code] < 0x80 for code in codes)
    changed = {code for code in range(0x80, 0x100) if TO_SET1[code] != code}
    assert changed == {0x83, 0x84}  # F7 and SysRq


def test_numbers_and_names_are_each_others_inverse() -> None:
    for qcode, number in NUMBERS.items():
        assert number_of_qcode(qcode) == number
        assert 0 < number <= 0xFF
        if qcode != "asterisk":
            assert qcode_of_number(number) == qcode
    assert qcode_of_number(0x37) == "kp_multiply"
    assert set(QCODES) == set(NUMBERS.values())


def test_what_is_no_key_is_told_as_qemu_does() -> None:
    assert number_of_qcode(UNMAPPED) == 0
    assert sequence(UNMAPPED, True, 2) == b""
    for number in (0, -1, 0x7F, 0x100, 1 << 70):
        assert qcode_of_number(number) is None
    with pytest.raises(ValueError, match=r"^Parameter 'data' does not accept value 'foo'$"):
        number_of_qcode("foo")
    with pytest.raises(ValueError, match="does not accept value 'foo'"):
        sequence("foo", True, 1)
