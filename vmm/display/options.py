# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine is told about its screen. Imports neither numpy nor Pillow: those take longer to
load than the rest of a machine without a screen takes to start.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from vmm.errors import VmmError
from vmm.memory import PAGE

VRAM_BASE = 0xE000_0000
VRAM_DEFAULT, VRAM_MAX = 16 << 20, 256 << 20
BYTES_PER_PIXEL = 4
MAX_SIDE = 16384
IMAGE_FORMATS = ("png", "ppm")


@dataclass(frozen=True)
class Mode:
    """A picture's shape: width and height in pixels, stride in bytes from row to row."""

    width: int
    height: int
    stride: int

    def fits(self, vram_size: int) -> bool:
        """Whether it is a picture at all and ends within ``vram_size`` bytes."""
        return (
            1 <= self.width <= MAX_SIDE
            and 1 <= self.height <= MAX_SIDE
            and self.stride % BYTES_PER_PIXEL == 0
            and self.stride >= self.width * BYTES_PER_PIXEL
            and self.stride * self.height <= vram_size
        )


@dataclass(frozen=True)
class FramebufferOptions:
    """Size in pixels, video memory in bytes.

    Raises:
        VmmError: the picture does not fit into the video memory, or that has an odd size.
    """

    width: int = 1024
    height: int = 768
    vgamem: int = VRAM_DEFAULT

    def __post_init__(self) -> None:
        if not (0 < self.vgamem <= VRAM_MAX) or self.vgamem % PAGE:
            raise VmmError(
                f"framebuffer: vgamem is a multiple of {PAGE} bytes, at most {VRAM_MAX >> 20}M"
            )
        if not self.mode.fits(self.vgamem):
            raise VmmError(
                f"framebuffer: {self.width}x{self.height} does not fit into"
                f" {self.vgamem >> 20}M of video memory"
            )

    @property
    def mode(self) -> Mode:
        """The mode a machine starts with."""
        return Mode(self.width, self.height, self.width * BYTES_PER_PIXEL)

    def guest_parameter(self) -> str:
        """How the micro-guest is told, as in ``fb=0xe0000000:1024x768:4096``."""
        return f"fb={VRAM_BASE:#x}:{self.width}x{self.height}:{self.mode.stride}"


def parse_framebuffer(text: str) -> FramebufferOptions:
    """``1024x768``: width and height in pixels.

    Raises:
        VmmError: not of that form, or too large.
    """
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None:
        raise VmmError(f"'{text}' must be WIDTHxHEIGHT, as in 1024x768")
    return FramebufferOptions(int(match[1]), int(match[2]))


def image_format_of(path: Path) -> str:
    """The format of a screen dump that a file's name asks for.

    Raises:
        VmmError: it ends neither in .png nor in .ppm.
    """
    name = path.suffix.lower().removeprefix(".")
    if name not in IMAGE_FORMATS:
        raise VmmError(f"{path}: the name must end in .png or .ppm")
    return name
