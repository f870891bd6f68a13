# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures and pixel formats for tests of the display, drawn by Hypothesis or by name."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from vmm.display.pixels import NATIVE, PixelFormat

Picture = NDArray[np.uint32]
MAX_WIDTH, MAX_HEIGHT = 130, 70
KINDS = ("solid", "two", "few", "many", "gradient", "text", "blocks", "stripes", "noise")

COMMON_FORMATS = (
    NATIVE,
    PixelFormat(32, 24, True, True, 255, 255, 255, 16, 8, 0),
    PixelFormat(32, 24, False, True, 255, 255, 255, 0, 8, 16),
    PixelFormat(32, 24, True, True, 255, 255, 255, 24, 16, 8),
    PixelFormat(32, 24, False, True, 255, 255, 255, 24, 16, 8),
    PixelFormat(32, 32, False, True, 255, 255, 255, 16, 8, 0),
    PixelFormat(32, 30, False, True, 1023, 1023, 1023, 20, 10, 0),
    PixelFormat(32, 16, False, True, 31, 63, 31, 11, 5, 0),
    PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0),
    PixelFormat(16, 15, True, True, 31, 31, 31, 10, 5, 0),
    PixelFormat(8, 8, False, True, 7, 7, 3, 0, 3, 6),
    PixelFormat(8, 8, True, False, 0, 0, 0, 0, 0, 0),
)


@st.composite
def formats(draw: st.DrawFn) -> PixelFormat:
    """Any format a client may ask for: a common one, or one nobody has."""
    if draw(st.booleans()):
        return draw(st.sampled_from(COMMON_FORMATS))
    bits = draw(st.sampled_from([8, 16, 32]))
    room = bits
    widths, places = [], []
    for left in (2, 1, 0):
        widths.append(draw(st.integers(1, min(16, room - left))))
        room -= widths[-1]
    at = 0
    for width in widths:
        gap = draw(st.integers(0, room))
        room -= gap
        places.append(at + gap)
        at += gap + width
    channels = [
        (draw(st.integers(1 << width - 1, (1 << width) - 1)), place)
        for width, place in zip(widths, places, strict=True)
    ]
    channels = draw(st.permutations(channels))
    maxima, shifts = zip(*channels, strict=True)
    depth = draw(st.sampled_from([bits, min(24, bits), 8]))
    return PixelFormat(bits, depth, draw(st.booleans()), True, *maxima, *shifts)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """A picture of 1x1 to 130x70 pixels, a part of a wider one, with rubbish in the unused byte."""
    width = draw(st.integers(1, MAX_WIDTH) | st.sampled_from([15, 16, 17, 63, 64, 65, 128]))
    height = draw(st.integers(1, MAX_HEIGHT) | st.sampled_from([16, 17, 64, 65]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = picture(draw(st.sampled_from(KINDS)), width, height, random)
    whole = random.integers(0, 2**32, (height + 3, width + 5), np.uint32)
    part = whole[1 : height + 1, 2 : width + 2]
    part[:] = found
    if draw(st.booleans()):
        part |= random.integers(0, 256, (height, width), np.uint32) << np.uint32(24)
    return part


def picture(kind: str, width: int, height: int, random: np.random.Generator) -> Picture:
    """One of KINDS."""
    shape = (height, width)
    y, x = np.mgrid[0:height, 0:width]
    if kind == "text":
        return text(width, height, random)
    if kind == "gradient":
        blue = (x + y) * 255 // (width + height) + random.integers(0, 2, shape)
        channels = x * 255 // width << 16 | y * 255 // height << 8 | blue.clip(0, 255)
        return np.asarray(channels, np.uint32)
    if kind == "noise":
        return random.integers(0, 1 << 24, shape, np.uint32)
    counts = {"solid": 1, "two": 2, "few": int(random.integers(3, 20)), "blocks": 5, "stripes": 9}
    palette = random.integers(0, 1 << 24, counts.get(kind, 200), np.uint32)
    numbers = random.integers(0, len(palette), shape)
    if kind == "blocks":
        numbers = x // 23 + y // 19 * 3
    elif kind == "stripes":
        numbers = x if random.integers(2) else y
    found: Picture = palette[numbers % len(palette)]
    return found


def text(width: int, height: int, random: np.random.Generator, line: int = 14) -> Picture:
    """Lines of glyphs, 14 pixels high, each line of one colour on black, of different lengths."""
    glyphs = random.integers(0, 2, (40, 9, 6)).astype(np.bool_)
    out = np.zeros((height, width), np.uint32)
    colours = np.array([0xAAAAAA, 0x55FF55, 0xFFFFFF], np.uint32)
    for number, top in enumerate(range(0, height, line)):
        letters = int(random.integers(0, width // 7 + 1))
        row = np.zeros((line, width), np.bool_)
        for letter in range(letters):
            if random.integers(6):
                row[3:12, letter * 7 : letter * 7 + 6] = glyphs[random.integers(40)]
        rows = out[top : top + line]
        rows[row[: len(rows)]] = colours[number % len(colours)]
    return out
