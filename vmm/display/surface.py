# SPDX-License-Identifier: GPL-2.0-or-later
"""What a screen shows: an array of pixels that the guest draws into at any time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmm.display.options import BYTES_PER_PIXEL, Mode


@dataclass(frozen=True, eq=False)
class Surface:
    """A picture in guest memory.

    Attributes:
        width: pixels of a row.
        height: rows.
        pixels: shape (height, width), values XRGB8888 (0x00RRGGBB; the top byte is the guest's
            and means nothing). A view, not a copy: the guest writes to it without any lock, and
            the memory stays as long as the array does.

    Raises:
        ValueError: the array has another shape.
    """

    width: int
    height: int
    pixels: NDArray[np.uint32]

    def __post_init__(self) -> None:
        if self.pixels.shape != (self.height, self.width):
            raise ValueError(f"{self.pixels.shape} is not the shape of {self.width}x{self.height}")

    def rows_of_pages(
        self, dirty: NDArray[np.uint8] | NDArray[np.bool_], page: int
    ) -> NDArray[np.bool_]:
        """Which rows have pixels on dirty pages: shape (height,).

        Args:
            dirty: by page, from the one on which the picture begins.
            page: bytes of a page.
        """
        starts = np.arange(self.height) * self.pixels.strides[0]
        first = starts // page
        last = (starts + self.width * BYTES_PER_PIXEL - 1) // page
        before = np.concatenate(([0], np.cumsum(dirty, dtype=np.int64)))
        rows: NDArray[np.bool_] = before[last + 1] > before[first]
        return rows


def blank(width: int, height: int) -> Surface:
    """A black picture of its own."""
    return Surface(width, height, np.zeros((height, width), np.uint32))


def surface_in(vram: NDArray[np.uint32], mode: Mode) -> Surface:
    """The picture at the start of ``vram``, a flat array.

    Raises:
        ValueError: it does not fit there.
    """
    if not mode.fits(vram.nbytes):
        raise ValueError(f"{mode} does not fit into {vram.nbytes} bytes of video memory")
    pitch = mode.stride // BYTES_PER_PIXEL
    rows = vram[: pitch * mode.height].reshape(mode.height, pitch)
    return Surface(mode.width, mode.height, rows[:, : mode.width])
