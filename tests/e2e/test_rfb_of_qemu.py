# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder that judges our encoders also reads what QEMU's encoders write."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.pictures import Picture, picture
from tests.support.qemu_display import qemu_display
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rfb_reader import Values, channels
from tests.support.rfb_stream import RfbStream
from vmm.display.encodings import HEXTILE, RAW, TIGHT, ZLIB, ZRLE
from vmm.display.pixels import NATIVE, PixelFormat

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not QEMUS, reason="no QEMU is installed"),
    pytest.mark.parametrize("qemu", QEMUS[-1:], ids=qemu_id),
]
WIDTH, HEIGHT = 400, 300
FORMATS = {
    "xrgb8888": NATIVE,
    "xbgr8888": PixelFormat(32, 24, False, True, 255, 255, 255, 0, 8, 16),
    "rgb565": PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0),
    "rgb555-big-endian": PixelFormat(16, 15, True, True, 31, 31, 31, 10, 5, 0),
    "bgr233": PixelFormat(8, 8, False, True, 7, 7, 3, 0, 3, 6),
}


def as_qemu_converts(pixels: Picture, fmt: PixelFormat) -> Values:
    """The upper bits of each intensity; QEMU does not round."""
    found = np.zeros(pixels.shape, np.uint64)
    for place, (maximum, shift) in zip((16, 8, 0), channels(fmt), strict=True):
        level = pixels.astype(np.uint64) >> np.uint64(place) & np.uint64(255)
        found |= level * np.uint64(maximum + 1) // np.uint64(256) << np.uint64(shift)
    return found


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
def test_the_decoder_reads_qemus_encodings(qemu: Path, tmp_path: Path, fmt: PixelFormat) -> None:
    random = np.random.default_rng(1)
    with qemu_display(qemu, tmp_path, WIDTH, HEIGHT) as display:
        for kind in ("text", "few", "gradient"):
            pixels = picture(kind, WIDTH, HEIGHT, random)
            display.show(pixels)
            for encoding in (RAW, HEXTILE, ZLIB, ZRLE, TIGHT):
                with RfbStream.connect(display.vnc) as client:
                    client.set_format(fmt)
                    client.set_encodings(encoding)
                    rects = client.update()
                assert {rect.encoding for rect in rects} == {encoding}
                np.testing.assert_array_equal(client.screen.values, as_qemu_converts(pixels, fmt))
