# SPDX-License-Identifier: GPL-2.0-or-later
"""Screen dumps: the console's picture as a PNG or PPM file.

QEMU's ``screendump`` encodes and writes with the big lock held; its vCPUs wait for zlib and for the
disk. Here the pixels are copied under the lock, and a thread of asyncio's pool, which never takes
the lock, does the rest: for 1024x768 pixels about 6 ms against 50 to 500. Pillow compresses without
the GIL. The picture is as old as the copy.
"""

import asyncio
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vmm.display.console import Console
from vmm.display.options import IMAGE_FORMATS
from vmm.errors import VmmError
from vmm.files import write_whole


def encode(pixels: NDArray[np.uint32], image_format: str) -> bytes:
    """A picture file of XRGB8888 pixels (height, width). Raises ValueError: no such format."""
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"'{image_format}' is not one of {', '.join(IMAGE_FORMATS)}")
    height, width = pixels.shape
    data = pixels.astype("<u4", copy=False).tobytes()
    image = Image.frombuffer("RGB", (width, height), data, "raw", "BGRX", 0, 1)
    out = io.BytesIO()
    image.save(out, image_format)
    return out.getvalue()


async def screendump(console: Console, path: Path, image_format: str) -> None:
    """Write what ``console`` shows now. In the main loop; the writing is done off the BQL.

    Raises:
        ValueError: no such format. VmmError: the file cannot be written; it is as it was then.
    """
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"'{image_format}' is not one of {', '.join(IMAGE_FORMATS)}")
    if "\0" in str(path):
        raise VmmError("Could not create the file: its name has a NUL character")
    console.settle()
    pixels = console.surface.pixels.copy()

    def write() -> None:
        # Not for ever: the machine's end waits for this.
        write_whole(path, encode(pixels, image_format), wait_for_reader=False)

    try:
        await asyncio.get_running_loop().run_in_executor(None, write)
    except OSError as error:
        raise VmmError(f"Could not create '{path}': {error.strerror or error}") from None
