# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys: QAPI's names (QKeyCode of ui.json) and QEMU's numbers.

A number is the key's scan code in set 1 (IBM PS/2 Technical Reference, "Keyboards"); keys whose
code follows an 0xE0 have 0x80 added. Exceptions, as in QEMU: ``sysrq`` is 0x54, ``print`` 0xB7 and
``pause`` 0xC6. ``asterisk`` and ``kp_multiply`` are the same key.
"""

from collections.abc import Mapping
from types import MappingProxyType

UNMAPPED = "unmapped"
MAX_NUMBER = 0xFF
_NUMBERS = {
    "shift": 0x2A,
    "shift_r": 0x36,
    "alt": 0x38,
    "alt_r": 0xB8,
    "ctrl": 0x1D,
    "ctrl_r": 0x9D,
    "menu": 0x9E,
    "esc": 0x01,
    "1": 0x02,
    "2": 0x03,
    "3": 0x04,
    "4": 0x05,
    "5": 0x06,
    "6": 0x07,
    "7": 0x08,
    "8": 0x09,
    "9": 0x0A,
    "0": 0x0B,
    "minus": 0x0C,
    "equal": 0x0D,
    "backspace": 0x0E,
    "tab": 0x0F,
    "q": 0x10,
    "w": 0x11,
    "e": 0x12,
    "r": 0x13,
    "t": 0x14,
    "y": 0x15,
    "u": 0x16,
    "i": 0x17,
    "o": 0x18,
    "p": 0x19,
    "bracket_left": 0x1A,
    "bracket_right": 0x1B,
    "ret": 0x1C,
    "a": 0x1E,
    "s": 0x1F,
    "d": 0x20,
    "f": 0x21,
    "g": 0x22,
    "h": 0x23,
    "j": 0x24,
    "k": 0x25,
    "l": 0x26,
    "semicolon": 0x27,
    "apostrophe": 0x28,
    "grave_accent": 0x29,
    "backslash": 0x2B,
    "z": 0x2C,
    "x": 0x2D,
    "c": 0x2E,
    "v": 0x2F,
    "b": 0x30,
    "n": 0x31,
    "m": 0x32,
    "comma": 0x33,
    "dot": 0x34,
    "slash": 0x35,
    "asterisk": 0x37,
    "spc": 0x39,
    "caps_lock": 0x3A,
    "f1": 0x3B,
    "f2": 0x3C,
    "f3": 0x3D,
    "f4": 0x3E,
    "f5": 0x3F,
    "f6": 0x40,
    "f7": 0x41,
    "f8": 0x42,
    "f9": 0x43,
    "f10": 0x44,
    "num_lock": 0x45,
    "scroll_lock": 0x46,
    "kp_divide": 0xB5,
    "kp_multiply": 0x37,
    "kp_subtract": 0x4A,
    "kp_add": 0x4E,
    "kp_enter": 0x9C,
    "kp_decimal": 0x53,
    "sysrq": 0x54,
    "kp_0": 0x52,
    "kp_1": 0x4F,
    "kp_2": 0x50,
    "kp_3": 0x51,
    "kp_4": 0x4B,
    "kp_5": 0x4C,
    "kp_6": 0x4D,
    "kp_7": 0x47,
    "kp_8": 0x48,
    "kp_9": 0x49,
    "less": 0x56,
    "f11": 0x57,
    "f12": 0x58,
    "print": 0xB7,
    "home": 0xC7,
    "pgup": 0xC9,
    "pgdn": 0xD1,
    "end": 0xCF,
    "left": 0xCB,
    "up": 0xC8,
    "down": 0xD0,
    "right": 0xCD,
    "insert": 0xD2,
    "delete": 0xD3,
    "stop": 0xE8,
    "again": 0x85,
    "props": 0x86,
    "undo": 0x87,
    "front": 0x8C,
    "copy": 0xF8,
    "open": 0x64,
    "paste": 0x65,
    "find": 0xC1,
    "cut": 0xBC,
    "lf": 0x5B,
    "help": 0xF5,
    "meta_l": 0xDB,
    "meta_r": 0xDC,
    "compose": 0xDD,
    "pause": 0xC6,
    "ro": 0x73,
    "hiragana": 0x77,
    "henkan": 0x79,
    "yen": 0x7D,
    "muhenkan": 0x7B,
    "katakanahiragana": 0x70,
    "kp_comma": 0x7E,
    "kp_equals": 0x59,
    "power": 0xDE,
    "sleep": 0xDF,
    "wake": 0xE3,
    "audionext": 0x99,
    "audioprev": 0x90,
    "audiostop": 0xA4,
    "audioplay": 0xA2,
    "audiomute": 0xA0,
    "volumeup": 0xB0,
    "volumedown": 0xAE,
    "mediaselect": 0xED,
    "mail": 0xEC,
    "calculator": 0xA1,
    "computer": 0xEB,
    "ac_home": 0xB2,
    "ac_back": 0xEA,
    "ac_forward": 0xE9,
    "ac_refresh": 0xE7,
    "ac_bookmarks": 0xE6,
    "lang1": 0x72,
    "lang2": 0x71,
    "f13": 0x5D,
    "f14": 0x5E,
    "f15": 0x5F,
    "f16": 0x55,
    "f17": 0x83,
    "f18": 0xF7,
    "f19": 0x84,
    "f20": 0x5A,
    "f21": 0x74,
    "f22": 0xF9,
    "f23": 0x6D,
    "f24": 0x6F,
}
NUMBERS: Mapping[str, int] = MappingProxyType(_NUMBERS)
"""QEMU's number of each key by QKeyCode name; ``unmapped`` is not in it."""
QCODES: Mapping[int, str] = MappingProxyType(
    {number: name for name, number in reversed(_NUMBERS.items()) if name != "asterisk"}
)
"""QKeyCode name of each number."""


def number_of_qcode(name: str) -> int:
    """QEMU's number of a key, 0 for ``unmapped``.

    Raises:
        ValueError: no such QKeyCode; QEMU's wording.
    """
    if name == UNMAPPED:
        return 0
    number = NUMBERS.get(name)
    if number is None:
        raise ValueError(f"Parameter 'data' does not accept value '{name}'")
    return number


def qcode_of_number(number: int) -> str | None:
    """QKeyCode name of a key number, None for numbers of no key."""
    return QCODES.get(number)
