# SPDX-License-Identifier: GPL-2.0-or-later
"""An X server without a screen, and what is drawn on it.

with Xvfb() as display:
    subprocess.Popen([...], env={**os.environ, "DISPLAY": display.name})
    display.wait_for(picture)
"""

import os
import shutil
import subprocess
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import ImageGrab

from tests.support.rig import wait_until

PROGRAM = "Xvfb"
WIDTH, HEIGHT = 800, 600


def have_xvfb() -> bool:
    """Whether there is one."""
    return shutil.which(PROGRAM) is not None


class Xvfb:
    """A display of 24 bits; ``name`` is for DISPLAY."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        self._size = f"{width}x{height}x24"

    def __enter__(self) -> Self:
        reading, writing = os.pipe()
        command = [PROGRAM, "-displayfd", str(writing), "-screen", "0", self._size]
        # Without -noreset it starts anew when its last client leaves, and refuses others meanwhile.
        self._process = subprocess.Popen(
            [*command, "-nolisten", "tcp", "-noreset"],
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as numbers:
            number = numbers.readline().strip()
        assert number, "Xvfb did not start"
        self.name = f":{number}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(20)

    def pixels(self) -> NDArray[np.uint32]:
        """What is on it, 0x00RRGGBB."""
        rgb = np.asarray(ImageGrab.grab(xdisplay=self.name).convert("RGB")).astype(np.uint32)
        return (rgb[:, :, 0] << 16 | rgb[:, :, 1] << 8 | rgb[:, :, 2]).astype(np.uint32)

    def wait_for(self, picture: NDArray[np.uint32]) -> None:
        """Until ``picture`` is somewhere on it, whole and pixel by pixel."""
        wait_until(lambda: contains(self.pixels(), picture), "the picture on the X server")


def contains(screen: NDArray[np.uint32], picture: NDArray[np.uint32]) -> bool:
    """Whether one picture is a part of another."""
    height, width = picture.shape
    room = screen[: screen.shape[0] - height + 1, : screen.shape[1] - width + 1]
    # Some pixels in the middle sort out nearly all places.
    candidates = room == picture[0, 0]
    for y, x in ((height // 2, width // 2), (height - 1, width - 1), (height // 3, width // 5)):
        candidates &= screen[y : y + room.shape[0], x : x + room.shape[1]] == picture[y, x]
    return any(
        np.array_equal(screen[y : y + height, x : x + width], picture)
        for y, x in zip(*np.nonzero(candidates), strict=True)
    )
