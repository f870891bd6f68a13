# SPDX-License-Identifier: GPL-2.0-or-later
"""What a PS/2 keyboard sends for each key, in scan code sets 1, 2 and 3.

Sources: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)";
Microsoft "Keyboard Scan Code Specification" for the keys after that; where keyboards differ the
choice is QEMU's.

Set 1 and set 2 are one table: the 8042 translates set 2 byte by byte (TO_SET1), and the keys' set 2
codes are those whose translation is their set 1 code. So both sets always mean the same key.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vmm.input.qcodes import number_of_qcode

EXTENDED, BREAK2, PAUSE_PREFIX = 0xE0, 0xF0, 0xE1
BREAK1 = 0x80
SHIFTS = frozenset({"shift", "shift_r"})
CONTROLS = frozenset({"ctrl", "ctrl_r"})
ALTS = frozenset({"alt", "alt_r"})

# Row n, column m: the set 2 code that the 8042 translates to 0x10 * n + m.
_SET2_OF_SET1 = bytes.fromhex(
    "00 76 16 1e 26 25 2e 36 3d 3e 46 45 4e 55 66 0d"
    "15 1d 24 2d 2c 35 3c 43 44 4d 54 5b 5a 14 1c 1b"
    "23 2b 34 33 3b 42 4b 4c 52 0e 12 5d 1a 22 21 2a"
    "32 31 3a 41 49 4a 59 7c 11 29 58 05 06 04 0c 03"
    "0b 02 0a 01 09 77 7e 6c 75 7d 7b 6b 73 74 79 69"
    "72 7a 70 71 7f 60 61 78 07 0f 17 1f 27 2f 37 3f"
    "47 4f 56 5e 08 10 18 20 28 30 38 40 48 50 57 6f"
    "13 19 39 51 53 5c 5f 62 63 64 65 67 68 6a 6d 6e"
)
_F7_SET2, _SYSRQ_SET2 = 0x83, 0x84
_SET2_EXCEPTIONS = {0x41: _F7_SET2, 0x54: _SYSRQ_SET2}
# Hangul and Hanja send one byte, the same in sets 1 and 2, and nothing when they go up. (QEMU sends
# 0x72 and 0x71 in set 1 and nothing in set 2.)
_MAKE_ONLY = {"lang1": 0xF2, "lang2": 0xF1}


def _translation() -> bytes:
    table = bytearray(range(256))
    for set1, set2 in enumerate(_SET2_OF_SET1):
        table[set2] = set1
    table[0x00] = 0xFF  # the overrun codes of the two sets
    for set1, set2 in _SET2_EXCEPTIONS.items():
        table[set2] = set1
    return bytes(table)


TO_SET1: bytes = _translation()
"""The 8042's translation of each set 2 byte; bytes from 0x80 on stay, but for two keys."""

_SET3 = {
    "shift": 0x12,
    "shift_r": 0x59,
    "alt": 0x19,
    "alt_r": 0x39,
    "ctrl": 0x11,
    "ctrl_r": 0x58,
    "menu": 0x91,
    "esc": 0x08,
    "1": 0x16,
    "2": 0x1E,
    "3": 0x26,
    "4": 0x25,
    "5": 0x2E,
    "6": 0x36,
    "7": 0x3D,
    "8": 0x3E,
    "9": 0x46,
    "0": 0x45,
    "minus": 0x4E,
    "equal": 0x55,
    "backspace": 0x66,
    "tab": 0x0D,
    "q": 0x15,
    "w": 0x1D,
    "e": 0x24,
    "r": 0x2D,
    "t": 0x2C,
    "y": 0x35,
    "u": 0x3C,
    "i": 0x43,
    "o": 0x44,
    "p": 0x4D,
    "bracket_left": 0x54,
    "bracket_right": 0x5B,
    "ret": 0x5A,
    "a": 0x1C,
    "s": 0x1B,
    "d": 0x23,
    "f": 0x2B,
    "g": 0x34,
    "h": 0x33,
    "j": 0x3B,
    "k": 0x42,
    "l": 0x4B,
    "semicolon": 0x4C,
    "apostrophe": 0x52,
    "grave_accent": 0x0E,
    "backslash": 0x5C,
    "z": 0x1A,
    "x": 0x22,
    "c": 0x21,
    "v": 0x2A,
    "b": 0x32,
    "n": 0x31,
    "m": 0x3A,
    "comma": 0x41,
    "dot": 0x49,
    "slash": 0x4A,
    "asterisk": 0x7E,
    "spc": 0x29,
    "caps_lock": 0x14,
    "f1": 0x07,
    "f2": 0x0F,
    "f3": 0x17,
    "f4": 0x1F,
    "f5": 0x27,
    "f6": 0x2F,
    "f7": 0x37,
    "f8": 0x3F,
    "f9": 0x47,
    "f10": 0x4F,
    "num_lock": 0x76,
    "scroll_lock": 0x5F,
    "kp_divide": 0x4A,
    "kp_multiply": 0x7E,
    "kp_subtract": 0x4E,
    "kp_add": 0x7C,
    "kp_enter": 0x79,
    "kp_decimal": 0x71,
    "sysrq": 0x57,
    "kp_0": 0x70,
    "kp_1": 0x69,
    "kp_2": 0x72,
    "kp_3": 0x7A,
    "kp_4": 0x6B,
    "kp_5": 0x73,
    "kp_6": 0x74,
    "kp_7": 0x6C,
    "kp_8": 0x75,
    "kp_9": 0x7D,
    "less": 0x13,
    "f11": 0x56,
    "f12": 0x5E,
    "print": 0x57,
    "home": 0x6E,
    "pgup": 0x6F,
    "pgdn": 0x6D,
    "end": 0x65,
    "left": 0x61,
    "up": 0x63,
    "down": 0x60,
    "right": 0x6A,
    "insert": 0x67,
    "delete": 0x64,
    "stop": 0x0A,
    "again": 0x0B,
    "props": 0x0C,
    "undo": 0x10,
    "copy": 0x18,
    "open": 0x20,
    "paste": 0x28,
    "find": 0x30,
    "cut": 0x38,
    "help": 0x09,
    "meta_l": 0x8B,
    "meta_r": 0x8C,
    "compose": 0x8D,
    "pause": 0x62,
    "hiragana": 0x87,
    "henkan": 0x86,
    "yen": 0x5D,
    "muhenkan": 0x85,
    "katakanahiragana": 0x87,
    "audionext": 0x93,
    "audioprev": 0x94,
    "audiostop": 0x98,
    "audiomute": 0x9C,
    "volumeup": 0x95,
    "volumedown": 0x9D,
    "calculator": 0xA3,
    "ac_home": 0x97,
    "f13": 0x7F,
    "f14": 0x80,
    "f15": 0x81,
    "f16": 0x82,
    "f17": 0x83,
}
SET3: Mapping[str, int] = MappingProxyType(_SET3)
"""Make code of each key in set 3; keys without one send nothing there."""


