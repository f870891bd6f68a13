# SPDX-License-Identifier: GPL-2.0-or-later
"""X11 keysyms, which VNC clients send, as keys of a US keyboard.

Sources: X11's keysymdef.h and XF86keysym.h; the US layout of xkeyboard-config. As in QEMU, a keysym
names a key and nothing else: whether Shift is down is known from the client's own Shift key, so
``a`` and ``A`` are the same key. Characters that a US keyboard does not have are no key.
"""

from collections.abc import Mapping
from types import MappingProxyType

_UNICODE, _UNICODE_END = 0x0100_0000, 0x0100_0100  # keysyms of U+0000 to U+00FF
_PUNCTUATION = {
    "minus": "-_",
    "equal": "=+",
    "bracket_left": "[{",
    "bracket_right": "]}",
    "semicolon": ";:",
    "apostrophe": "'\"",
    "grave_accent": "`~",
    "backslash": "\\|",
    "comma": ",<",
    "dot": ".>",
    "slash": "/?",
    "spc": " \xa0",
    "less": "\xa6",  # right of the left Shift, where a keyboard has that key
    "yen": "\xa5",
}
_DIGITS_SHIFTED = ")!@#$%^&*("

_FUNCTION = {
    "backspace": (0xFF08,),
    "tab": (0xFF09, 0xFE20),  # Tab, ISO_Left_Tab
    "lf": (0xFF0A,),
    "ret": (0xFF0D,),
    "pause": (0xFF13, 0xFF6B),  # Pause, Break
    "scroll_lock": (0xFF14,),
    "sysrq": (0xFF15,),
    "print": (0xFF61,),
    "esc": (0xFF1B,),
    "delete": (0xFFFF,),
    "home": (0xFF50,),
    "left": (0xFF51,),
    "up": (0xFF52,),
    "right": (0xFF53,),
    "down": (0xFF54,),
    "pgup": (0xFF55,),
    "pgdn": (0xFF56,),
    "end": (0xFF57,),
    "insert": (0xFF63,),
    "undo": (0xFF65,),
    "again": (0xFF66,),
    "compose": (0xFF67, 0xFF20),  # Menu, Multi_key
    "find": (0xFF68,),
    "stop": (0xFF69,),
    "help": (0xFF6A,),
    "num_lock": (0xFF7F,),
    "props": (0x1005FF70,),
    "front": (0x1005FF71,),
}
_MODIFIERS = {
    "shift": (0xFFE1,),
    "shift_r": (0xFFE2,),
    "ctrl": (0xFFE3,),
    "ctrl_r": (0xFFE4,),
    "caps_lock": (0xFFE5, 0xFFE6),
    "alt": (0xFFE9, 0xFFE7),  # Alt_L, Meta_L
    "alt_r": (0xFFEA, 0xFFE8, 0xFE03, 0xFF7E),  # Alt_R, Meta_R, ISO_Level3_Shift, Mode_switch
    "meta_l": (0xFFEB,),
    "meta_r": (0xFFEC,),
}
_KEYPAD = {
    "kp_enter": (0xFF8D,),
    "kp_equals": (0xFFBD,),
    "kp_multiply": (0xFFAA,),
    "kp_add": (0xFFAB,),
    "kp_comma": (0xFFAC,),
    "kp_subtract": (0xFFAD,),
    "kp_decimal": (0xFFAE, 0xFF9F),
    "kp_divide": (0xFFAF,),
    "kp_0": (0xFFB0, 0xFF9E),
    "kp_1": (0xFFB1, 0xFF9C),
    "kp_2": (0xFFB2, 0xFF99),
    "kp_3": (0xFFB3, 0xFF9B),
    "kp_4": (0xFFB4, 0xFF96),
    "kp_5": (0xFFB5, 0xFF9D),
    "kp_6": (0xFFB6, 0xFF98),
    "kp_7": (0xFFB7, 0xFF95),
    "kp_8": (0xFFB8, 0xFF97),
    "kp_9": (0xFFB9, 0xFF9A),
}
_ASIAN = {
    "muhenkan": (0xFF22,),
    "henkan": (0xFF23,),
    "hiragana": (0xFF25,),
    "katakanahiragana": (0xFF27,),
    "lang1": (0xFF31,),  # Hangul
    "lang2": (0xFF34,),  # Hangul_Hanja
}
_MULTIMEDIA = {
    "volumedown": (0x1008FF11,),
    "audiomute": (0x1008FF12,),
    "volumeup": (0x1008FF13,),
    "audioplay": (0x1008FF14, 0x1008FF31),
    "audiostop": (0x1008FF15,),
    "audioprev": (0x1008FF16,),
    "audionext": (0x1008FF17,),
    "mediaselect": (0x1008FF32,),
    "ac_home": (0x1008FF18,),
    "mail": (0x1008FF19,),
    "calculator": (0x1008FF1D,),
    "ac_back": (0x1008FF26,),
    "ac_forward": (0x1008FF27,),
    "ac_bookmarks": (0x1008FF30,),
    "ac_refresh": (0x1008FF29, 0x1008FF73),
    "power": (0x1008FF2A,),
    "wake": (0x1008FF2B,),
    "sleep": (0x1008FF2F,),
    "computer": (0x1008FF33,),
    "copy": (0x1008FF57, 0x1005FF72),
    "cut": (0x1008FF58, 0x1005FF75),
    "menu": (0x1008FF65,),
    "open": (0x1008FF6B, 0x1005FF73),
    "paste": (0x1008FF6D, 0x1005FF74),
}
_F1, _F_KEYS = 0xFFBE, 24


def _table() -> dict[int, str]:
    table = {ord(char): key for key, chars in _PUNCTUATION.items() for char in chars}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        table[ord(letter)] = table[ord(letter.upper())] = letter
    for digit, shifted in enumerate(_DIGITS_SHIFTED):
        table[ord(str(digit))] = table[ord(shifted)] = str(digit)
    for group in (_FUNCTION, _MODIFIERS, _KEYPAD, _ASIAN, _MULTIMEDIA):
        table.update({keysym: key for key, keysyms in group.items() for keysym in keysyms})
    table.update({_F1 + n: f"f{n + 1}" for n in range(_F_KEYS)})
    return table


KEYSYMS: Mapping[int, str] = MappingProxyType(_table())
"""QKeyCode name of each keysym that is a key; Unicode keysyms are not in it."""


def qcode_of_keysym(keysym: int) -> str | None:
    """QKeyCode name of the key that a keysym is on, None if there is none.

    Args:
        keysym: an X11 keysym; characters up to U+00FF also in their Unicode form 0x010000xx.
    """
    if _UNICODE <= keysym < _UNICODE_END:
        keysym -= _UNICODE
    return KEYSYMS.get(keysym)
