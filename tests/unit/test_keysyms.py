# SPDX-License-Identifier: GPL-2.0-or-later
"""X11 keysyms on a US keyboard."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.input.keysyms import KEYSYMS, qcode_of_keysym
from vmm.input.qcodes import NUMBERS

UNSHIFTED = "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./ "
SHIFTED = '~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:"ZXCVBNM<>? '
NOT_ON_A_US_KEYBOARD = {"asterisk", "ro"}


def test_the_two_rows_of_this_test_are_all_of_ascii() -> None:
    printable = set(string.printable) - set(string.whitespace) | {" "}
    assert set(UNSHIFTED) | set(SHIFTED) == printable
    assert len(UNSHIFTED) == len(SHIFTED)


@pytest.mark.parametrize(("plain", "shifted"), list(zip(UNSHIFTED, SHIFTED, strict=True)))
def test_a_character_and_its_shifted_one_are_the_same_key(plain: str, shifted: str) -> None:
    key = qcode_of_keysym(ord(plain))
    assert key is not None
    assert qcode_of_keysym(ord(shifted)) == key
    if plain.isalnum():
        assert key == plain


def test_no_two_unshifted_characters_share_a_key() -> None:
    keys = [qcode_of_keysym(ord(char)) for char in UNSHIFTED]
    assert len(set(keys)) == len(UNSHIFTED)


@pytest.mark.parametrize(
    ("keysym", "qcode"),
    [
        (0xFF0D, "ret"),
        (0xFF8D, "kp_enter"),
        (0xFF1B, "esc"),
        (0xFF08, "backspace"),
        (0xFFFF, "delete"),
        (0xFE20, "tab"),
        (0xFF52, "up"),
        (0xFF97, "kp_8"),
        (0xFFB8, "kp_8"),
        (0xFFAF, "kp_divide"),
        (0xFFBE, "f1"),
        (0xFFC9, "f12"),
        (0xFFD5, "f24"),
        (0xFFE1, "shift"),
        (0xFFE4, "ctrl_r"),
        (0xFE03, "alt_r"),
        (0xFFEB, "meta_l"),
        (0xFF67, "compose"),
        (0xFF13, "pause"),
        (0xFF61, "print"),
        (0xFF7F, "num_lock"),
        (0x1008FF13, "volumeup"),
        (0x1008FF14, "audioplay"),
        (0x01000041, "a"),
    ],
)
def test_keys_without_a_character(keysym: int, qcode: str) -> None:
    assert qcode_of_keysym(keysym) == qcode


@pytest.mark.parametrize("char", "äéß€я")
def test_characters_that_a_us_keyboard_lacks_are_no_key(char: str) -> None:
    assert qcode_of_keysym(ord(char)) is None
    assert qcode_of_keysym(0x0100_0000 + ord(char)) is None


def test_every_keysym_is_a_known_key_and_every_key_has_one() -> None:
    assert set(KEYSYMS.values()) == set(NUMBERS) - NOT_ON_A_US_KEYBOARD


@given(st.integers(-(2**33), 2**33))
def test_any_number_is_a_known_key_or_none(keysym: int) -> None:
    qcode = qcode_of_keysym(keysym)
    assert qcode is None or qcode in NUMBERS