def _plain_set1(number: int, down: bool) -> bytes:
    code = (number & 0x7F) | (0 if down else BREAK1)
    return bytes([EXTENDED, code] if number & 0x80 else [code])


def _plain_set2(number: int, down: bool) -> bytes:
    code = number & 0x7F
    extended = bool(number & 0x80)
    set2 = _SET2_OF_SET1[code] if extended else _SET2_EXCEPTIONS.get(code, _SET2_OF_SET1[code])
    return bytes(([EXTENDED] if extended else []) + ([] if down else [BREAK2]) + [set2])


def _plain(number: int, down: bool, scan_set: int) -> bytes:
    return _plain_set1(number, down) if scan_set == 1 else _plain_set2(number, down)


def _print_screen(down: bool, scan_set: int, modifiers: frozenset[str]) -> bytes:
    """The key whose codes depend on modifiers: SysRq with Alt, bare with Ctrl or Shift."""
    if modifiers & ALTS:
        return _plain(0x54, down, scan_set)
    code, fake_shift = _plain(0xB7, down, scan_set), _plain(0xAA, down, scan_set)
    if modifiers & (CONTROLS | SHIFTS):
        return code
    return fake_shift + code if down else code + fake_shift


def _pause(down: bool, scan_set: int, modifiers: frozenset[str]) -> bytes:
    """Pause has no break code: both halves come on the way down."""
    if not down:
        return b""
    if modifiers & CONTROLS:
        return _plain(0xC6, True, scan_set) + _plain(0xC6, False, scan_set)
    make = _plain(0x1D, True, scan_set) + _plain(0x45, True, scan_set)
    release = _plain(0x1D, False, scan_set) + _plain(0x45, False, scan_set)
    return bytes([PAUSE_PREFIX]) + make + bytes([PAUSE_PREFIX]) + release


def sequence(
    qcode: str, down: bool, scan_set: int, modifiers: frozenset[str] = frozenset()
) -> bytes:
    """The bytes a keyboard sends when a key goes down or up, possibly none.

    Args:
        qcode: the key's QKeyCode name.
        down: pressed or released.
        scan_set: 1, 2 or 3.
        modifiers: the shift, ctrl and alt keys (QKeyCode names) that are down.

    Raises:
        ValueError: no such QKeyCode.
    """
    number = number_of_qcode(qcode)
    if scan_set == 3:
        code = SET3.get(qcode)
        return b"" if code is None else bytes([code] if down else [BREAK2, code])
    if qcode in _MAKE_ONLY:
        return bytes([_MAKE_ONLY[qcode]] if down else [])
    if qcode in ("print", "sysrq"):
        return _print_screen(down, scan_set, modifiers)
    if qcode == "pause":
        return _pause(down, scan_set, modifiers)
    return _plain(number, down, scan_set) if number else b""
