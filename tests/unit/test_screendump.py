# SPDX-License-Identifier: GPL-2.0-or-later
"""Screen dumps hold the pixels that were there, and are written whole or not at all."""

import asyncio
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from vmm.display import screendump as module
from vmm.display.console import Console
from vmm.display.options import IMAGE_FORMATS, Mode, image_format_of
from vmm.display.screendump import encode, screendump
from vmm.display.surface import Surface, blank, surface_in
from vmm.errors import VmmError


def decoded(data: bytes) -> NDArray[np.uint32]:
    rgb = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.uint32)
    return (rgb[:, :, 0] << 16 | rgb[:, :, 1] << 8 | rgb[:, :, 2]).astype(np.uint32)


@pytest.fixture(name="loop")
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def console_with(loop: asyncio.AbstractEventLoop, surface: Surface) -> Console:
    console = Console("vm", loop)
    console.attach(surface, lambda shown: np.ones(shown.height, np.bool_))
    return console


@given(
    width=st.integers(1, 33),
    height=st.integers(1, 33),
    gap=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
    image_format=st.sampled_from(IMAGE_FORMATS),
)
def test_every_pixel_comes_back_without_the_byte_that_means_nothing(
    width: int, height: int, gap: int, seed: int, image_format: str
) -> None:
    vram = np.random.default_rng(seed).integers(0, 2**32, 33 * 40, np.uint32)
    pixels = surface_in(vram, Mode(width, height, (width + gap) * 4)).pixels
    assert (decoded(encode(pixels, image_format)) == pixels & 0xFFFFFF).all()


def test_the_formats_are_those_of_their_names() -> None:
    pixels = blank(2, 2).pixels
    assert encode(pixels, "png").startswith(b"\x89PNG\r\n")
    assert encode(pixels, "ppm") == b"P6\n2 2\n255\n" + bytes(12)
    with pytest.raises(ValueError, match="'bmp' is not one of png, ppm"):
        encode(pixels, "bmp")


@pytest.mark.parametrize(("name", "expected"), [("a.png", "png"), ("A.PPM", "ppm")])
def test_a_files_name_says_its_format(name: str, expected: str) -> None:
    assert image_format_of(Path(name)) == expected


@pytest.mark.parametrize("name", ["a", "a.jpg", "png", ".png", "a.png.gz", "-"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(VmmError, match=r"must end in \.png or \.ppm"):
        image_format_of(Path(name))


def test_a_dump_shows_the_mode_that_the_guest_has_just_set(
    tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    console = console_with(loop, blank(4, 4))
    console.switch_surface(blank(6, 5))
    path = tmp_path / "screen.png"
    loop.run_until_complete(screendump(console, path, "png"))
    assert decoded(path.read_bytes()).shape == (5, 6)


def test_pixels_are_copied_before_another_thread_encodes_them(
    tmp_path: Path, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    surface = blank(3, 2)
    surface.pixels[:] = 0x123456
    console = console_with(loop, surface)
    threads: list[int] = []
    original = module.encode

    def spy(pixels: NDArray[np.uint32], image_format: str) -> bytes:
        threads.append(threading.get_ident())
        surface.pixels[:] = 0  # the guest goes on drawing
        return original(pixels, image_format)

    monkeypatch.setattr(module, "encode", spy)
    path = tmp_path / "screen.ppm"
    loop.run_until_complete(screendump(console, path, "ppm"))
    assert (decoded(path.read_bytes()) == 0x123456).all()
    assert threads != [threading.get_ident()]


def test_a_dump_that_cannot_be_written_says_why_and_leaves_the_old_file(
    tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    console = console_with(loop, blank(3, 2))
    nowhere = tmp_path / "missing" / "screen.png"
    with pytest.raises(VmmError) as caught:
        loop.run_until_complete(screendump(console, nowhere, "png"))
    assert str(caught.value) == f"Could not create '{nowhere}': No such file or directory"
    kept = tmp_path / "kept.png"
    kept.write_bytes(b"old")
    with pytest.raises(ValueError, match="'gif' is not one of"):
        loop.run_until_complete(screendump(console, kept, "gif"))
    assert kept.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.png"]


def test_a_pipe_that_nobody_reads_is_no_place_for_a_dump(
    tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    """A thread that waits for a reader would keep the machine from ending."""
    console = console_with(loop, blank(3, 2))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(VmmError, match="No such device or address"):
        loop.run_until_complete(screendump(console, pipe, "ppm"))
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        loop.run_until_complete(screendump(console, pipe, "ppm"))
        assert reader.read().startswith(b"P6")
    with pytest.raises(VmmError, match="NUL character"):
        loop.run_until_complete(screendump(console, Path("a\0b"), "ppm"))
