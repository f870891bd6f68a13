# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's pictures: C and Python draw the same, and neither leaves the screen."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cffi import FFI
from hypothesis import given
from hypothesis import strategies as st

from vmm.guest.draw import INKS, KINDS, PAPER, draw

GUEST = Path(__file__).resolve().parents[2] / "vmm" / "guest"
MARK = 0xDEADBEEF


@pytest.fixture(name="guest", scope="module")
def _guest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    library = tmp_path_factory.mktemp("draw") / "draw.so"
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{GUEST}"]
    sources = [GUEST / "draw.c", GUEST / "pattern.c"]
    subprocess.run(["gcc", *flags, "-o", library, *sources], check=True)
    ffi = FFI()
    lines = (GUEST / "draw.h").read_text().splitlines()
    ffi.cdef("\n".join(line for line in lines if not line.startswith("#")))
    return ffi, ffi.dlopen(str(library))


@given(
    kind=st.sampled_from(KINDS),
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    gap=st.integers(0, 3),
    frames=st.integers(0, 6),
    seed=st.integers(0, 2**64 - 1),
)
def test_guest_and_host_draw_the_same_and_only_on_the_screen(
    guest: tuple[Any, Any], kind: str, width: int, height: int, gap: int, frames: int, seed: int
) -> None:
    ffi, lib = guest
    pitch = width + gap
    memory = np.full((height + 2, pitch), MARK, np.uint32)
    memory[1:-1, :width] = 0
    screen = ffi.new("struct guest_screen *")
    screen.pixels = ffi.cast("uint32_t *", ffi.from_buffer(memory)) + pitch
    screen.width, screen.height, screen.pitch = width, height, pitch
    for frame in range(frames):
        written = lib.guest_draw_frame(screen, KINDS.index(kind), seed, frame)
        assert 0 <= written <= width * height
    assert (memory[1:-1, :width] == draw(kind, width, height, frames, seed)).all()
    assert (memory[[0, -1]] == MARK).all()
    assert (memory[:, width:] == MARK).all()


def test_text_is_ink_on_paper_line_by_line() -> None:
    screen = draw("text", 80, 48, 2)
    assert set(np.unique(screen[:16])) == {PAPER, INKS[0]}
    assert set(np.unique(screen[16:32])) == {PAPER, INKS[1]}
    assert not screen[32:].any()


def test_scrolling_moves_every_line_up() -> None:
    before, after = draw("scroll", 80, 64, 3), draw("scroll", 80, 64, 4)
    assert (after[:48] == before[16:]).all()
    assert not after[:0].any()
    assert before[16:].any()


def test_text_starts_over_at_the_top() -> None:
    assert (draw("text", 80, 32, 3)[16:] == draw("text", 80, 32, 2)[16:]).all()
    assert (draw("text", 80, 32, 3)[:16] != draw("text", 80, 32, 2)[:16]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_and_every_seed_is_a_picture_of_its_own(kind: str) -> None:
    pictures = [draw(kind, 128, 64, n, seed) for n in (1, 2) for seed in (1, 2)]
    assert len({picture.tobytes() for picture in pictures}) == 4
    assert all(int(picture.max()) < 1 << 24 for picture in pictures)


def test_there_are_no_other_kinds() -> None:
    with pytest.raises(ValueError, match="'film' is not one of text, fill"):
        draw("film", 1, 1, 1)
