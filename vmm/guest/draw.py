# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest's ``draw=`` puts on the screen, so that the host can check what it sees.

Defined in ``draw.h`` and ``draw.c``; random words are those of :mod:`vmm.guest.pattern`.
"""

import numpy as np
from numpy.typing import NDArray

from vmm.guest.pattern import pattern

KINDS = ("text", "fill", "scroll", "noise", "pattern")
CELL_WIDTH, CELL_HEIGHT = 8, 16
PAPER = 0x101418
INKS = (0xD0D0D0, 0x80FF80, 0xFFD080, 0x80C0FF)
_LINE_WORDS = 4096
_FILL_WORDS = 4
_CHARACTERS = 43
_GLYPH_BITS = 35
_GLYPHS = (
    0x3A33AE62E, 0x11842108E, 0x3A213221F, 0x3A213062E, 0x08CA97C42, 0x7E1E0862E,
    0x1910F462E, 0x7C2222108, 0x3A317462E, 0x3A317844C, 0x3A31FC631, 0x7A31F463E,
    0x3A308422E, 0x7A318C63E, 0x7E10F421F, 0x7E10F4210, 0x3A30BC62E, 0x4631FC631,
    0x38842108E, 0x1C4210A4C, 0x4654C5251, 0x42108421F, 0x4775AC631, 0x47359C631,
    0x3A318C62E, 0x7A31F4210, 0x3A318D64D, 0x7A31F5251, 0x3E107043E, 0x7C8421084,
    0x46318C62E, 0x46318C544, 0x4631AD771, 0x454421151, 0x454421084, 0x7C222221F,
)  # fmt: skip

Pixels = NDArray[np.uint32]


def draw(kind: str, width: int, height: int, frames: int, seed: int = 1) -> Pixels:
    """The screen after ``frames`` frames of ``draw_kind=kind``, from a black one.

    Shape (height, width), values 0x00RRGGBB. ``seed`` is the guest's ``seed=``, 0 to 2**64 - 1.
    Raises ``ValueError`` for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    screen = np.zeros((height, width), np.uint32)
    for frame in range(frames):
        _FRAMES[kind](screen, seed, frame)
    return screen


def _words(first: int, count: int, seed: int) -> NDArray[np.uint64]:
    return np.frombuffer(pattern(first * 8, count * 8, seed), "<u8")


def _cells() -> NDArray[np.bool_]:
    """Where the ink is: (character, y, x); the last character is the blank."""
    cells = np.zeros((len(_GLYPHS) + 1, CELL_HEIGHT, CELL_WIDTH), np.bool_)
    for number, glyph in enumerate(_GLYPHS):
        bits = [glyph >> (_GLYPH_BITS - 1 - bit) & 1 for bit in range(_GLYPH_BITS)]
        cells[number, 1:15, 1:6] = np.repeat(np.array(bits, np.bool_).reshape(7, 5), 2, axis=0)
    return cells


def _line(screen: Pixels, row: int, seed: int, frame: int) -> None:
    columns = screen.shape[1] // CELL_WIDTH
    characters = _words(frame * _LINE_WORDS, columns, seed) % np.uint64(_CHARACTERS)
    inked = _cells()[np.minimum(characters, len(_GLYPHS)).astype(np.intp)]
    line = inked.transpose(1, 0, 2).reshape(CELL_HEIGHT, columns * CELL_WIDTH)
    top = row * CELL_HEIGHT
    area = screen[top : top + CELL_HEIGHT, : columns * CELL_WIDTH]
    area[:] = np.where(line, INKS[frame & 3], PAPER)


def _text(screen: Pixels, seed: int, frame: int) -> None:
    rows = screen.shape[0] // CELL_HEIGHT
    if rows:
        _line(screen, frame % rows, seed, frame)


def _scroll(screen: Pixels, seed: int, frame: int) -> None:
    rows = screen.shape[0] // CELL_HEIGHT
    if rows:
        last = (rows - 1) * CELL_HEIGHT
        screen[:last] = screen[CELL_HEIGHT : last + CELL_HEIGHT].copy()
        _line(screen, rows - 1, seed, frame)


def _scaled(word: int, limit: int) -> int:
    return (word >> 32) * limit >> 32


def _fill(screen: Pixels, seed: int, frame: int) -> None:
    height, width = screen.shape
    colour, x, y, size = (int(word) for word in _words(frame * _FILL_WORDS, _FILL_WORDS, seed))
    left, top = _scaled(x, width), _scaled(y, height)
    right = left + 1 + _scaled(size, width // 4)
    bottom = top + 1 + _scaled(size << 32 & 0xFFFF_FFFF_FFFF_FFFF, height // 4)
    screen[top:bottom, left:right] = colour & 0xFFFFFF


def _noise(screen: Pixels, seed: int, frame: int) -> None:
    words = _words(frame * screen.size, screen.size, seed)
    screen[:] = (words & np.uint64(0xFFFFFF)).reshape(screen.shape)


def _pattern(screen: Pixels, seed: int, frame: int) -> None:
    y, x = np.indices(screen.shape)
    red, green, blue = (x + 2 * frame) & 255, (y + frame) & 255, ((x ^ y) + (seed & 255)) & 255
    screen[:] = red << 16 | green << 8 | blue


_FRAMES = {"text": _text, "fill": _fill, "scroll": _scroll, "noise": _noise, "pattern": _pattern}
